package nn

import (
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/surrogaze/surrogaze/internal/kernel/reference"
	"github.com/surrogaze/surrogaze/internal/op"
)

// nodes shortens the signatures of gradient rules.
type node = *gorgonia.Node

// collect gathers the results of several applyOperator calls.
type collect struct {
	g   *Graph
	err error
}

func (c *collect) apply(o graphOperator, in ...node) node {
	if c.err != nil {
		return nil
	}
	n, err := c.g.applyOperator(o, in...)
	c.err = err
	return n
}

// conv is a convolution x, w[, b] with an optional fused epilogue.
type conv struct {
	g        op.Conv
	exact    bool // in float32 whatever the precision
	bias     bool
	residual bool // fused: adds a last operand of the result's shape
	relu     bool // fused: ends with a ReLU
}

func (o conv) name() string  { return "conv" }
func (o conv) out() op.Shape { return o.g.OutShape() }
func (o conv) layouts() ([]layout, layout) {
	in := []layout{imageLayout(o.g), planar}
	if o.bias {
		in = append(in, planar)
	}
	if o.residual {
		in = append(in, native)
	}
	return in, native
}
func (o conv) differentiable() []bool { return []bool{true, true, true}[:2+b2i(o.bias)] }
func (o conv) gradient(g *Graph, in []node, _, grad node) ([]node, error) {
	c := collect{g: g}
	grads := []node{c.apply(convBackwardData{o.g, o.exact}, in[1], grad), c.apply(convBackwardWeights{o.g, o.exact}, in[0], grad)}
	if o.bias {
		grads = append(grads, c.apply(biasGradient{o.out(), o.exact}, grad))
	}
	return grads, c.err
}
func (o conv) reference(dst []float64, src [][]float64) {
	var bias []float64
	if o.bias {
		bias = src[2]
	}
	reference.Conv(o.g, dst, src[0], src[1], bias)
}

// float32Operator may compute in float32 whatever the program's precision.
type float32Operator interface{ inFloat32() bool }

func (o conv) inFloat32() bool                { return o.exact }
func (o convBackwardData) inFloat32() bool    { return o.exact }
func (o convBackwardWeights) inFloat32() bool { return o.exact }
func (o biasGradient) inFloat32() bool        { return o.exact }

// imageLayout is planar for the few channels of an image, which a convolution
// reads directly, and native for everything else.
func imageLayout(g op.Conv) layout {
	if g.In.C <= maxImageChannels && g.Groups == 1 {
		return planar
	}
	return native
}

// maxImageChannels is the number of channels up to which a tensor counts as an
// image: grey, RGB, RGBA.
const maxImageChannels = 4

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// convBackwardData is the gradient of a convolution by its image: w, dy.
type convBackwardData struct {
	g     op.Conv
	exact bool
}

func (o convBackwardData) name() string  { return "conv backward data" }
func (o convBackwardData) out() op.Shape { return o.g.In }
func (o convBackwardData) layouts() ([]layout, layout) {
	return []layout{planar, native}, native
}
func (o convBackwardData) reference(dst []float64, src [][]float64) {
	reference.ConvBackwardData(o.g, dst, src[1], src[0])
}

// convBackwardWeights is the gradient of a convolution by its weight: x, dy.
type convBackwardWeights struct {
	g     op.Conv
	exact bool
}

func (o convBackwardWeights) name() string  { return "conv backward weights" }
func (o convBackwardWeights) out() op.Shape { return o.g.Weight() }
func (o convBackwardWeights) layouts() ([]layout, layout) {
	return []layout{imageLayout(o.g), native}, planar
}
func (o convBackwardWeights) reference(dst []float64, src [][]float64) {
	reference.ConvBackwardWeights(o.g, dst, src[0], src[1])
}

// biasGradient sums dy over images and pixels.
type biasGradient struct {
	s     op.Shape
	exact bool
}

