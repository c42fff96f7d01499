// Package cudnn computes convolutions with NVIDIA's cuDNN, through its graph API.
//
// With the build tag gpu the library is looked for when [Open] is called; without the
// tag Open returns [driver.ErrNotBuilt]. Nothing of NVIDIA's is needed to build.
package cudnn

import (
	"errors"
	"fmt"

	"github.com/surrogaze/surrogaze/internal/cuda/driver"
	"github.com/surrogaze/surrogaze/internal/cuda/kernels"
	"github.com/surrogaze/surrogaze/internal/op"
)

// ErrUnsupported says that the library has no way to compute a convolution on the
// device in the precision asked for.
var ErrUnsupported = errors.New("not supported by cuDNN on this device")

// Direction is what a convolution computes of its three tensors.
type Direction uint8

// The directions.
const (
	Forward         Direction = iota // y of x and w
	BackwardData                     // dx of w and dy
	BackwardWeights                  // dw of x and dy
)

func (d Direction) String() string {
	return [...]string{"forward", "backward data", "backward weights"}[d]
}

// Convolution is one to compute. Feature maps are N, H, W, C and weights Out, KernelH,
// KernelW, In of the group, without gaps and of one type, except for dw. Products are
// summed in float32.
type Convolution struct {
	Geometry       op.Conv
	Direction      Direction
	Type           kernels.Type
	WeightGradient kernels.Type // type of dw in BackwardWeights: F32, or as Type
	TF32           bool         // the factors of F32 may be rounded to TF32, for tensor cores
}

// String is one line that differs between any two convolutions.
func (c Convolution) String() string {
	g, kind := c.Geometry, c.Type.String()
	if c.TF32 {
		kind = "tf32"
	}
	if c.Direction == BackwardWeights {
		kind += " to " + c.WeightGradient.String()
	}
	return fmt.Sprintf("%v, %s, %dx%dx%dx%d to %d, kernel %dx%d, stride %dx%d, padding %dx%d, dilation %dx%d, groups %d", c.Direction, kind,
		g.In.N, g.In.C, g.In.H, g.In.W, g.Out, g.KernelH, g.KernelW, g.StrideH, g.StrideW, g.PadH, g.PadW, g.DilationH, g.DilationW, g.Groups)
}

// Library is cuDNN on one device. Its methods and its plans' may be called from any
// goroutine. Plans are to be closed before it.
type Library interface {
	// File is where the library was found.
	File() string
	// Version is 92600 for 9.26.0, 8907 for 8.9.7.
	Version() int
	// SetStream lets what follows run in a stream, a CUstream. It comes before all other
	// work; all streams are of one device.
	SetStream(handle uintptr) error
	// Plans lists ways to compute a convolution, the library's favourite first, at most
	// n. Plans whose results may differ from run to run, and slow ones to make, are
	// there only for want of others. None is ErrUnsupported.
	Plans(c Convolution, n int) ([]Plan, error)
	// Plan makes the plan of a name.
	Plan(c Convolution, name string) (Plan, error)
	Close() error
}

// Plan is one way to compute a convolution.
type Plan interface {
	// Name tells the plans of a convolution apart; it is the same for one version of the
	// library on one model of device.
	Name() string
	// Workspace is the number of bytes of device memory that a run wants.
	Workspace() int64
	// Run puts the convolution into the library's stream: x, w, y in Forward; dx, w, dy in
	// BackwardData; x, dw, dy in BackwardWeights. The first run of a plan may load code
	// onto the device, so it is better not recorded in a graph.
	Run(x, w, y, workspace driver.Pointer) error
	Close() error
}
