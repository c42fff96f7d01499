package nn

import (
	"errors"
	"fmt"

	"github.com/surrogaze/surrogaze/internal/op"
)

// Conv describes a convolution layer. Zero Stride, Dilation and Groups mean 1.
// A square Kernel, Stride and Pad are given by one number; KernelW and PadW
// override the horizontal one when RectangularKernel is set.
type Conv struct {
	Out      int
	Kernel   int
	Stride   int
	Pad      int
	Dilation int
	Groups   int
	Bias     bool
	Init     Init // of the weights; a bias begins at 0
	// Float32 computes in float32 whatever the program's precision, as what a network
	// is measured by needs.
	Float32 bool
	// Rectangular makes the kernel Kernel x KernelW with padding Pad and PadW.
	Rectangular   bool
	KernelW, PadW int
}

func (c Conv) geometry(in op.Shape) op.Conv {
	kw, pw := c.Kernel, c.Pad
	if c.Rectangular {
		kw, pw = c.KernelW, c.PadW
	}
	stride, dilation := max(c.Stride, 1), max(c.Dilation, 1)
	return op.Conv{In: in, Out: c.Out, KernelH: c.Kernel, KernelW: kw, StrideH: stride, StrideW: stride,
		PadH: c.Pad, PadW: pw, DilationH: dilation, DilationW: dilation, Groups: max(c.Groups, 1)}
}

// Conv adds a convolution of x (N, C, H, W) with path.weight and, if c.Bias,
// path.bias.
func (g *Graph) Conv(path string, x Node, c Conv) Node {
	if g.err != nil {
		return Node{}
	}
	geometry := c.geometry(x.s)
	if err := geometry.Validate(); err != nil {
		return g.fail(path, err)
	}
	ws := geometry.Weight()
	w := g.param(path+".weight", ws, []int{ws.N, ws.C, ws.H, ws.W}, true, c.Init.of(geometry))
	if !c.Bias {
		return g.apply(path, conv{g: geometry, exact: c.Float32}, x, w)
	}
	b := g.vector(path+".bias", c.Out, true, constant(0))
	return g.apply(path, conv{g: geometry, exact: c.Float32, bias: true}, x, w, b)
}

// Linear adds y = x·wᵀ + b for x (N, In, 1, 1).
func (g *Graph) Linear(path string, x Node, out int) Node {
	y, _ := g.Classifier(path, x, out)
	return y
}

// Classifier is Linear that also returns its weight (Out, In, 1, 1), from
// which a CAM is computed.
func (g *Graph) Classifier(path string, x Node, out int) (y, weight Node) {
	if g.err != nil {
		return Node{}, Node{}
	}
	if x.s.H != 1 || x.s.W != 1 {
		return g.fail(path, fmt.Errorf("linear layer of %v: want one value a channel", x.s)), Node{}
	}
	geometry := op.Linear{N: x.s.N, In: x.s.C, Out: out}
	w := g.param(path+".weight", op.Shape{N: out, C: x.s.C, H: 1, W: 1}, []int{out, x.s.C}, true, fanInUniform(x.s.C))
	b := g.vector(path+".bias", out, true, fanInUniform(x.s.C))
	return g.apply(path, linear{geometry}, x, w, b), w
}

// BatchNorm normalises the channels of x with path.weight, path.bias,
// path.running_mean and path.running_var; eps 1e-5 and momentum 0.1 as
// torch.nn.BatchNorm2d.
func (g *Graph) BatchNorm(path string, x Node) Node { return g.BatchNormEps(path, x, 1e-5) }

// BatchNormEps is [Graph.BatchNorm] with another eps, more than 0.
func (g *Graph) BatchNormEps(path string, x Node, eps float32) Node {
	if g.err != nil {
		return Node{}
	}
	if !(eps > 0) {
		return g.fail(path, fmt.Errorf("batch norm with eps %v: want more than 0", eps))
	}
	geometry := op.BatchNorm{In: x.s, Eps: eps, Momentum: 0.1}
	if g.mode == Train && x.s.Pixels() < 2 {
		return g.fail(path, fmt.Errorf("batch norm of %v: want more than one value a channel", x.s))
	}
	gamma := g.vector(path+".weight", x.s.C, true, constant(1))
	beta := g.vector(path+".bias", x.s.C, true, constant(0))
	mean := g.vector(path+".running_mean", x.s.C, false, constant(0))
	variance := g.vector(path+".running_var", x.s.C, false, constant(1))
	o := batchNorm{g: geometry, frozen: g.mode == Eval, state: &batchNormState{}}
	return g.apply(path, o, x, gamma, beta, mean, variance)
}

// ReLU adds y = max(x, 0).
func (g *Graph) ReLU(x Node) Node { return g.apply("relu", relu{s: x.s}, x) }