func (o biasGradient) name() string                { return "bias gradient" }
func (o biasGradient) out() op.Shape               { return op.Shape{N: 1, C: o.s.C, H: 1, W: 1} }
func (o biasGradient) layouts() ([]layout, layout) { return []layout{native}, planar }
func (o biasGradient) reference(dst []float64, src [][]float64) {
	reference.BiasGradient(o.s, dst, src[0])
}

// linear is a fully connected layer x, w, b.
type linear struct{ g op.Linear }

func (o linear) name() string                { return "linear" }
func (o linear) out() op.Shape               { return op.Shape{N: o.g.N, C: o.g.Out, H: 1, W: 1} }
func (o linear) layouts() ([]layout, layout) { return []layout{planar, planar, planar}, planar }
func (o linear) differentiable() []bool      { return []bool{true, true, true} }
func (o linear) gradient(g *Graph, in []node, _, grad node) ([]node, error) {
	c := collect{g: g}
	return []node{c.apply(linearBackwardData(o), in[1], grad), c.apply(linearBackwardWeights(o), in[0], grad),
		c.apply(linearBackwardBias(o), grad)}, c.err
}
func (o linear) reference(dst []float64, src [][]float64) {
	reference.Linear(o.g, dst, src[0], src[1], src[2])
}

// linearBackwardData is w, dy to dx.
type linearBackwardData struct{ g op.Linear }

func (o linearBackwardData) name() string                { return "linear backward data" }
func (o linearBackwardData) out() op.Shape               { return op.Shape{N: o.g.N, C: o.g.In, H: 1, W: 1} }
func (o linearBackwardData) layouts() ([]layout, layout) { return []layout{planar, planar}, planar }
func (o linearBackwardData) reference(dst []float64, src [][]float64) {
	reference.LinearBackwardData(o.g, dst, src[1], src[0])
}

// linearBackwardWeights is x, dy to dw.
type linearBackwardWeights struct{ g op.Linear }

func (o linearBackwardWeights) name() string                { return "linear backward weights" }
func (o linearBackwardWeights) out() op.Shape               { return op.Shape{N: o.g.Out, C: o.g.In, H: 1, W: 1} }
func (o linearBackwardWeights) layouts() ([]layout, layout) { return []layout{planar, planar}, planar }
func (o linearBackwardWeights) reference(dst []float64, src [][]float64) {
	reference.LinearBackwardWeights(o.g, dst, src[0], src[1])
}

// linearBackwardBias is dy to db.
type linearBackwardBias struct{ g op.Linear }

func (o linearBackwardBias) name() string                { return "linear backward bias" }
func (o linearBackwardBias) out() op.Shape               { return op.Shape{N: 1, C: o.g.Out, H: 1, W: 1} }
func (o linearBackwardBias) layouts() ([]layout, layout) { return []layout{planar}, planar }
func (o linearBackwardBias) reference(dst []float64, src [][]float64) {
	reference.LinearBackwardBias(o.g, dst, src[0])
}

// batchNormState carries what the reference forward pass leaves for the
// backward pass; programs keep it in values of their own.
type batchNormState struct{ mean, rstd, dgamma, dbeta []float64 }

// batchNorm is x, gamma, beta, running mean, running variance[, residual].
type batchNorm struct {
	g        op.BatchNorm
	frozen   bool // normalise with the running statistics
	residual bool // fused: adds a last operand before the ReLU
	relu     bool // fused: ends with a ReLU
	state    *batchNormState
}

