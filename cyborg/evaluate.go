package cyborg

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"

	"github.com/surrogaze/surrogaze/internal/metric"
	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

// Options say where and how fast a model runs, never what it gives.
type Options struct {
	Workers   int    // cores that may be used; 0 is 1
	Batch     int    // images a forward pass; 0 is 16
	Device    string // "auto" or "", "cpu", or "cuda[:n]"
	Precision string // "auto" or "", "f32", "tf32" or "bf16"
}

func (o Options) internal() nn.Options {
	return nn.Options{Device: o.Device, Precision: o.Precision, Workers: max(o.Workers, 1)}
}

// finished are the options for a model that is not trained any more.
func (o Options) finished() nn.Options {
	n := o.internal()
	n.Constant = true
	return n
}

func (o Options) batch() int {
	if o.Batch > 0 {
		return o.Batch
	}
	return 16
}

// Evaluation is how a model does on a split.
type Evaluation struct {
	Split      string
	N          int     // labelled samples
	Unlabelled int     // samples left out for want of a label
	Loss       float64 // mean cross-entropy
	AUC        float64 // of class 1, or the mean over more classes, one against the rest; NaN if one class occurs
	Accuracy   float64
	EER        float64   // of class 1, or the mean as of the AUC
	Samples    []Scored  // the labelled samples in the order of the data set
	Mapped     int       // samples with a human map that shows something
	Agreement  Agreement // mean over them; NaN if there are none
	Entropy    float64   // mean over the samples of how widely the CAM spreads, in nats
	// MeanCAM is the mean of the samples' class activation maps, over the square that
	// the network sees.
	MeanCAM Map
}

// Scored is what a model says of a sample.
type Scored struct {
	ID     string
	Label  int
	Scores []float64 // probability of each class
	CAM    Map
	// Agreement is that of the CAM; NaN without a human map that shows something.
	Agreement Agreement
}

// Agreement is how well a CAM agrees with a human map. Both are scaled to [0, 1] by
// their minimum and maximum and compared on the CAM's grid, over the image alone.
// NSS, AUC and IoU take for marked what a person marked with at least 0.5, IoU the
// same of the CAM. A measure that two maps do not define is NaN, but a constant CAM
// has a CC and an NSS of 0, as chance has.
type Agreement struct {
	CC  float64 // Pearson's correlation, in [-1, 1]
	SIM float64 // mass shared when each sums to 1, in [0, 1]
	KL  float64 // divergence of the CAM from the human map, in nats; 0 is agreement
	MSE float64 // mean squared difference, in [0, 1]: what guidance trains on
	NSS float64 // mean of the standardised CAM over what a person marked; 0 is chance
	AUC float64 // of the CAM as a detector of what a person marked; 0.5 is chance
	IoU float64 // of what CAM and person mark, in [0, 1]
}

// Map is a class activation map in [0, 1]: H rows of W values over the whole
// displayed image, as coarse as the network's last features; bars beside a padded
// image are left out. It is of the class and features that the configuration names; of
// the predicted class where the sample has no label.
type Map struct {
	W, H int
	Pix  []float32
}

// Evaluate judges the model on a split of a data set that was opened for networks
// of its input size and has its classes. CAMs are held against human maps: those
// that training may use and those kept as reference. A split without labelled
// samples is an error, and so are scores that are no numbers.
func (m *Model) Evaluate(ctx context.Context, data *Data, split string, options Options) (*Evaluation, error) {
	e, err := m.evaluate(ctx, data, split, options)
	if err != nil {
		return nil, fmt.Errorf("evaluate on split %q: %w", split, err)
	}
	return e, nil
}