// Sigmoid adds y = 1/(1+exp(-x)).
func (g *Graph) Sigmoid(x Node) Node { return g.apply("sigmoid", sigmoid{x.s}, x) }

// Add adds two tensors of the same shape.
func (g *Graph) Add(a, b Node) Node {
	if g.err == nil && a.s != b.s {
		return g.fail("add", fmt.Errorf("shapes %v and %v: want the same", a.s, b.s))
	}
	return g.apply("add", add{a.s}, a, b)
}

// Concat joins tensors along the channels.
func (g *Graph) Concat(xs ...Node) Node {
	if g.err != nil {
		return Node{}
	}
	if len(xs) < 2 {
		return g.fail("concat", errors.New("want at least two tensors"))
	}
	parts := make([]op.Shape, len(xs))
	for i, x := range xs {
		if x.s.N != xs[0].s.N || x.s.H != xs[0].s.H || x.s.W != xs[0].s.W {
			return g.fail("concat", fmt.Errorf("shapes %v and %v: want the same images, height and width", xs[0].s, x.s))
		}
		parts[i] = x.s
	}
	return g.apply("concat", concat{parts}, xs...)
}

func (g *Graph) pool(x Node, kernel, stride, pad int) (op.Pool, error) {
	p := op.Pool{In: x.s, Kernel: kernel, Stride: stride, Pad: pad, CountPad: true}
	return p, p.Validate()
}

// MaxPool adds a max pooling, as torch.nn.MaxPool2d.
func (g *Graph) MaxPool(x Node, kernel, stride, pad int) Node {
	p, err := g.pool(x, kernel, stride, pad)
	if g.err != nil || err != nil {
		return g.fail("max pool", err)
	}
	return g.apply("max pool", maxPool{p}, x)
}

// AvgPool adds an average pooling whose mean counts the padding, as
// torch.nn.AvgPool2d.
func (g *Graph) AvgPool(x Node, kernel, stride, pad int) Node {
	p, err := g.pool(x, kernel, stride, pad)
	if g.err != nil || err != nil {
		return g.fail("average pool", err)
	}
	return g.apply("average pool", avgPool{p}, x)
}

// GlobalAvgPool averages every channel over the image: (N, C, H, W) to
// (N, C, 1, 1).
func (g *Graph) GlobalAvgPool(x Node) Node {
	return g.apply("global average pool", globalAvgPool{x.s}, x)
}

// Upsample enlarges bilinearly (align_corners=False) by a whole factor.
func (g *Graph) Upsample(x Node, scale int) Node {
	return g.upsample(x, op.Upsample{In: x.s, Scale: scale, Bilinear: true})
}

// UpsampleNearest enlarges by repeating every value in a square of scale x scale.
func (g *Graph) UpsampleNearest(x Node, scale int) Node {
	return g.upsample(x, op.Upsample{In: x.s, Scale: scale})
}

func (g *Graph) upsample(x Node, u op.Upsample) Node {
	if g.err == nil && u.Scale < 1 {
		return g.fail("upsample", fmt.Errorf("scale %d: want at least 1", u.Scale))
	}
	return g.apply("upsample", upsample{u}, x)
}

// Dropout zeroes values at a rate in training and scales the others by
// 1/(1-rate); in evaluation it returns x.
func (g *Graph) Dropout(x Node, rate float32) Node {
	if g.err == nil && (rate < 0 || rate >= 1) {
		return g.fail("dropout", fmt.Errorf("rate %v: want at least 0 and below 1", rate))
	}
	if g.mode == Eval || rate == 0 {
		return x
	}
	return g.apply("dropout", dropout{s: x.s, rate: rate, salt: uint64(g.nextID + 1)}, x)
}

// ArgMax is the index of the largest of (N, K, 1, 1) as (N, 1, 1, 1); it passes
// no gradient.
func (g *Graph) ArgMax(x Node) Node {
	if g.err == nil && !perClass(x.s) {
		return g.fail("argmax", fmt.Errorf("values %v: want one a class", x.s))
	}
	return g.apply("argmax", argMax{x.s}, x)
}

// perClass reports whether a tensor holds one value a class for every image.
func perClass(s op.Shape) bool { return s.H == 1 && s.W == 1 }

// perImage reports whether a tensor holds one value for every one of n images.
func perImage(s op.Shape, n int) bool { return s == op.Shape{N: n, C: 1, H: 1, W: 1} }