func (o batchNorm) name() string  { return "batch norm" }
func (o batchNorm) out() op.Shape { return o.g.In }
func (o batchNorm) layouts() ([]layout, layout) {
	in := []layout{native, planar, planar, planar, planar}
	if o.residual {
		in = append(in, native)
	}
	return in, native
}
func (o batchNorm) differentiable() []bool { return []bool{true, true, true, false, false} }
func (o batchNorm) gradient(g *Graph, in []node, out, grad node) ([]node, error) {
	c := collect{g: g}
	// out orders the backward pass behind the forward pass, whose statistics it needs.
	dx := c.apply(batchNormBackward{g: o.g, frozen: o.frozen, state: o.state}, grad, in[0], in[1], in[3], in[4], out)
	return []node{dx, c.apply(batchNormParamGradient{o.g, gammaGradient, o.state}, dx),
		c.apply(batchNormParamGradient{o.g, betaGradient, o.state}, dx), nil, nil}, c.err
}
func (o batchNorm) reference(dst []float64, src [][]float64) {
	if o.frozen {
		reference.BatchNormEval(o.g, dst, src[0], nil, false, src[1], src[2], src[3], src[4])
		return
	}
	o.state.mean, o.state.rstd = make([]float64, o.g.In.C), make([]float64, o.g.In.C)
	reference.BatchNormTrain(o.g, dst, src[0], nil, false, src[1], src[2], src[3], src[4], o.state.mean, o.state.rstd)
}

// batchNormBackward is dy, x, gamma, running mean, running variance, y to dx.
// Its instruction leaves the parameters' gradients as further results, and with
// a fused ReLU masks dy by y > 0 and may leave the masked dy as well. Without one it has
// no operand y.
type batchNormBackward struct {
	g        op.BatchNorm
	frozen   bool
	relu     bool
	residual bool
	toDY     bool // fused: adds an operand behind those above to dy
	toDX     bool // fused: adds a last operand to dx
	state    *batchNormState
}

func (o batchNormBackward) name() string  { return "batch norm backward" }
func (o batchNormBackward) out() op.Shape { return o.g.In }
func (o batchNormBackward) layouts() ([]layout, layout) {
	return []layout{native, native, planar, planar, planar, native}, native
}
func (o batchNormBackward) reference(dst []float64, src [][]float64) {
	o.state.dgamma, o.state.dbeta = make([]float64, o.g.In.C), make([]float64, o.g.In.C)
	if o.frozen {
		reference.BatchNormFrozenBackward(o.g, dst, nil, o.state.dgamma, o.state.dbeta, src[0], src[1], nil, src[2], src[3], src[4])
		return
	}
	reference.BatchNormBackward(o.g, dst, nil, o.state.dgamma, o.state.dbeta, src[0], src[1], nil, src[2], o.state.mean, o.state.rstd)
}

// which of batchNormBackward's results a batchNormParamGradient picks.
const (
	gammaGradient = 1
	betaGradient  = 2
)

// batchNormParamGradient picks a parameter's gradient out of the backward pass
// that made dx.
type batchNormParamGradient struct {
	g     op.BatchNorm
	which int
	state *batchNormState
}

func (o batchNormParamGradient) name() string  { return "batch norm parameter gradient" }
func (o batchNormParamGradient) out() op.Shape { return op.Shape{N: 1, C: o.g.In.C, H: 1, W: 1} }
func (o batchNormParamGradient) layouts() ([]layout, layout) {
	return []layout{native}, planar
}
func (o batchNormParamGradient) reference(dst []float64, _ [][]float64) {
	if o.which == gammaGradient {
		copy(dst, o.state.dgamma)
		return
	}
	copy(dst, o.state.dbeta)
}

// relu is max(x, 0).
type relu struct{ s op.Shape }

func (o relu) name() string                { return "relu" }
func (o relu) out() op.Shape               { return o.s }
func (o relu) layouts() ([]layout, layout) { return []layout{native}, native }
func (o relu) differentiable() []bool      { return []bool{true} }
func (o relu) gradient(g *Graph, _ []node, out, grad node) ([]node, error) {
	c := collect{g: g}
	return []node{c.apply(reluBackward(o), grad, out)}, c.err
}
func (o relu) reference(dst []float64, src [][]float64) { reference.ReLU(dst, src[0]) }

// reluBackward is dy, y to dx.
type reluBackward struct{ s op.Shape }

