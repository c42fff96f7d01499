package cyborg

import (
	"context"
	"iter"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/raster"
)

// panel runs a network over a stream of images. Its members work side by side,
// each with a program of its own on one core, on batches that are cut without
// regard to their number.
type panel struct {
	members  []*member
	batch    int
	resizing raster.Resizing
	grid     int // side of the CAM; 0 without
}

// member is one of a panel.
type member struct {
	program *nn.Program
	cfg     Config
	classes int
	grid    int // of the panel
}

// result is what the network says of an image.
type result struct {
	logits []float32
	cam    []float32 // (grid, grid), of the class that the configuration names; nil without
}

// newPanel makes a panel for n images with at most options.Workers members.
func newPanel(cfg Config, params *nn.Params, classes, n, batch int, withCAM bool, options nn.Options) (*panel, error) {
	p := &panel{batch: max(min(batch, n), 1), resizing: cfg.resizing()}
	members := max(1, min(options.Workers, (n+p.batch-1)/p.batch))
	options.Workers = 1
	if withCAM {
		net, err := cfg.network()
		if err != nil {
			return nil, err
		}
		p.grid = net.Grid(cfg.Size)
	}
	for range members {
		g, err := evaluationGraph(cfg, params, classes, p.batch, withCAM)
		if err != nil {
			return nil, err
		}
		program, err := nn.Compile(g, options)
		if err != nil {
			return nil, err
		}
		p.members = append(p.members, &member{program, cfg, classes, p.grid})
	}
	return p, nil
}

// batched is some sources in a row, the first of which is number from.
type batched struct {
	from    int
	sources []source
}

// each runs the network over a stream. take gets every image's number, pixels and
// result once, from several goroutines.
func (p *panel) each(ctx context.Context, in iter.Seq2[source, error], decode func(source) (decoded, error), take func(i int, m decoded, r result)) error {
	group, ctx := errgroup.WithContext(ctx)
	batches := make(chan batched)
	group.Go(func() error {
		defer close(batches)
		return p.deal(ctx, in, batches)
	})
	for _, m := range p.members {
		group.Go(func() error {
			for b := range batches {
				if err := m.run(b, decode, take); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// deal cuts the stream into batches.
func (p *panel) deal(ctx context.Context, in iter.Seq2[source, error], batches chan<- batched) error {
	var b batched
	send := func() error {
		select {
		case batches <- b:
			b = batched{from: b.from + len(b.sources)}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for s, err := range in {
		if err != nil {
			return err
		}
		if b.sources = append(b.sources, s); len(b.sources) == p.batch {
			if err := send(); err != nil {
				return err
			}
		}
	}
	if len(b.sources) == 0 {
		return nil
	}
	return send()
}

func (m *member) run(b batched, decode func(source) (decoded, error), take func(i int, m decoded, r result)) error {
	pixels := make([]decoded, len(b.sources))
	images, labels := m.program.Input(imageInput), m.program.Input(labelInput)
	n := 3 * m.cfg.Size * m.cfg.Size
	for i, s := range b.sources {
		var err error
		if pixels[i], err = decode(s); err != nil {
			return err
		}
		writeInput(images[i*n:(i+1)*n], m.cfg.Size, raster.View{}, pixels[i].image)
		if labels != nil {
			labels[i] = float32(s.label)
		}
	}
	if err := m.program.Run(); err != nil {
		return err
	}
	for i, s := range b.sources {
		take(b.from+i, pixels[i], m.result(i, s.label))
	}
	return nil
}

// result takes that of one image out of the batch. An image without a label shows
// the predicted class.
func (m *member) result(i int, label int64) result {
	r := result{logits: m.program.Output(logitsOutput)[i*m.classes : (i+1)*m.classes]}
	if m.grid > 0 {
		output := predictedOutput
		if m.cfg.CAMClass != predictedCAM && label >= 0 {
			output = trueOutput
		}
		r.cam = m.program.Output(output)[i*m.grid*m.grid : (i+1)*m.grid*m.grid]
	}
	return r
}
