package predictor

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/raster"
)

// Names of the graphs' inputs and outputs.
const (
	imageInput  = "image"  // (N, 3, size, size)
	mapInput    = "map"    // (N, 1, size, size)
	weightInput = "weight" // (N, 1, 1, 1)
	mapOutput   = "predicted"
	lossOutput  = "loss" // (N, 1, 1, 1)
)

// trainingGraph is the network with its loss.
func trainingGraph(cfg Config, params *nn.Params) (*nn.Graph, error) {
	kind, err := op.ParseMapLoss(cfg.Loss)
	if err != nil {
		return nil, err
	}
	g := nn.NewGraph(nn.Train, params)
	logits := cfg.unet().Build(g, g.Input(imageInput, op.Shape{N: cfg.Batch, C: 3, H: cfg.Size, W: cfg.Size}))
	target := g.Input(mapInput, op.Shape{N: cfg.Batch, C: 1, H: cfg.Size, W: cfg.Size})
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
	g := nn.NewGraph(nn.Eval, params)
	logits := cfg.unet().Build(g, g.Input(imageInput, op.Shape{N: batch, C: 3, H: cfg.Size, W: cfg.Size}))
	g.Output(mapOutput, g.Sigmoid(logits))
	if withLoss {
		target := g.Input(mapInput, op.Shape{N: batch, C: 1, H: cfg.Size, W: cfg.Size})
		g.Output(lossOutput, g.MapLoss(kind, true, logits, target))
	}
	return g, g.Err()
}

// forward predicts the maps of a batch at a time.
type forward struct {
	program *nn.Program
	size    int
	mirror  bool
	images  []float32 // filled by the caller
	targets []float32 // likewise; nil without a loss
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
	f := &forward{program: p, size: cfg.Size, mirror: cfg.Mirror, images: p.Input(imageInput)}
	f.maps = make([]float32, batch*f.plane())
	if cfg.Mirror {
		f.mirrored = make([]float32, len(f.maps))
	}
	if withLoss {
		f.targets, f.losses = p.Input(mapInput), make([]float32, batch)
	}
	return f, nil
}

func (f *forward) plane() int { return f.size * f.size }

// image is the input of one image of the batch.
func (f *forward) image(i int) []float32 { return f.images[3*i*f.plane() : 3*(i+1)*f.plane()] }

// target is the human map of one image of the batch.
func (f *forward) target(i int) []float32 { return f.targets[i*f.plane() : (i+1)*f.plane()] }

// run predicts. It overwrites the images.
func (f *forward) run() {
	f.program.Run()
	copy(f.maps, f.program.Output(mapOutput))
	copy(f.losses, f.program.Output(lossOutput))
	if !f.mirror {
		return
	}
	raster.Mirror(f.images, f.size)
	f.program.Run()
	copy(f.mirrored, f.program.Output(mapOutput))
	raster.Mirror(f.mirrored, f.size)
}

// prediction is what the network says of one image.
type prediction struct {
	pix      []float32 // (size, size), mean of both directions
	evidence evidence
	loss     float32
}

// prediction takes the result of one image out of the batch.
func (f *forward) prediction(i int) prediction {
	seen := f.maps[i*f.plane() : (i+1)*f.plane()]
	p := prediction{pix: make([]float32, f.plane())}
	copy(p.pix, seen)
	agreement := 1.0
	if f.mirror {
		turned := f.mirrored[i*f.plane() : (i+1)*f.plane()]
		agreement = correlation(seen, turned)
		for k, v := range turned {
			p.pix[k] = (seen[k] + v) / 2
		}
	}
	if f.losses != nil {
		p.loss = f.losses[i]
	}
	p.evidence = gather(p.pix, agreement)
	return p
}

// team predicts side by side: each member has a program of its own on one core,
// so that nobody waits for the cores of others.
type team struct {
	members []*forward
	batch   int
}

// newTeam makes at most options.Workers members for n images.
func newTeam(cfg Config, params *nn.Params, n, batch int, withLoss bool, options nn.Options) (*team, error) {
	workers := max(1, min(options.Workers, n))
	batch = max(1, min(batch, (n+workers-1)/workers))
	t := &team{batch: batch}
	options.Workers = 1
	for range workers {
		f, err := newForward(cfg, params, batch, withLoss, options)
		if err != nil {
			return nil, err
		}
		t.members = append(t.members, f)
	}
	return t, nil
}

// each predicts n images: put fills the i-th image into slot k of a member, take
// gets its prediction. Both are called from several goroutines, each i once.
func (t *team) each(ctx context.Context, n int, put func(i int, f *forward, k int) error, take func(i int, p prediction)) error {
	group, ctx := errgroup.WithContext(ctx)
	for w, f := range t.members {
		group.Go(func() error {
			for from := w * t.batch; from < n; from += len(t.members) * t.batch {
				if err := ctx.Err(); err != nil {
					return err
				}
				to := min(from+t.batch, n)
				for i := from; i < to; i++ {
					if err := put(i, f, i-from); err != nil {
						return err
					}
				}
				f.run()
				for i := from; i < to; i++ {
					take(i, f.prediction(i-from))
				}
			}
			return nil
		})
	}
	return group.Wait()
}