func (o reluBackward) name() string                { return "relu backward" }
func (o reluBackward) out() op.Shape               { return o.s }
func (o reluBackward) layouts() ([]layout, layout) { return []layout{native, native}, native }
func (o reluBackward) reference(dst []float64, src [][]float64) {
	reference.ReLUBackward(dst, src[0], src[1])
}

// sigmoid is 1/(1+exp(-x)).
type sigmoid struct{ s op.Shape }

func (o sigmoid) name() string                { return "sigmoid" }
func (o sigmoid) out() op.Shape               { return o.s }
func (o sigmoid) layouts() ([]layout, layout) { return []layout{planar}, planar }
func (o sigmoid) differentiable() []bool      { return []bool{true} }
func (o sigmoid) gradient(g *Graph, _ []node, out, grad node) ([]node, error) {
	c := collect{g: g}
	return []node{c.apply(sigmoidBackward(o), grad, out)}, c.err
}
func (o sigmoid) reference(dst []float64, src [][]float64) { reference.Sigmoid(dst, src[0]) }

// sigmoidBackward is dy, y to dx.
type sigmoidBackward struct{ s op.Shape }

func (o sigmoidBackward) name() string                { return "sigmoid backward" }
func (o sigmoidBackward) out() op.Shape               { return o.s }
func (o sigmoidBackward) layouts() ([]layout, layout) { return []layout{planar, planar}, planar }
func (o sigmoidBackward) reference(dst []float64, src [][]float64) {
	reference.SigmoidBackward(dst, src[0], src[1])
}

// add is a + b.
type add struct{ s op.Shape }

func (o add) name() string                { return "add" }
func (o add) out() op.Shape               { return o.s }
func (o add) layouts() ([]layout, layout) { return []layout{native, native}, native }
func (o add) differentiable() []bool      { return []bool{true, true} }
func (o add) gradient(_ *Graph, _ []node, _, grad node) ([]node, error) {
	return []node{grad, grad}, nil
}
func (o add) reference(dst []float64, src [][]float64) { reference.Add(dst, src[0], src[1]) }

// planarAdd sums gradients of small tensors.
type planarAdd struct{ add }

func (o planarAdd) layouts() ([]layout, layout) { return []layout{planar, planar}, planar }

// concat joins along the channels.
type concat struct{ parts []op.Shape }

func (o concat) name() string { return "concat" }
func (o concat) out() op.Shape {
	s := o.parts[0]
	s.C = 0
	for _, p := range o.parts {
		s.C += p.C
	}
	return s
}
func (o concat) layouts() ([]layout, layout) {
	return slices.Repeat([]layout{native}, len(o.parts)), native
}
func (o concat) differentiable() []bool { return slices.Repeat([]bool{true}, len(o.parts)) }
func (o concat) gradient(g *Graph, _ []node, _, grad node) ([]node, error) {
	c := collect{g: g}
	grads := make([]node, len(o.parts))
	from := 0
	for i, p := range o.parts {
		grads[i] = c.apply(channels{whole: o.out(), from: from, part: p}, grad)
		from += p.C
	}
	return grads, c.err
}
func (o concat) reference(dst []float64, src [][]float64) { reference.Concat(o.parts, dst, src) }

// channels cuts a range of channels out of a tensor.
type channels struct {
	whole op.Shape
	from  int
	part  op.Shape
}

func (o channels) name() string                { return "channels" }
func (o channels) out() op.Shape               { return o.part }
func (o channels) layouts() ([]layout, layout) { return []layout{native}, native }
func (o channels) reference(dst []float64, src [][]float64) {
	reference.Channels(o.whole, o.from, o.part.C, dst, src[0])
}

// maxPool is the maximum of a window.
type maxPool struct{ g op.Pool }

func (o maxPool) name() string                { return "max pool" }
func (o maxPool) out() op.Shape               { return o.g.OutShape() }
func (o maxPool) layouts() ([]layout, layout) { return []layout{native}, native }
func (o maxPool) differentiable() []bool      { return []bool{true} }
func (o maxPool) gradient(g *Graph, in []node, out, grad node) ([]node, error) {
	c := collect{g: g}
	return []node{c.apply(maxPoolBackward(o), grad, in[0], out)}, c.err
}
func (o maxPool) reference(dst []float64, src [][]float64) { reference.MaxPool(o.g, dst, src[0]) }

