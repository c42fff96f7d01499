package nn

import (
	"context"
	"fmt"

	"github.com/surrogaze/surrogaze/internal/op"
)

// View is an image or a map, and how the network sees it.
type View interface {
	// Draw computes it on the host, planar, into what one image of the input takes.
	Draw(dst []float32)
	// Geometry says the same to a machine that computes it on its own: from bytes for
	// inputs of three channels, from values for inputs of one.
	Geometry() op.View
}

// ImageBatch is a batch with views. Inputs that the machine draws are not in its Batch:
// of a GPU those that [Graph.Image] declared.
type ImageBatch struct {
	Batch
	Images int // in the batch
	drawn  map[string]drawn
}

// drawn is an input that the machine draws.
type drawn interface {
	// show makes a view the i-th. It may be called from several goroutines.
	show(i int, v op.View) error
}

// ImageSource is a [Source] that shows views.
type ImageSource func(ctx context.Context, step int, b ImageBatch) error

// Show makes a view the i-th of an input that [Graph.Image] declared. It may be called
// from several goroutines, each for another i. What the view is of must stay as it is
// until Show returns.
func (b ImageBatch) Show(input string, i int, v View) error {
	if d := b.drawn[input]; d != nil {
		if err := d.show(i, v.Geometry()); err != nil {
			return fmt.Errorf("input %q: %w", input, err)
		}
		return nil
	}
	x := b.Batch[input]
	n := len(x) / b.Images
	if n == 0 {
		return fmt.Errorf("input %q: the graph has none of this name", input)
	}
	v.Draw(x[i*n : (i+1)*n])
	return nil
}

// withoutViews is a source for graphs whose inputs are all numbers.
func (s Source) withoutViews() ImageSource {
	return func(ctx context.Context, step int, b ImageBatch) error {
		for name := range b.drawn {
			return fmt.Errorf("input %q: the device draws it, want a source that shows views", name)
		}
		return s(ctx, step, b.Batch)
	}
}
