package predictor

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/raster"
)

// Names of the graphs' inputs and outputs.
const (
	imageInput  = "image"    // (N, 3, size, size)
	mapInput    = "map"      // (N, 1, size, size)
	weightInput = "weight"   // (N, 1, 1, 1)
	mapOutput   = "saliency" // (N, 1, size, size)
	lossOutput  = "loss"     // (N, 1, 1, 1)
)

// trainingGraph is the network with its loss.
func trainingGraph(cfg Config, params *nn.Params) (*nn.Graph, error) {
	kind, err := op.ParseMapLoss(cfg.Loss)
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
	g.Loss(nn.Term{Value: g.MapLoss(kind, true, logits, target), Weight: weight})
	return g, g.Err()
}

// evaluationGraph is the network with its map and, where wanted, the loss of each
// image.
func evaluationGraph(cfg Config, params *nn.Params, batch int, withLoss bool) (*nn.Graph, error) {
	kind, err := op.ParseMapLoss(cfg.Loss)
	if err != nil {
		return nil, err
	}
	net, err := cfg.network()
	if err != nil {
		return nil, err
	}
	g := nn.NewGraph(nn.Eval, params)
	logits := net.Build(g, g.Input(imageInput, op.Shape{N: batch, C: 3, H: cfg.Size, W: cfg.Size}))
	g.Output(mapOutput, g.Sigmoid(logits))
	if withLoss {
		target := g.Input(mapInput, op.Shape{N: batch, C: 1, H: cfg.Size, W: cfg.Size})
		g.Output(lossOutput, g.MapLoss(kind, true, logits, target))
	}
	return g, g.Err()
}

// drawer draws the maps of a batch at a time.
type drawer interface {
	// show makes a sample the i-th of the batch.
	show(i int, s *sample)
	// run draws what is shown.
	run() error
	// prediction takes the result of one image out of the batch.
	prediction(i int) prediction
}

// forward is the drawer of one network.
type forward struct {
	program *nn.Program
	cfg     Config
	shown   []*sample // what the images are of
	images  []float32
	targets []float32 // nil without a loss
	maps    []float32 // of the last run
	losses  []float32 // of the images as they are, not mirrored; nil without a loss
	// mirrored are the maps of the mirror images, turned back; nil without
	// Config.Mirror.
	mirrored []float32
}

func newForward(cfg Config, params *nn.Params, batch int, withLoss bool, options nn.Options) (*forward, error) {
	g, err := evaluationGraph(cfg, params, batch, withLoss)
	if err != nil {
		return nil, err
	}
	p, err := nn.Compile(g, options)
	if err != nil {
		return nil, err
	}
	f := &forward{program: p, cfg: cfg, shown: make([]*sample, batch), images: p.Input(imageInput)}
	f.maps = make([]float32, batch*f.plane())
	if cfg.Mirror {
		f.mirrored = make([]float32, len(f.maps))
	}
	if withLoss {
		f.targets, f.losses = p.Input(mapInput), make([]float32, batch)
	}
	return f, nil
}

func (f *forward) plane() int { return f.cfg.Size * f.cfg.Size }

// show makes a sample the i-th of the batch, with its human map where a loss is
// wanted.
func (f *forward) show(i int, s *sample) {
	f.shown[i] = s
	s.input(f.images[3*i*f.plane():3*(i+1)*f.plane()], raster.View{}, f.cfg.Size)
	if f.targets != nil {
		s.target(f.targets[i*f.plane():(i+1)*f.plane()], raster.View{}, f.cfg.Size)
	}
}

// run overwrites the images.
func (f *forward) run() error {
	if err := f.program.Run(); err != nil {
		return err
	}
	copy(f.maps, f.program.Output(mapOutput))
	copy(f.losses, f.program.Output(lossOutput))
	if !f.cfg.Mirror {
		return nil
	}
	raster.Mirror(f.images, f.cfg.Size)
	if err := f.program.Run(); err != nil {
		return err
	}
	copy(f.mirrored, f.program.Output(mapOutput))
	raster.Mirror(f.mirrored, f.cfg.Size)
	return nil
}

// prediction is what is predicted of one image.
type prediction struct {
	shown    *raster.Plane // over the displayed image, mean of both directions
	evidence evidence
	loss     float32
}

func (f *forward) prediction(i int) prediction {
	p := prediction{shown: f.restored(f.maps, i)}
	agreement := 1.0
	if f.cfg.Mirror {
		turned := f.restored(f.mirrored, i).Pix
		agreement = correlation(p.shown.Pix, turned)
		for k, v := range turned {
			p.shown.Pix[k] = (p.shown.Pix[k] + v) / 2
		}
	}
	if f.losses != nil {
		p.loss = f.losses[i]
	}
	p.evidence = gather(p.shown.Pix, agreement)
	return p
}

// restored is the i-th of some maps in the shape of its image.
func (f *forward) restored(maps []float32, i int) *raster.Plane {
	square := slices.Clone(maps[i*f.plane() : (i+1)*f.plane()])
	return f.cfg.displayed(square, f.shown[i])
}

// displayed is a map of the network in the shape of a sample's image, its longer
// side Size pixels.
func (c Config) displayed(square []float32, s *sample) *raster.Plane {
	return c.resizing().Restore(&raster.Plane{W: c.Size, H: c.Size, Pix: square}, s.width, s.height)
}

// team predicts side by side: each member is a drawer of its own on one core, so
// that nobody waits for the cores of others.
type team struct {
	members []drawer
	batch   int
}

// newTeam makes at most so many members for n images.
func newTeam(workers, n, batch int, newMember func(batch int) (drawer, error)) (*team, error) {
	workers = max(1, min(workers, n))
	t := &team{batch: max(1, min(batch, (n+workers-1)/workers))}
	for range workers {
		m, err := newMember(t.batch)
		if err != nil {
			return nil, err
		}
		t.members = append(t.members, m)
	}
	return t, nil
}

// predict draws the maps of samples.
func (t *team) predict(ctx context.Context, samples []*sample) ([]prediction, error) {
	found, n := make([]prediction, len(samples)), len(samples)
	group, ctx := errgroup.WithContext(ctx)
	for w, f := range t.members {
		group.Go(func() error {
			for from := w * t.batch; from < n; from += len(t.members) * t.batch {
				if err := ctx.Err(); err != nil {
					return err
				}
				to := min(from+t.batch, n)
				for i := from; i < to; i++ {
					f.show(i-from, samples[i])
				}
				if err := f.run(); err != nil {
					return err
				}
				for i := from; i < to; i++ {
					found[i] = f.prediction(i - from)
				}
			}
			return nil
		})
	}
	return found, group.Wait()
}