// maxPoolBackward is dy, x, y to dx.
type maxPoolBackward struct{ g op.Pool }

func (o maxPoolBackward) name() string  { return "max pool backward" }
func (o maxPoolBackward) out() op.Shape { return o.g.In }
func (o maxPoolBackward) layouts() ([]layout, layout) {
	return []layout{native, native, native}, native
}
func (o maxPoolBackward) reference(dst []float64, src [][]float64) {
	reference.MaxPoolBackward(o.g, dst, src[0], src[1], src[2])
}

// avgPool is the mean of a window.
type avgPool struct{ g op.Pool }

func (o avgPool) name() string                { return "average pool" }
func (o avgPool) out() op.Shape               { return o.g.OutShape() }
func (o avgPool) layouts() ([]layout, layout) { return []layout{native}, native }
func (o avgPool) differentiable() []bool      { return []bool{true} }
func (o avgPool) gradient(g *Graph, _ []node, _, grad node) ([]node, error) {
	c := collect{g: g}
	return []node{c.apply(avgPoolBackward(o), grad)}, c.err
}
func (o avgPool) reference(dst []float64, src [][]float64) { reference.AvgPool(o.g, dst, src[0]) }

// avgPoolBackward is dy to dx.
type avgPoolBackward struct{ g op.Pool }

func (o avgPoolBackward) name() string                { return "average pool backward" }
func (o avgPoolBackward) out() op.Shape               { return o.g.In }
func (o avgPoolBackward) layouts() ([]layout, layout) { return []layout{native}, native }
func (o avgPoolBackward) reference(dst []float64, src [][]float64) {
	reference.AvgPoolBackward(o.g, dst, src[0])
}

// globalAvgPool is the mean of every channel of every image.
type globalAvgPool struct{ s op.Shape }

func (o globalAvgPool) name() string                { return "global average pool" }
func (o globalAvgPool) out() op.Shape               { return op.Shape{N: o.s.N, C: o.s.C, H: 1, W: 1} }
func (o globalAvgPool) layouts() ([]layout, layout) { return []layout{native}, planar }
func (o globalAvgPool) differentiable() []bool      { return []bool{true} }
func (o globalAvgPool) gradient(g *Graph, _ []node, _, grad node) ([]node, error) {
	c := collect{g: g}
	return []node{c.apply(globalAvgPoolBackward(o), grad)}, c.err
}
func (o globalAvgPool) reference(dst []float64, src [][]float64) {
	reference.GlobalAvgPool(o.s, dst, src[0])
}

// globalAvgPoolBackward is dy to dx.
type globalAvgPoolBackward struct{ s op.Shape }

func (o globalAvgPoolBackward) name() string                { return "global average pool backward" }
func (o globalAvgPoolBackward) out() op.Shape               { return o.s }
func (o globalAvgPoolBackward) layouts() ([]layout, layout) { return []layout{planar}, native }
func (o globalAvgPoolBackward) reference(dst []float64, src [][]float64) {
	reference.GlobalAvgPoolBackward(o.s, dst, src[0])
}

// upsample enlarges by a whole factor.
type upsample struct{ g op.Upsample }

func (o upsample) name() string                { return "upsample" }
func (o upsample) out() op.Shape               { return o.g.OutShape() }
func (o upsample) layouts() ([]layout, layout) { return []layout{native}, native }
func (o upsample) differentiable() []bool      { return []bool{true} }
func (o upsample) gradient(g *Graph, _ []node, _, grad node) ([]node, error) {
	c := collect{g: g}
	return []node{c.apply(upsampleBackward(o), grad)}, c.err
}
func (o upsample) reference(dst []float64, src [][]float64) { reference.Upsample(o.g, dst, src[0]) }