func (m *Model) evaluate(ctx context.Context, data *Data, split string, options Options) (*Evaluation, error) {
	if err := data.fits(m.cfg, m.classes); err != nil {
		return nil, err
	}
	items, unlabelled := data.labelled(split)
	if len(items) == 0 {
		return nil, fmt.Errorf("found no labelled samples (and %d without a label), want at least one", unlabelled)
	}
	for i := range items {
		items[i].guide = data.humanMap(items[i].row)
	}
	p, err := newPanel(evaluationGraph, m.cfg, m.params, len(m.classes), len(items), options.batch(), true, options.finished())
	if err != nil {
		return nil, err
	}
	e := &Evaluation{Split: split, N: len(items), Unlabelled: unlabelled, MeanCAM: newMap(p.grid)}
	mean := newMeanOfMaps(p.grid)
	all := over(ctx, p, data.read(ctx, items), data.decode, func(s source, of decoded, r result) judged {
		j := judge(s, r)
		j.CAM, j.Agreement = Map(*p.shown(slices.Clone(r.cam), of)), p.agreement(r.cam, of)
		mean.add(r.cam)
		return j
	})
	var losses []float64
	if e.Samples, losses, err = gather(all); err != nil {
		return nil, err
	}
	if err := checkScores(e.Samples); err != nil {
		return nil, err
	}
	mean.write(e.MeanCAM.Pix)
	e.summarise(losses)
	return e, nil
}

// checkScores is an error if a sample's scores are no numbers, as those of weights
// that are finite but huge.
func checkScores(samples []Scored) error {
	for _, s := range samples {
		if slices.ContainsFunc(s.Scores, math.IsNaN) {
			return fmt.Errorf("sample %q: found scores %v, want numbers: the network overflows", s.ID, s.Scores)
		}
	}
	return nil
}

// summarise fills in the means and measures.
func (e *Evaluation) summarise(losses []float64) {
	v := scoresOf(e.Samples, losses)
	e.Loss, e.AUC, e.Accuracy = v.Loss, v.AUC, v.Accuracy
	scores, labels := columns(e.Samples)
	e.EER = metric.OneVsRest(scores, labels, metric.EER)
	e.Entropy = e.mean(func(s Scored) float64 { return metric.Entropy(s.CAM.Pix) })
	e.Agreement = Agreement{
		CC:  e.mean(func(s Scored) float64 { return s.Agreement.CC }),
		SIM: e.mean(func(s Scored) float64 { return s.Agreement.SIM }),
		KL:  e.mean(func(s Scored) float64 { return s.Agreement.KL }),
		MSE: e.mean(func(s Scored) float64 { return s.Agreement.MSE }),
		NSS: e.mean(func(s Scored) float64 { return s.Agreement.NSS }),
		AUC: e.mean(func(s Scored) float64 { return s.Agreement.AUC }),
		IoU: e.mean(func(s Scored) float64 { return s.Agreement.IoU }),
	}
	for _, s := range e.Samples {
		if !math.IsNaN(s.Agreement.CC) {
			e.Mapped++
		}
	}
}

// mean is that of a measure over the samples for which it is defined.
func (e *Evaluation) mean(measure func(Scored) float64) float64 {
	var found []float64
	for _, s := range e.Samples {
		if v := measure(s); !math.IsNaN(v) {
			found = append(found, v)
		}
	}
	return metric.Mean(found)
}

// Scores is how a network does on a set of samples.
type Scores struct {
	Loss     float64 `json:"loss"` // mean cross-entropy
	AUC      float64 `json:"auc"`
	Accuracy float64 `json:"accuracy"`
}

func scoresOf(samples []Scored, losses []float64) Scores {
	scores, labels := columns(samples)
	return Scores{Loss: metric.Mean(losses), AUC: metric.OneVsRest(scores, labels, metric.AUC), Accuracy: metric.Accuracy(scores, labels)}
}

// columns are what the samples score and are.
func columns(samples []Scored) (scores [][]float64, labels []int) {
	for _, s := range samples {
		scores, labels = append(scores, s.Scores), append(labels, s.Label)
	}
	return scores, labels
}

// judged is what a model says of a sample, and its cross-entropy with the label.
type judged struct {
	Scored
	loss float64
}

// judge compares what a network says of a sample with the label.
func judge(s source, r result) judged {
	scores, logSum := softmax(r.logits)
	return judged{Scored{ID: s.id, Label: int(s.label), Scores: scores}, logSum - float64(r.logits[s.label])}
}

// gather reads a stream to its end.
func gather(all iter.Seq2[judged, error]) (samples []Scored, losses []float64, err error) {
	for j, err := range all {
		if err != nil {
			return nil, nil, err
		}
		samples, losses = append(samples, j.Scored), append(losses, j.loss)
	}
	return samples, losses, nil
}

