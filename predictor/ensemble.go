package predictor

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/weights"
)

// members is the number of networks whose maps are averaged.
func (c Config) members() int { return max(c.Ensemble, 1) }

// member is the configuration of one network of an ensemble, the first of which is
// what would be fitted alone.
func (c Config) member(i int) Config {
	c.Ensemble = 0
	if i > 0 {
		c.Seed = random(c.Seed, streamMember, i).Uint64()
	}
	return c
}

// memberDir is the folder in dir for the checkpoints of one network of an ensemble.
func (c Config) memberDir(dir string, i int) string {
	if c.members() == 1 {
		return dir
	}
	return filepath.Join(dir, "member-"+strconv.Itoa(i))
}

// Member is the course of one network's fit.
type Member struct {
	Best    Point   `json:"best"`    // the checkpoint kept
	History []Point `json:"history"` // all points, in order
}

// ensemble draws the mean of the maps of several networks.
type ensemble []*forward

// newEnsembles makes n drawers that work side by side.
func newEnsembles(cfg Config, members []*nn.Params, n, batch int, options nn.Options) ([]drawer, error) {
	drawers := make([]drawer, n)
	for i := range drawers {
		drawers[i] = make(ensemble, len(members))
	}
	for k, params := range members {
		forwards, err := newForwards(cfg, params, n, batch, false, options)
		if err != nil {
			return nil, err
		}
		for i, f := range forwards {
			drawers[i].(ensemble)[k] = f
		}
	}
	return drawers, nil
}

func (e ensemble) begin() {
	for _, f := range e {
		f.begin()
	}
}

func (e ensemble) show(i int, s *sample) error {
	for _, f := range e {
		if err := f.show(i, s); err != nil {
			return err
		}
	}
	return nil
}

func (e ensemble) run() error {
	for _, f := range e {
		if err := f.run(); err != nil {
			return err
		}
	}
	return nil
}

func (e ensemble) prediction(i int) prediction {
	p := e[0].prediction(i)
	if len(e) == 1 {
		return p
	}
	sum, agreement := make([]float64, len(p.shown.Pix)), 0.0
	for _, f := range e {
		one := f.prediction(i)
		agreement += one.evidence[1] / float64(len(e))
		for k, v := range one.shown.Pix {
			sum[k] += float64(v)
		}
	}
	for k, v := range sum {
		p.shown.Pix[k] = float32(v / float64(len(e)))
	}
	p.evidence = gather(p.shown.Pix, agreement)
	return p
}

// memberPrefix begins the names of the tensors of an ensemble's networks behind the
// first.
func memberPrefix(i int) string { return fmt.Sprintf("member.%d.", i) }

// memberTensors are the tensors of an ensemble's networks.
func memberTensors(members []*nn.Params) ([]weights.Tensor, error) {
	var all []weights.Tensor
	for i, params := range members {
		if err := params.Fetch(); err != nil {
			return nil, err
		}
		for _, t := range params.Tensors() {
			if i > 0 {
				t.Name = memberPrefix(i) + t.Name
			}
			all = append(all, t)
		}
	}
	return all, nil
}

// takeMembers makes the networks and sets their values from a file's tensors.
func (m *Model) takeMembers(tensors []weights.Tensor) error {
	if n := m.cfg.members(); n > len(tensors) {
		return fmt.Errorf("found %d tensors, want those of %d networks", len(tensors), n)
	}
	of := make([][]weights.Tensor, m.cfg.members())
	for _, t := range tensors {
		i := 0
		for k := 1; k < len(of); k++ {
			if name, ok := strings.CutPrefix(t.Name, memberPrefix(k)); ok {
				i, t.Name = k, name
			}
		}
		of[i] = append(of[i], t)
	}
	for i := range of {
		params := nn.NewParams(0)
		if _, err := evaluationGraph(m.cfg, params, 1, false); err != nil {
			return err
		}
		if err := params.Load(of[i]); err != nil {
			return fmt.Errorf("network %d of %d: %w", i+1, len(of), err)
		}
		m.members = append(m.members, params)
	}
	return nil
}