// upsampleBackward is dy to dx.
type upsampleBackward struct{ g op.Upsample }

func (o upsampleBackward) name() string                { return "upsample backward" }
func (o upsampleBackward) out() op.Shape               { return o.g.In }
func (o upsampleBackward) layouts() ([]layout, layout) { return []layout{native}, native }
func (o upsampleBackward) reference(dst []float64, src [][]float64) {
	reference.UpsampleBackward(o.g, dst, src[0])
}

// dropout zeroes values at a rate; the mask depends on the program's seed, the
// step and salt.
type dropout struct {
	s    op.Shape
	rate float32
	salt uint64
}

func (o dropout) name() string                { return "dropout" }
func (o dropout) out() op.Shape               { return o.s }
func (o dropout) layouts() ([]layout, layout) { return []layout{native}, native }
func (o dropout) differentiable() []bool      { return []bool{true} }
func (o dropout) gradient(g *Graph, _ []node, _, grad node) ([]node, error) {
	c := collect{g: g}
	return []node{c.apply(dropoutBackward(o), grad)}, c.err
}
func (o dropout) reference(dst []float64, src [][]float64) {
	reference.Dropout(o.s, dst, src[0], o.rate, o.salt)
}

// dropoutBackward is dy to dx under the same mask.
type dropoutBackward dropout

func (o dropoutBackward) name() string                { return "dropout backward" }
func (o dropoutBackward) out() op.Shape               { return o.s }
func (o dropoutBackward) layouts() ([]layout, layout) { return []layout{native}, native }
func (o dropoutBackward) reference(dst []float64, src [][]float64) {
	reference.DropoutBackward(o.s, dst, src[0], o.rate, o.salt)
}

// argMax is the index of the largest logit.
type argMax struct{ s op.Shape }

func (o argMax) name() string                { return "argmax" }
func (o argMax) out() op.Shape               { return op.Shape{N: o.s.N, C: 1, H: 1, W: 1} }
func (o argMax) layouts() ([]layout, layout) { return []layout{planar}, planar }
func (o argMax) differentiable() []bool      { return []bool{false} }
func (o argMax) gradient(*Graph, []node, node, node) ([]node, error) {
	return []node{nil}, nil
}
func (o argMax) reference(dst []float64, src [][]float64) {
	reference.ArgMax(o.s.N, o.s.C, dst, src[0])
}

// softmaxCrossEntropy is logits, labels to one loss an image.
type softmaxCrossEntropy struct{ n, classes int }

func (o softmaxCrossEntropy) name() string                { return "cross entropy" }
func (o softmaxCrossEntropy) out() op.Shape               { return op.Shape{N: o.n, C: 1, H: 1, W: 1} }
func (o softmaxCrossEntropy) layouts() ([]layout, layout) { return []layout{planar, planar}, planar }
func (o softmaxCrossEntropy) differentiable() []bool      { return []bool{true, false} }
func (o softmaxCrossEntropy) gradient(g *Graph, in []node, _, grad node) ([]node, error) {
	c := collect{g: g}
	return []node{c.apply(softmaxCrossEntropyBackward(o), grad, in[0], in[1]), nil}, c.err
}
func (o softmaxCrossEntropy) reference(dst []float64, src [][]float64) {
	reference.SoftmaxCrossEntropy(o.n, o.classes, dst, src[0], src[1])
}

// softmaxCrossEntropyBackward is dloss, logits, labels to dlogits.
type softmaxCrossEntropyBackward struct{ n, classes int }

func (o softmaxCrossEntropyBackward) name() string { return "cross entropy backward" }
func (o softmaxCrossEntropyBackward) out() op.Shape {
	return op.Shape{N: o.n, C: o.classes, H: 1, W: 1}
}
func (o softmaxCrossEntropyBackward) layouts() ([]layout, layout) {
	return []layout{planar, planar, planar}, planar
}
func (o softmaxCrossEntropyBackward) reference(dst []float64, src [][]float64) {
	reference.SoftmaxCrossEntropyBackward(o.n, o.classes, dst, src[0], src[1], src[2])
}

