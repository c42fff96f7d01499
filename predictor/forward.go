package predictor

import (
	"context"
	"slices"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/streams"
)

// Names of the graphs' inputs and outputs.
const (
	imageInput  = "image"    // (N, 3, size, size)
	mapInput    = "map"      // (N, 1, size, size)
	weightInput = "weight"   // (N, 1, 1, 1)
	mapOutput   = "saliency" // (N, 1, size, size)
	lossOutput  = "loss "    // (N, 1, 1, 1), before the name of each distance
)

// trainingGraph is the network with its loss.
func trainingGraph(cfg Config, params *nn.Params) (*nn.Graph, error) {
	distances, err := cfg.distances()
	if err != nil {
		return nil, err
	}
	net, err := cfg.network()
	if err != nil {
		return nil, err
	}
	g := nn.NewGraph(nn.Train, params)
	logits := net.Build(g, g.Image(imageInput, op.Shape{N: cfg.Batch, C: 3, H: cfg.Size, W: cfg.Size}))
	target := g.Image(mapInput, op.Shape{N: cfg.Batch, C: 1, H: cfg.Size, W: cfg.Size})
	weight := g.Input(weightInput, op.Shape{N: cfg.Batch, C: 1, H: 1, W: 1})
	var terms []nn.Term
	for _, kind := range distances {
		terms = append(terms, nn.Term{Value: g.MapLoss(kind, true, logits, target), Weight: weight})
	}
	g.Loss(terms...)
	return g, g.Err()
}

// evaluationGraph is the network with its map and, where wanted, the loss of each
// image.
func evaluationGraph(cfg Config, params *nn.Params, batch int, withLoss bool) (*nn.Graph, error) {
	distances, err := cfg.distances()
	if err != nil {
		return nil, err
	}
	net, err := cfg.network()
	if err != nil {
		return nil, err
	}
	g := nn.NewGraph(nn.Eval, params)
	logits := net.Build(g, g.Image(imageInput, op.Shape{N: batch, C: 3, H: cfg.Size, W: cfg.Size}))
	g.Output(mapOutput, g.Sigmoid(logits))
	if withLoss {
		target := g.Image(mapInput, op.Shape{N: batch, C: 1, H: cfg.Size, W: cfg.Size})
		for _, kind := range distances {
			g.Output(lossOutput+kind.String(), g.MapLoss(kind, true, logits, target))
		}
	}
	return g, g.Err()
}

// drawer draws the maps of a batch at a time. Images of a batch may be shown, and their
// predictions taken, side by side.
type drawer interface {
	// begin begins a batch.
	begin()
	// show makes a sample the i-th of the batch.
	show(i int, s *sample) error
	// run draws what is shown.
	run() error
	// prediction takes the result of one image out of the batch.
	prediction(i int) prediction
}

// forward is the drawer of one network.
type forward struct {
	lane   nn.Lane
	cfg    Config
	lossOf []op.MapLossKind // what each loss is the sum of; nil without losses
	batch  nn.ImageBatch
	shown  []*sample // what the images are of
	maps   []float32 // of the last run
	losses []float32 // of the images as they are, not mirrored
	// mirrored are the maps of the mirror images; nil without Config.Mirror.
	mirrored []float32
}

// newForwards makes n drawers that work side by side.
func newForwards(cfg Config, params *nn.Params, n, batch int, withLoss bool, options nn.Options) ([]*forward, error) {
	lanes, err := nn.NewLanes(n, options, func() (*nn.Graph, error) { return evaluationGraph(cfg, params, batch, withLoss) })
	if err != nil {
		return nil, err
	}
	var lossOf []op.MapLossKind
	if withLoss {
		if lossOf, err = cfg.distances(); err != nil {
			return nil, err
		}
	}
	forwards := make([]*forward, n)
	for i, lane := range lanes {
		f := &forward{lane: lane, cfg: cfg, lossOf: lossOf, shown: make([]*sample, batch), maps: lane.Output(mapOutput)}
		if cfg.Mirror {
			f.maps, f.mirrored = make([]float32, batch*f.plane()), f.maps
		}
		if withLoss {
			f.losses = make([]float32, batch)
		}
		forwards[i] = f
	}
	return forwards, nil
}

func (f *forward) plane() int { return f.cfg.Size * f.cfg.Size }

func (f *forward) begin() { f.batch = f.lane.Begin() }

