package nn

import (
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/surrogaze/surrogaze/internal/op"
	"github.com/surrogaze/surrogaze/internal/weights"
)

// Param is a named tensor of a network: a weight that training moves, or a
// buffer such as a batch norm's running mean. Data is contiguous in the order
// of Shape, which is torchvision's: (Out, In, KernelH, KernelW) for a
// convolution, (Out, In) for a linear layer, (C) for a vector.
type Param struct {
	Name      string
	Shape     []int
	Data      []float32
	Trainable bool
}

// Params holds the parameters of one network. Graphs of the same network
// (training, evaluation, other batch sizes) share one Params and therefore
// their weights. A parameter is made and initialised when a graph first
// declares it; its values depend on the seed and its name alone, so that
// networks with equal layers start equal whatever is built around them.
// It is not safe for concurrent use.
//
// On a GPU the values lie in a mirror that training moves. They come back when a
// method asks for them. Where that fails, as of a lost device, [Params.Fetch] and what
// runs or writes the parameters return the error from then on, until all values are
// replaced.
type Params struct {
	seed    uint64
	list    []*Param
	byName  map[string]*Param
	mirrors mirrors
}

// NewParams makes an empty set whose parameters will be initialised from seed.
func NewParams(seed uint64) *Params {
	return &Params{seed: seed, byName: map[string]*Param{}}
}

// Fetch makes the values in memory those of the last step. The other methods do so
// themselves.
func (p *Params) Fetch() error { return p.mirrors.fetch() }

// All lists the parameters in the order of their declaration. The caller may
// change their values until the next run but not the list.
func (p *Params) All() []*Param {
	_ = p.mirrors.outdate()
	return p.list
}

// Get finds a parameter by name, or nil. The caller may change its values until the
// next run.
func (p *Params) Get(name string) *Param {
	_ = p.mirrors.outdate()
	return p.byName[name]
}

// Clone copies every value. Where they are lost, so are the clone's.
func (p *Params) Clone() *Params {
	c := NewParams(p.seed)
	c.mirrors.lost = p.Fetch()
	for _, x := range p.list {
		y := *x
		y.Shape = slices.Clone(x.Shape)
		y.Data = slices.Clone(x.Data)
		c.add(&y)
	}
	return c
}

// CopyFrom overwrites every value with that of the parameter of the same name
// in src. Both must hold the same names and shapes.
func (p *Params) CopyFrom(src *Params) error {
	if err := src.Fetch(); err != nil {
		return err
	}
	data := make([][]float32, len(p.list))
	for i, x := range p.list {
		y := src.byName[x.Name]
		if y == nil {
			return fmt.Errorf("parameter %q: missing in the source", x.Name)
		}
		if !slices.Equal(x.Shape, y.Shape) {
			return fmt.Errorf("parameter %q: shape %v, want %v", x.Name, y.Shape, x.Shape)
		}
		data[i] = y.Data
	}
	p.assign(data)
	return nil
}

// Write writes the parameters as a weights file.
func (p *Params) Write(w io.Writer, meta map[string]string) error {
	if err := p.Fetch(); err != nil {
		return err
	}
	return weights.Write(w, meta, p.Tensors())
}

// Tensors lists the parameters as those of a weights file. The data is shared.
func (p *Params) Tensors() []weights.Tensor {
	_ = p.Fetch()
	ts := make([]weights.Tensor, len(p.list))
	for i, x := range p.list {
		ts[i] = weights.Float32(x.Name, x.Shape, x.Data)
	}
	return ts
}

// Load overwrites every parameter with the tensor of its name. Missing,
// unexpected or differently shaped tensors, and values that are no finite numbers,
// are an error and change nothing.
func (p *Params) Load(tensors []weights.Tensor) error {
	data, err := p.match(tensors)
	if err != nil {
		return err
	}
	for i, x := range p.list {
		if err := weights.CheckFinite(x.Name, data[i]); err != nil {
			return err
		}
	}
	p.assign(data)
	return nil
}

// match finds the new values of every parameter, in order.
func (p *Params) match(tensors []weights.Tensor) ([][]float32, error) {
	byName := make(map[string]weights.Tensor, len(tensors))
	for _, t := range tensors {
		if p.byName[t.Name] == nil {
			return nil, fmt.Errorf("tensor %q: want no tensor of this name", t.Name)
		}
		byName[t.Name] = t
	}
	data := make([][]float32, len(p.list))
	for i, x := range p.list {
		t, ok := byName[x.Name]
		if !ok {
			return nil, fmt.Errorf("tensor %q: missing", x.Name)
		}
		if !slices.Equal(t.Shape, x.Shape) {
			return nil, fmt.Errorf("tensor %q: shape %v, want %v", x.Name, t.Shape, x.Shape)
		}
		if len(t.Data) != len(x.Data) {
			return nil, fmt.Errorf("tensor %q: type %s, want F32", x.Name, t.DType)
		}
		data[i] = t.Data
	}
	return data, nil
}

func (p *Params) assign(data [][]float32) {
	p.mirrors.replace()
	for i, x := range p.list {
		copy(x.Data, data[i])
	}
}

func (p *Params) add(x *Param) {
	_ = p.mirrors.outdate()
	p.list = append(p.list, x)
	p.byName[x.Name] = x
}

// declare returns the parameter of a name, made by init at first.
func (p *Params) declare(name string, shape []int, trainable bool, init initializer) (*Param, error) {
	if x := p.byName[name]; x != nil {
		if !slices.Equal(x.Shape, shape) {
			return nil, fmt.Errorf("parameter %q: shape %v is already taken by shape %v", name, shape, x.Shape)
		}
		return x, nil
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	x := &Param{Name: name, Shape: shape, Data: make([]float32, n), Trainable: trainable}
	h := fnv.New64a()
	h.Write([]byte(name))
	init(x.Data, rand.New(rand.NewPCG(p.seed, h.Sum64())))
	p.add(x)
	return x, nil
}

// initializer fills a new parameter.
type initializer func(data []float32, rng *rand.Rand)

func constant(v float32) initializer {
	return func(data []float32, _ *rand.Rand) {
		for i := range data {
			data[i] = v
		}
	}
}

// Init says how the weights of a convolution begin.
type Init uint8

const (
	// HeNormal draws from N(0, 2/fan) with the fan counted over the outputs, as
	// torchvision's ResNet does (He et al. 2015, arXiv 1502.01852).
	HeNormal Init = iota
	// FanInUniform draws from U(-1/sqrt(fan), 1/sqrt(fan)) with the fan counted over
	// the inputs, torch.nn.Conv2d's default. Before a batch norm the scale of weights
	// does not show, but the smaller they are, the further a step turns them: these
	// learn faster in short trainings from scratch.
	FanInUniform
)

func (i Init) of(g op.Conv) initializer {
	if i == FanInUniform {
		return fanInUniform(g.In.C / g.Groups * g.KernelH * g.KernelW)
	}
	return heNormal(g)
}

func heNormal(g op.Conv) initializer {
	sd := math.Sqrt(2 / float64(g.Out*g.KernelH*g.KernelW))
	return func(data []float32, rng *rand.Rand) {
		for i := range data {
			data[i] = float32(sd * rng.NormFloat64())
		}
	}
}

// fanInUniform is torch.nn.Linear's default, too.
func fanInUniform(fan int) initializer {
	bound := 1 / math.Sqrt(float64(fan))
	return func(data []float32, rng *rand.Rand) {
		for i := range data {
			data[i] = float32(bound * (2*rng.Float64() - 1))
		}
	}
}