// cam is features, weight, class to a scaled map.
type cam struct{ g op.CAM }

func (o cam) name() string                { return "cam" }
func (o cam) out() op.Shape               { return o.g.OutShape() }
func (o cam) layouts() ([]layout, layout) { return []layout{native, planar, planar}, planar }
func (o cam) differentiable() []bool      { return []bool{true, true, false} }
func (o cam) gradient(g *Graph, in []node, _, grad node) ([]node, error) {
	c := collect{g: g}
	return []node{c.apply(camBackwardFeatures(o), grad, in[0], in[1], in[2]),
		c.apply(camBackwardWeights(o), grad, in[0], in[1], in[2]), nil}, c.err
}
func (o cam) reference(dst []float64, src [][]float64) {
	reference.CAM(o.g, dst, src[0], src[1], src[2])
}

// camBackwardFeatures is dcam, features, weight, class to dfeatures.
type camBackwardFeatures struct{ g op.CAM }

func (o camBackwardFeatures) name() string  { return "cam backward features" }
func (o camBackwardFeatures) out() op.Shape { return o.g.Features }
func (o camBackwardFeatures) layouts() ([]layout, layout) {
	return []layout{planar, native, planar, planar}, native
}
func (o camBackwardFeatures) reference(dst []float64, src [][]float64) {
	reference.CAMBackwardFeatures(o.g, dst, src[0], src[1], src[2], src[3])
}

// camBackwardWeights is dcam, features, weight, class to dweight.
type camBackwardWeights struct{ g op.CAM }

func (o camBackwardWeights) name() string { return "cam backward weights" }
func (o camBackwardWeights) out() op.Shape {
	return op.Shape{N: o.g.Classes, C: o.g.Features.C, H: 1, W: 1}
}
func (o camBackwardWeights) layouts() ([]layout, layout) {
	return []layout{planar, native, planar, planar}, planar
}
func (o camBackwardWeights) reference(dst []float64, src [][]float64) {
	reference.CAMBackwardWeights(o.g, dst, src[0], src[1], src[2], src[3])
}

// contrast is the rows of a weight, each less the mean of the others.
type contrast struct{ s op.Shape }

func (o contrast) name() string                { return "contrast" }
func (o contrast) out() op.Shape               { return o.s }
func (o contrast) layouts() ([]layout, layout) { return []layout{planar}, planar }
func (o contrast) differentiable() []bool      { return []bool{true} }
func (o contrast) gradient(g *Graph, _ []node, _, grad node) ([]node, error) {
	c := collect{g: g}
	return []node{c.apply(o, grad)}, c.err
}
func (o contrast) reference(dst []float64, src [][]float64) {
	reference.Contrast(o.s.N, o.s.C, dst, src[0])
}

// entropy is maps to one value an image.
type entropy struct{ s op.Shape }

func (o entropy) name() string                { return "entropy" }
func (o entropy) out() op.Shape               { return op.Shape{N: o.s.N, C: 1, H: 1, W: 1} }
func (o entropy) layouts() ([]layout, layout) { return []layout{planar}, planar }
func (o entropy) differentiable() []bool      { return []bool{true} }
func (o entropy) gradient(g *Graph, in []node, _, grad node) ([]node, error) {
	c := collect{g: g}
	return []node{c.apply(entropyBackward(o), grad, in[0])}, c.err
}
func (o entropy) reference(dst []float64, src [][]float64) { reference.Entropy(o.s, dst, src[0]) }

// entropyBackward is dentropy, maps to dmaps.
type entropyBackward struct{ s op.Shape }

func (o entropyBackward) name() string                { return "entropy backward" }
func (o entropyBackward) out() op.Shape               { return o.s }
func (o entropyBackward) layouts() ([]layout, layout) { return []layout{planar, planar}, planar }
func (o entropyBackward) reference(dst []float64, src [][]float64) {
	reference.EntropyBackward(o.s, dst, src[0], src[1])
}