// softmax is also the logarithm of the sum that it divides by.
func softmax(logits []float32) (scores []float64, logSum float64) {
	high, sum := float64(slices.Max(logits)), 0.0
	scores = make([]float64, len(logits))
	for k, v := range logits {
		scores[k] = math.Exp(float64(v) - high)
		sum += scores[k]
	}
	for k := range scores {
		scores[k] /= sum
	}
	return scores, math.Log(sum) + high
}

// marked is the value from which a pixel of a map counts as marked.
const marked = 0.5

// agreement is that of a CAM with the human map of an image.
func (p *panel) agreement(cam []float32, of decoded) Agreement {
	target := make([]float32, p.grid*p.grid)
	if !writeTarget(target, p.grid, raster.View{}, of.human) {
		nan := math.NaN()
		return Agreement{nan, nan, nan, nan, nan, nan, nan}
	}
	seen, human := p.shown(cam, of).Pix, p.shown(target, of).Pix
	return Agreement{
		CC: orChance(metric.CC(seen, human)), SIM: metric.SIM(seen, human), KL: metric.KL(seen, human), MSE: metric.MSE(seen, human),
		NSS: orChance(metric.NSS(seen, human, marked)), AUC: metric.MapAUC(seen, human, marked), IoU: metric.IoU(seen, human, marked),
	}
}

// orChance is a measure of which 0 is chance, and 0 where a map is constant.
func orChance(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

// shown is the part of a map on the CAM's grid that lies over the displayed image, scaled
// to [0, 1] by its own minimum and maximum. It may be square, in place.
func (p *panel) shown(square []float32, of decoded) *raster.Plane {
	shown := p.resizing.Shown(&raster.Plane{W: p.grid, H: p.grid, Pix: square}, of.width, of.height)
	raster.MinMax(shown.Pix)
	return shown
}

// Maps draws the class activation maps of samples, in their order. A sample that
// cannot be decoded is a *SampleError.
func (m *Model) Maps(ctx context.Context, samples []storage.Sample, options Options) ([]Map, error) {
	if len(samples) == 0 {
		return []Map{}, nil
	}
	p, err := newPanel(evaluationGraph, m.cfg, m.params, len(m.classes), len(samples), options.batch(), true, options.finished())
	if err != nil {
		return nil, fmt.Errorf("draw class activation maps: %w", err)
	}
	decode := func(s source) (decoded, error) {
		d, err := decodeImage(s.image, m.cfg.resizing().PrepareWhole, m.cfg.Size)
		if err != nil {
			err = &SampleError{s.id, err}
		}
		return d, err
	}
	var maps []Map
	for drawn, err := range over(ctx, p, sources(samples), decode, func(_ source, of decoded, r result) Map {
		return Map(*p.shown(slices.Clone(r.cam), of))
	}) {
		if err != nil {
			return nil, fmt.Errorf("draw class activation maps: %w", err)
		}
		maps = append(maps, drawn)
	}
	return maps, nil
}

// sources are samples that belong to no data set.
func sources(samples []storage.Sample) iter.Seq2[source, error] {
	return func(yield func(source, error) bool) {
		for _, s := range samples {
			if !yield(source{id: s.ID, label: s.Label, image: s.Image}, nil) {
				return
			}
		}
	}
}

func newMap(grid int) Map { return Map{W: grid, H: grid, Pix: make([]float32, grid*grid)} }

// meanOfMaps is a mean that does not depend on the order of its maps: it adds whole
// numbers.
type meanOfMaps struct {
	mu  sync.Mutex
	n   int
	sum []int64 // in units of 1/meanOne
}

const meanOne = 1 << 24

func newMeanOfMaps(grid int) *meanOfMaps { return &meanOfMaps{sum: make([]int64, grid*grid)} }

func (m *meanOfMaps) add(p []float32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n++
	for i, v := range p {
		m.sum[i] += int64(v * meanOne)
	}
}

func (m *meanOfMaps) write(dst []float32) {
	for i, v := range m.sum {
		dst[i] = float32(float64(v) / meanOne / float64(m.n))
	}
}