// show is with the human map where a loss is wanted.
func (f *forward) show(i int, s *sample) error {
	f.shown[i] = s
	err := f.batch.Show(imageInput, i, raster.SeenImage{Image: s.image, Side: f.cfg.Size})
	if err == nil && f.lossOf != nil {
		err = f.batch.Show(mapInput, i, raster.SeenMap{Map: s.human, Side: f.cfg.Size})
	}
	return err
}

func (f *forward) run() error {
	if err := f.lane.Run(); err != nil {
		return err
	}
	f.sumLosses()
	if !f.cfg.Mirror {
		return nil
	}
	copy(f.maps, f.lane.Output(mapOutput))
	f.lane.Mirror(imageInput)
	return f.lane.Run()
}

// sumLosses adds up the distances of the last run's images.
func (f *forward) sumLosses() {
	clear(f.losses)
	for _, distance := range f.lossOf {
		for i, v := range f.lane.Output(lossOutput + distance.String()) {
			f.losses[i] += v
		}
	}
}

// prediction is what is predicted of one image.
type prediction struct {
	shown    *raster.Plane // over the displayed image, mean of both directions
	evidence evidence
	loss     float32
}

func (f *forward) prediction(i int) prediction {
	p := prediction{shown: f.restored(f.maps, i, false)}
	agreement := 1.0
	if f.cfg.Mirror {
		turned := f.restored(f.mirrored, i, true).Pix
		agreement = correlation(p.shown.Pix, turned)
		for k, v := range turned {
			p.shown.Pix[k] = (p.shown.Pix[k] + v) / 2
		}
	}
	if f.lossOf != nil {
		p.loss = f.losses[i]
	}
	p.evidence = gather(p.shown.Pix, agreement)
	return p
}

// restored is the i-th of some maps in the shape of its image, turned back if it is of
// the mirror image.
func (f *forward) restored(maps []float32, i int, mirrored bool) *raster.Plane {
	square := slices.Clone(maps[i*f.plane() : (i+1)*f.plane()])
	if mirrored {
		raster.Mirror(square, f.cfg.Size)
	}
	return f.cfg.displayed(square, f.shown[i])
}

// displayed is a map of the network in the shape of a sample's image, its longer
// side Size pixels.
func (c Config) displayed(square []float32, s *sample) *raster.Plane {
	return c.resizing().Restore(&raster.Plane{W: c.Size, H: c.Size, Pix: square}, s.width, s.height)
}

// team predicts side by side.
type team struct {
	members []member
	batch   int
}

// member is a drawer and the cores that it may use.
type member struct {
	drawer
	cores streams.Cores
}

// newTeam makes a team for n images, in batches of at most so many. draw makes the
// drawers of so many members.
func newTeam(options nn.Options, n, batch int, draw func(members, batch int) ([]drawer, error)) (*team, error) {
	most, common, err := options.Lanes()
	if err != nil {
		return nil, err
	}
	most = max(1, min(most, n))
	t := &team{batch: max(1, min(batch, (n+most-1)/most))}
	drawers, err := draw(most, t.batch)
	if err != nil {
		return nil, err
	}
	for i, cores := range streams.Deal(most, options.Workers, common) {
		t.members = append(t.members, member{drawers[i], cores})
	}
	return t, nil
}

// predict draws the maps of samples.
func (t *team) predict(ctx context.Context, samples []*sample) ([]prediction, error) {
	var workers []func([]*sample) ([]prediction, error)
	for _, m := range t.members {
		workers = append(workers, m.predict)
	}
	found := make([]prediction, 0, len(samples))
	for p, err := range streams.Map(ctx, streams.Of(samples), streams.Chunks[*sample]{Elements: t.batch}, workers) {
		if err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	return found, nil
}

// predict draws the maps of a batch.
func (m member) predict(samples []*sample) ([]prediction, error) {
	found := make([]prediction, len(samples))
	return found, m.draw(len(samples), func(i int) *sample { return samples[i] }, func(i int, p prediction) error {
		found[i] = p
		return nil
	})
}

// draw draws the maps of n samples, a batch at most. Both functions are called side by
// side; a sample that is nil gets no map.
func (m member) draw(n int, sampleOf func(i int) *sample, take func(i int, p prediction) error) error {
	shown := make([]bool, n)
	m.begin()
	err := m.cores.Each(n, func(i int) error {
		s := sampleOf(i)
		if s == nil {
			return nil
		}
		shown[i] = true
		return m.show(i, s)
	})
	if err != nil {
		return err
	}
	if err := m.run(); err != nil {
		return err
	}
	return m.cores.Each(n, func(i int) error {
		if !shown[i] {
			return nil
		}
		return take(i, m.prediction(i))
	})
}