// SoftmaxCrossEntropy is -log softmax(logits)[label] for every image: logits
// (N, K, 1, 1), labels (N, 1, 1, 1) hold class indices, result (N, 1, 1, 1).
func (g *Graph) SoftmaxCrossEntropy(logits, labels Node) Node {
	if g.err == nil && (!perClass(logits.s) || !perImage(labels.s, logits.s.N)) {
		return g.fail("cross entropy", fmt.Errorf("logits %v and labels %v: want one logit a class and one label an image", logits.s, labels.s))
	}
	return g.apply("cross entropy", softmaxCrossEntropy{n: logits.s.N, classes: logits.s.C}, logits, labels)
}

// CAM is the class activation map of features (N, C, H, W) for the class
// indices (N, 1, 1, 1) under a linear layer's weight (K, C, 1, 1), scaled to
// [0, 1]: see [op.CAM]. Gradients flow into features and weight.
func (g *Graph) CAM(features, weight, class Node) Node {
	if g.err == nil && (!perClass(weight.s) || weight.s.C != features.s.C || !perImage(class.s, features.s.N)) {
		return g.fail("cam", fmt.Errorf("features %v, weight %v and classes %v: want one weight a channel and one class an image",
			features.s, weight.s, class.s))
	}
	return g.apply("cam", cam{op.CAM{Features: features.s, Classes: weight.s.N}}, features, weight, class)
}

// Contrast is the weight (K, C, 1, 1) of a linear layer of at least two classes with
// each class's row less the mean of the other rows. Where rows make a class activation
// map, these make the difference of the class's map and the mean of the others', which
// like the softmax does not see what is added to all rows alike.
func (g *Graph) Contrast(weight Node) Node {
	if g.err == nil && (!perClass(weight.s) || weight.s.N < 2) {
		return g.fail("contrast", fmt.Errorf("weight %v: want one row for each of at least two classes", weight.s))
	}
	return g.apply("contrast", contrast{weight.s}, weight)
}

// Entropy is -sum p log p of every map in [0, 1], (N, 1, H, W), scaled to sum 1: one
// value an image in nats, (N, 1, 1, 1), from 0 for a single cell to log(H*W) for equal
// ones. A map of zeros counts as uniform and gets no gradient.
func (g *Graph) Entropy(maps Node) Node {
	if g.err == nil && maps.s.C != 1 {
		return g.fail("entropy", fmt.Errorf("maps %v: want one channel", maps.s))
	}
	return g.apply("entropy", entropy{maps.s}, maps)
}

// Balance weighs the terms of two losses by what they come to in the batch. All are
// one value an image, (N, 1, 1, 1); weight is 0 where only the first counts:
//
//	alpha = sum of weight*first / sum of weight*(first+second)
//
// The first weighs alpha everywhere, the second (1-alpha)*weight. Where that sum is
// zero, alpha is 1. The weights get no gradient.
func (g *Graph) Balance(first, second, weight Node) (ofFirst, ofSecond Node) {
	n := first.s.N
	if g.err == nil && (!perImage(first.s, n) || !perImage(second.s, n) || !perImage(weight.s, n)) {
		return g.fail("balance", fmt.Errorf("values %v, %v and %v: want one of each for every image", first.s, second.s, weight.s)), Node{}
	}
	return g.apply("balance", balance{n, false}, first, second, weight), g.apply("balance", balance{n, true}, first, second, weight)
}

// MapLoss is the distance between predicted and target maps (N, 1, H, W), one
// value an image: (N, 1, 1, 1). With logits the prediction is given before its
// sigmoid. Only the prediction gets a gradient.
func (g *Graph) MapLoss(kind op.MapLossKind, logits bool, pred, target Node) Node {
	if g.err == nil && (pred.s != target.s || pred.s.C != 1) {
		return g.fail("map loss", fmt.Errorf("maps %v and %v: want the same shape and one channel", pred.s, target.s))
	}
	return g.apply("map loss", mapLoss{op.MapLoss{Kind: kind, N: pred.s.N, H: pred.s.H, W: pred.s.W, Logits: logits}}, pred, target)
}

// Term is one part of a loss: a value and a weight for every image, both
// (N, 1, 1, 1).
type Term struct{ Value, Weight Node }

// Loss sets what training minimises: the sum over terms and images of
// weight*value, divided by the batch size. Weights get no gradient.
func (g *Graph) Loss(terms ...Term) {
	if g.err != nil {
		return
	}
	if len(terms) == 0 || g.loss != nil {
		g.fail("loss", errors.New("want one loss of at least one term"))
		return
	}
	var in []Node
	n := terms[0].Value.s.N
	for _, t := range terms {
		if !perImage(t.Value.s, n) || !perImage(t.Weight.s, n) {
			g.fail("loss", fmt.Errorf("value %v and weight %v: want one of each for every one of %d images", t.Value.s, t.Weight.s, n))
			return
		}
		in = append(in, t.Value, t.Weight)
	}
	g.loss = g.apply("loss", weightedMean{n: n, terms: len(terms)}, in...).g
}
