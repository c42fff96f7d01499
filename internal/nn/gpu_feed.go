package nn

import (
	"errors"
	"fmt"

	"github.com/surrogaze/surrogaze/internal/cuda"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
	"github.com/surrogaze/surrogaze/internal/op"
)

// gpuFeed is a batch in pinned memory, which a stream of its own copies to the device
// while a step computes there. Of images and maps it holds the pixels, of which a kernel
// draws the program's inputs.
type gpuFeed struct {
	*gpu
	batch    ImageBatch
	drawings []*drawing
	transfer *cuda.Transfer
}

// drawing is one input that the device draws.
type drawing struct {
	*value
	to       kernels.Pointer
	transfer *cuda.Transfer
	views    []kernels.View // one an image
	launches []kernels.Launch
}

func (s *gpuStepper) batch() (feed, error) { return s.newFeed() }

func (m *gpu) newFeed() (*gpuFeed, error) {
	f := &gpuFeed{gpu: m, batch: ImageBatch{Batch: Batch{}, Images: m.list.images(), drawn: map[string]drawn{}}}
	var err error
	if f.transfer, err = m.device.NewTransfer(); err != nil {
		return nil, err
	}
	for name, v := range m.list.inputs {
		if v.drawn {
			d := &drawing{value: v, to: m.at[v], transfer: f.transfer, views: make([]kernels.View, v.shape.N)}
			f.drawings, f.batch.drawn[name] = append(f.drawings, d), d
			continue
		}
		host, err := f.transfer.Add(m.at[v], 4*v.shape.Len())
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", name, err)
		}
		f.batch.Batch[name] = host.Floats()
	}
	return f, nil
}

func (f *gpuFeed) buffers() ImageBatch {
	f.transfer.Unpack()
	for _, d := range f.drawings {
		clear(d.views)
	}
	return f.batch
}

func (f *gpuFeed) send() error {
	for _, d := range f.drawings {
		if err := d.prepare(); err != nil {
			return fmt.Errorf("input %q: %w", d.name, err)
		}
	}
	return f.transfer.Send()
}

func (f *gpuFeed) load() error {
	for name, v := range f.list.inputs {
		if !v.drawn && v.shape.H*v.shape.W == 1 { // numbers, which the caller may want to see again
			copy(v.data, f.batch.Batch[name])
		}
	}
	var launches []kernels.Launch
	for _, d := range f.drawings {
		launches = append(launches, d.launches...)
	}
	return f.transfer.Load(launches...)
}

func (d *drawing) show(i int, v op.View) error {
	pixels, size := v.Bytes, 3
	if d.shape.C == 1 {
		pixels, size = bytesOf(v.Values), 4
	}
	if n := v.W * v.H * size; n < 1 || len(pixels) != n {
		return fmt.Errorf("found a view of %d bytes for %d channels, want %d x %d pixels of %d", len(pixels), d.shape.C, v.W, v.H, size)
	}
	host, at, err := d.transfer.Pack(len(pixels))
	if err != nil {
		return fmt.Errorf("pinned memory: %w", err)
	}
	copy(host, pixels)
	v.Bytes, v.Values = nil, nil
	d.views[i] = kernels.View{Pixels: at, View: v}
	return nil
}

// prepare packs the table of the views for the kernel that draws them.
func (d *drawing) prepare() error {
	host, at, err := d.transfer.Pack(len(d.views) * kernels.ViewSize)
	if err != nil {
		return fmt.Errorf("pinned memory: %w", err)
	}
	table := host[:0]
	for _, v := range d.views {
		if v.Pixels == 0 {
			return errors.New("the source has not shown a view for every image")
		}
		table = v.Append(table)
	}
	if d.shape.C == 1 {
		d.launches = kernels.DrawMaps(d.shape, d.to, at)
	} else {
		d.launches = kernels.DrawImages(d.shape, typeOf(d.layout), d.to, at)
	}
	return nil
}
