package predictor

import (
	"errors"
	"fmt"
	"slices"

	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/weights"
	"github.com/surrogaze/surrogaze/storage"
)

// The methods of Config.Method beside the network: baselines, which learn in no time.
const (
	meanMethod   = "mean"
	centreMethod = "centre"
	pcaMethod    = "pca"
)

// usesNetwork reports whether the maps come from Config.Network.
func (c Config) usesNetwork() bool { return c.Method == "" }

// validateBaseline returns what is wrong with a configuration of a baseline.
func (c Config) validateBaseline() error {
	switch c.Method {
	case meanMethod, centreMethod, pcaMethod:
	default:
		return fmt.Errorf("method %q: want none, for a network, or mean, centre or pca", c.Method)
	}
	if c.Size < 1 {
		return fmt.Errorf("size %d: want at least 1", c.Size)
	}
	if c.Ensemble > 1 {
		return fmt.Errorf("an ensemble of %d: want none for method %q, whose fits are all the same", c.Ensemble, c.Method)
	}
	return nil
}

// fitBaseline learns from all samples: there is no checkpoint to choose.
func fitBaseline(cfg Config, samples []*sample) (*Model, error) {
	known := mapped(samples)
	if len(known) == 0 {
		return nil, storage.Unusable("found %d examples, none with a map that is not blank, want at least one", len(samples))
	}
	m := &Model{cfg: cfg, mean: meanMap(known, cfg.Size), summary: Summary{Train: len(known), Blank: len(samples) - len(known)}}
	if cfg.Method == pcaMethod {
		images, maps := make([][]float64, len(known)), make([][]float32, len(known))
		for i, s := range known {
			images[i], maps[i] = grey(s), make([]float32, cfg.Size*cfg.Size)
			s.target(maps[i], raster.View{}, cfg.Size)
		}
		m.pca = fitPCA(images, maps)
	}
	return m, nil
}

// baseline draws the maps of a model without a network.
type baseline struct {
	model *Model
	shown []*sample
}

// newBaselines makes n drawers that work side by side.
func newBaselines(m *Model, n, batch int) []drawer {
	drawers := make([]drawer, n)
	for i := range drawers {
		drawers[i] = &baseline{m, make([]*sample, batch)}
	}
	return drawers
}

func (b *baseline) begin() {}

func (b *baseline) show(i int, s *sample) error {
	b.shown[i] = s
	return nil
}

func (b *baseline) run() error { return nil }

func (b *baseline) prediction(i int) prediction {
	p := prediction{shown: b.draw(b.shown[i])}
	p.evidence = gather(p.shown.Pix, 1)
	return p
}

func (b *baseline) draw(s *sample) *raster.Plane {
	m := b.model
	switch m.cfg.Method {
	case pcaMethod:
		return m.cfg.displayed(m.pca.draw(grey(s), m.mean), s)
	case centreMethod:
		p := m.cfg.displayed(slices.Clone(m.mean), s)
		p.Pix = centrePrior(p.W, p.H)
		return p
	}
	return m.cfg.displayed(slices.Clone(m.mean), s)
}

// takeBaseline sets the values of a model without a network from a file's tensors.
func (m *Model) takeBaseline(tensors []weights.Tensor) (err error) {
	if m.cfg.Method == pcaMethod {
		m.pca, err = readPCA(tensors, m.cfg.Size)
		return err
	}
	if len(tensors) > 0 {
		return errors.New("found tensors of a network, want none but the mean map")
	}
	return nil
}