// balance is first, second, weight to the weights of the first or the second loss.
type balance struct {
	n        int
	ofSecond bool
}

func (o balance) name() string                { return "balance" }
func (o balance) out() op.Shape               { return op.Shape{N: o.n, C: 1, H: 1, W: 1} }
func (o balance) layouts() ([]layout, layout) { return []layout{planar, planar, planar}, planar }
func (o balance) differentiable() []bool      { return []bool{false, false, false} }
func (o balance) gradient(*Graph, []node, node, node) ([]node, error) {
	return []node{nil, nil, nil}, nil
}
func (o balance) reference(dst []float64, src [][]float64) {
	reference.Balance(o.n, o.ofSecond, dst, src[0], src[1], src[2])
}

// mapLoss is prediction, target to one loss an image.
type mapLoss struct{ g op.MapLoss }

func (o mapLoss) name() string                { return "map loss" }
func (o mapLoss) out() op.Shape               { return op.Shape{N: o.g.N, C: 1, H: 1, W: 1} }
func (o mapLoss) layouts() ([]layout, layout) { return []layout{planar, planar}, planar }
func (o mapLoss) differentiable() []bool      { return []bool{true, false} }
func (o mapLoss) gradient(g *Graph, in []node, _, grad node) ([]node, error) {
	c := collect{g: g}
	return []node{c.apply(mapLossBackward(o), grad, in[0], in[1]), nil}, c.err
}
func (o mapLoss) reference(dst []float64, src [][]float64) {
	reference.MapLoss(o.g, dst, src[0], src[1])
}

// mapLossBackward is dloss, prediction, target to dprediction.
type mapLossBackward struct{ g op.MapLoss }

func (o mapLossBackward) name() string  { return "map loss backward" }
func (o mapLossBackward) out() op.Shape { return op.Shape{N: o.g.N, C: 1, H: o.g.H, W: o.g.W} }
func (o mapLossBackward) layouts() ([]layout, layout) {
	return []layout{planar, planar, planar}, planar
}
func (o mapLossBackward) reference(dst []float64, src [][]float64) {
	reference.MapLossBackward(o.g, dst, src[0], src[1], src[2])
}

// weightedMean is value, weight[, value, weight ...] to the loss, a scalar.
type weightedMean struct{ n, terms int }

func (o weightedMean) name() string  { return "weighted mean" }
func (o weightedMean) out() op.Shape { return op.Shape{N: 1, C: 1, H: 1, W: 1} }
func (o weightedMean) layouts() ([]layout, layout) {
	return slices.Repeat([]layout{planar}, 2*o.terms), planar
}
func (o weightedMean) differentiable() []bool {
	return slices.Repeat([]bool{true, false}, o.terms)
}
func (o weightedMean) gradient(g *Graph, in []node, _, grad node) ([]node, error) {
	c := collect{g: g}
	grads := make([]node, len(in))
	for t := range o.terms {
		grads[2*t] = c.apply(weightedMeanBackward{o.n}, grad, in[2*t+1])
	}
	return grads, c.err
}
func (o weightedMean) reference(dst []float64, src [][]float64) {
	dst[0] = 0
	for t := range o.terms {
		var part [1]float64
		reference.WeightedMean(o.n, part[:], src[2*t], src[2*t+1])
		dst[0] += part[0]
	}
}

// weightedMeanBackward is the loss's gradient, weights to dvalues.
type weightedMeanBackward struct{ n int }

func (o weightedMeanBackward) name() string                { return "weighted mean backward" }
func (o weightedMeanBackward) out() op.Shape               { return op.Shape{N: o.n, C: 1, H: 1, W: 1} }
func (o weightedMeanBackward) layouts() ([]layout, layout) { return []layout{planar, planar}, planar }
func (o weightedMeanBackward) reference(dst []float64, src [][]float64) {
	reference.WeightedMeanBackward(o.n, dst, src[0], src[1])
}
