package cyborg

import (
	"context"
	"iter"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/internal/streams"
)

// panel runs a network over images. Its members work side by side, on batches that are
// cut without regard to their number.
type panel struct {
	members  []*member
	batch    int
	resizing raster.Resizing
	grid     int // side of the CAM; 0 without
}

// member is one of a panel.
type member struct {
	nn.Lane
	cores   streams.Cores // that it may use
	cfg     Config
	classes int
	grid    int // of the panel
}

// result is what the network says of an image.
type result struct {
	logits []float32
	cam    []float32 // (grid, grid), of the class that the configuration names; nil without
}

// graphOf is evaluationGraph or pixelGraph.
type graphOf func(cfg Config, params *nn.Params, classes, batch int, withCAM bool) (*nn.Graph, error)

// newPanel makes a panel for n images.
func newPanel(graph graphOf, cfg Config, params *nn.Params, classes, n, batch int, withCAM bool, options nn.Options) (*panel, error) {
	p := &panel{batch: max(min(batch, n), 1), resizing: cfg.resizing()}
	if withCAM {
		net, err := cfg.network()
		if err != nil {
			return nil, err
		}
		p.grid = net.Grid(cfg.Size)
	}
	most, common, err := options.Lanes()
	if err != nil {
		return nil, err
	}
	members := max(1, min(most, (n+p.batch-1)/p.batch))
	lanes, err := nn.NewLanes(members, options, func() (*nn.Graph, error) {
		return graph(cfg, params, classes, p.batch, withCAM)
	})
	if err != nil {
		return nil, err
	}
	for i, cores := range streams.Deal(members, options.Workers, common) {
		p.members = append(p.members, &member{lanes[i], cores, cfg, classes, p.grid})
	}
	return p, nil
}

// over runs the network over a stream and yields what take makes of each image, in order.
// decode and take are called side by side.
func over[Out any](ctx context.Context, p *panel, in iter.Seq2[source, error], decode func(source) (decoded, error), take func(s source, of decoded, r result) Out) iter.Seq2[Out, error] {
	var workers []func([]source) ([]Out, error)
	for _, m := range p.members {
		workers = append(workers, func(chunk []source) ([]Out, error) {
			results, pixels := make([]Out, len(chunk)), make([]decoded, len(chunk))
			return results, m.look(len(chunk), func(i int) (raster.Prepared, int64, error) {
				var err error
				pixels[i], err = decode(chunk[i])
				return pixels[i].image, chunk[i].label, err
			}, func(i int, r result) error {
				results[i] = take(chunk[i], pixels[i], r)
				return nil
			})
		})
	}
	return streams.Map(ctx, in, streams.Chunks[source]{Elements: p.batch, Bytes: source.bytes}, workers)
}

// bytes is the memory of the files.
func (s source) bytes() int { return len(s.image.Bytes) + len(s.human.Bytes) }

// look runs the network over n images, a batch at most. image gives each with its label,
// and no image where there is none to be looked at; take gets the result of each. Both
// are called side by side.
func (m *member) look(n int, image func(i int) (raster.Prepared, int64, error), take func(i int, r result) error) error {
	b := m.Begin()
	labels := b.Batch[labelInput]
	results := make([]*result, n)
	err := m.cores.Each(n, func(i int) error {
		shown, label, err := image(i)
		if err != nil || shown == (raster.Prepared{}) {
			return err
		}
		if labels != nil {
			labels[i] = float32(label)
		}
		results[i] = m.result(i, label)
		return b.Show(imageInput, i, raster.SeenImage{Image: shown, Side: m.cfg.Size})
	})
	if err != nil {
		return err
	}
	if err := m.Run(); err != nil {
		return err
	}
	return m.cores.Each(n, func(i int) error {
		if results[i] == nil {
			return nil
		}
		return take(i, *results[i])
	})
}

// result is where one image of the batch leaves its result. An image without a label
// shows the predicted class.
func (m *member) result(i int, label int64) *result {
	r := &result{logits: m.Output(logitsOutput)[i*m.classes : (i+1)*m.classes]}
	if m.grid > 0 {
		output := predictedOutput
		if m.cfg.CAMClass != predictedCAM && label >= 0 {
			output = trueOutput
		}
		r.cam = m.Output(output)[i*m.grid*m.grid : (i+1)*m.grid*m.grid]
	}
	return r
}
