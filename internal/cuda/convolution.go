package cuda

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/cuda/cudnn"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
	"github.com/surrogaze/surrogaze/internal/op"
)

// Convolve records a convolution in the order of operands of [cudnn.Plan.Run]. The way
// to compute it is chosen here, which overwrites the result.
func (t *Tape) Convolve(c cudnn.Convolution, x, w, y kernels.Pointer) {
	if t.err != nil {
		return
	}
	plan, err := t.choose(c, x, w, y)
	if err != nil {
		t.Fail(err)
		return
	}
	t.workspace = max(t.workspace, plan.Workspace())
	t.put(func() error { return plan.Run(x, w, y, t.device.workspace.at) })
}

// ConvolveBackwardWeights records the gradient of a convolution by its weight in float32:
// dw of x and dy of the convolution's type. That of bfloat16 maps is bfloat16, summed in
// float32, before it is widened, as in PyTorch.
func (t *Tape) ConvolveBackwardWeights(c cudnn.Convolution, x, dw, dy kernels.Pointer) {
	if c.Type == kernels.F32 {
		c.WeightGradient = c.Type
		t.Convolve(c, x, dw, dy)
		return
	}
	narrow := t.narrowGradient(c, x, dy)
	t.Launch(kernels.Convert(int64(c.Geometry.Weight().Len()), kernels.F32, dw, c.Type, narrow))
}

// narrowGradient records a gradient by the weight that has the type of the maps, and
// returns where it is until the next operation.
func (t *Tape) narrowGradient(c cudnn.Convolution, x, dy kernels.Pointer) kernels.Pointer {
	c.WeightGradient = c.Type
	narrow := t.temporary(int64(c.Geometry.Weight().Len() * c.Type.Size()))
	t.Convolve(c, x, narrow, dy)
	return narrow
}

// ConvolveImage records the convolution of an image in bfloat16 whose pixels are filled up
// to [kernels.ImageChannels], with a weight that has the image's own channels.
func (t *Tape) ConvolveImage(c cudnn.Convolution, x, w, y kernels.Pointer) {
	taps, channels := filters(c.Geometry)
	c.Geometry.In.C = kernels.ImageChannels
	filled := t.temporary(int64(c.Geometry.Weight().Len() * c.Type.Size()))
	t.Launch(kernels.ResizeChannels(taps, c.Type, filled, kernels.ImageChannels, w, channels))
	t.Convolve(c, x, filled, y)
}

// ConvolveImageBackwardWeights records the gradient of [Tape.ConvolveImage] by its weight in
// float32.
func (t *Tape) ConvolveImageBackwardWeights(c cudnn.Convolution, x, dw, dy kernels.Pointer) {
	taps, channels := filters(c.Geometry)
	c.Geometry.In.C = kernels.ImageChannels
	narrow := t.narrowGradient(c, x, dy)
	t.Launch(kernels.ResizeChannels(taps, kernels.F32, dw, channels, narrow, kernels.ImageChannels))
}

// filters are the taps of all filters of a convolution, and the channels of each tap.
func filters(g op.Conv) (taps, channels int) {
	return g.Out * g.KernelH * g.KernelW, g.In.C
}

// temporary is memory until the next operation.
func (t *Tape) temporary(bytes int64) kernels.Pointer {
	if bytes <= kernels.Scratch {
		return t.Scratch()
	}
	m, err := t.device.Alloc(bytes)
	if err != nil {
		t.Fail(err)
		return 0
	}
	t.Keep(m)
	return m.at
}

// The largest workspace that a convolution may want, as a share of the device's memory and
// in bytes.
const (
	trialShare = 16
	trialBytes = 1 << 30
)

// choose finds the fastest way to compute a convolution.
func (t *Tape) choose(c cudnn.Convolution, x, w, y kernels.Pointer) (cudnn.Plan, error) {
	d := t.device
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if plan := d.plans[c]; plan != nil {
		return plan, nil
	}
	if t.trials == nil {
		var err error
		if t.trials, err = d.Alloc(min(d.properties.Memory/trialShare, trialBytes)); err != nil {
			return nil, fmt.Errorf("workspace to try convolutions in: %w", err)
		}
	}
	plan, err := d.chooser.Choose(c, cudnn.Buffers{X: x, W: w, Y: y, Workspace: t.trials.at, WorkspaceBytes: t.trials.length})
	if err != nil {
		return nil, d.cause(err)
	}
	d.plans[c] = plan
	return plan, nil
}

// endTrials frees the memory that convolutions were tried in, which may be more than a
// program's own.
func (t *Tape) endTrials() {
	if t.trials != nil {
		t.Fail(t.device.free(t.trials))
		t.trials = nil
	}
}

// reserve makes sure that the workspace has a length. Tapes that know an earlier one
// keep it.
func (d *Device) reserve(bytes int64) error {
	if d.workspace != nil && d.workspace.length >= bytes {
		return nil
	}
	m, err := d.Alloc(bytes)
	if err != nil {
		return err
	}
	d.workspace = m
	return nil
}
