package cyborg

import (
	"context"
	"math"
	"testing"

	"github.com/surrogaze/surrogaze/internal/nn"
	"github.com/surrogaze/surrogaze/internal/raster"
	"github.com/surrogaze/surrogaze/storage"
)

// The loss of a batch, computed plainly in float64: network, CAM, maps and terms.

// tensor64 is one image's channels.
type tensor64 struct {
	c, h, w int
	v       []float64
}

func newTensor64(c, h, w int) tensor64 { return tensor64{c, h, w, make([]float64, c*h*w)} }

func (t tensor64) at(c, y, x int) float64 {
	if y < 0 || y >= t.h || x < 0 || x >= t.w {
		return 0
	}
	return t.v[(c*t.h+y)*t.w+x]
}

// oracle runs a network by its parameters in training mode.
type oracle struct{ params *nn.Params }

func (o oracle) conv(name string, batch []tensor64, stride int) []tensor64 {
	p := o.params.Get(name + ".weight")
	out, in, k := p.Shape[0], p.Shape[1], p.Shape[2]
	var result []tensor64
	for _, x := range batch {
		side := (x.h+2*(k/2)-k)/stride + 1
		y := newTensor64(out, side, side)
		for i := range y.v {
			f, r, c := i/(side*side), i/side%side, i%side
			for w := range in * k * k {
				ch, u, v := w/(k*k), w/k%k, w%k
				y.v[i] += float64(p.Data[f*in*k*k+w]) * x.at(ch, r*stride-k/2+u, c*stride-k/2+v)
			}
		}
		result = append(result, y)
	}
	return result
}

func (o oracle) norm(name string, batch []tensor64) []tensor64 {
	gamma, beta := o.params.Get(name+".weight"), o.params.Get(name+".bias")
	for c := range batch[0].c {
		n := batch[0].h * batch[0].w
		var sum, squares float64
		for _, x := range batch {
			for _, v := range x.v[c*n : (c+1)*n] {
				sum += v
				squares += v * v
			}
		}
		mean := sum / float64(n*len(batch))
		scale := float64(gamma.Data[c]) / math.Sqrt(squares/float64(n*len(batch))-mean*mean+1e-5)
		for _, x := range batch {
			for i := range x.v[c*n : (c+1)*n] {
				x.v[c*n+i] = (x.v[c*n+i]-mean)*scale + float64(beta.Data[c])
			}
		}
	}
	return batch
}

func relu64(batch []tensor64) []tensor64 {
	for _, x := range batch {
		for i, v := range x.v {
			x.v[i] = max(v, 0)
		}
	}
	return batch
}

// features are those of the network of tiny.
func (o oracle) features(batch []tensor64) []tensor64 {
	x := relu64(o.norm("bn1", o.conv("conv1", batch, 2)))
	y := relu64(o.norm("layer1.0.bn1", o.conv("layer1.0.conv1", x, 2)))
	y = o.norm("layer1.0.bn2", o.conv("layer1.0.conv2", y, 1))
	x = o.norm("layer1.0.downsample.1", o.conv("layer1.0.downsample.0", x, 2))
	for i := range y {
		for k, v := range x[i].v {
			y[i].v[k] += v
		}
	}
	return relu64(y)
}

func (o oracle) logits(f tensor64) []float64 {
	w, b := o.params.Get("fc.weight"), o.params.Get("fc.bias")
	out := make([]float64, len(b.Data))
	for k := range out {
		out[k] = float64(b.Data[k])
		for i, v := range f.v {
			out[k] += float64(w.Data[k*f.c+i/(f.h*f.w)]) * v / float64(f.h*f.w)
		}
	}
	return out
}

func (o oracle) cam(f tensor64, class int) []float64 {
	w := o.params.Get("fc.weight")
	out := make([]float64, f.h*f.w)
	for i, v := range f.v {
		out[i%len(out)] += float64(w.Data[class*f.c+i/len(out)]) * v
	}
	return minMax64(out)
}

func minMax64(p []float64) []float64 {
	low, high := p[0], p[0]
	for _, v := range p {
		low, high = min(low, v), max(high, v)
	}
	for i, v := range p {
		p[i] = (v - low) / (high - low)
	}
	return p
}

// areaMean reduces a square map, pixel by pixel and share by share.
func areaMean(p *raster.Plane, grid int) []float64 {
	out := make([]float64, grid*grid)
	cell := float64(p.W) / float64(grid)
	share := func(pixel, cellIndex int) float64 {
		from, to := float64(cellIndex)*cell, float64(cellIndex+1)*cell
		return max(0, min(to, float64(pixel+1))-max(from, float64(pixel))) / cell
	}
	for i := range out {
		for k, v := range p.Pix {
			out[i] += float64(v) * share(k/p.W, i/grid) * share(k%p.W, i%grid)
		}
	}
	return out
}

func TestTheLossEqualsAComputationByHand(t *testing.T) {
	for _, c := range []struct {
		class    string
		discount float64
	}{{"true", 0}, {"predicted", 0}, {"true", 0.75}, {"true", 1}} {
		for _, arm := range []Arm{Combined, Inverted, None} {
			cfg := tiny()
			cfg.CAMClass, cfg.Alpha, cfg.Batch, cfg.Augment, cfg.Precision = c.class, 0.3, 10, Augment{}, "f32"
			cfg.Discount = c.discount
			samples := mixed(t, 12)
			d := opened(t, dataset(t, oneGroup, samples), cfg, cacheAll)
			tr, err := newTraining(context.Background(), cfg, d, arm, 0, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			want, mapped := lossByHand(t, tr, samples)
			for step, err := range tr.trainer.Steps(context.Background(), tr.feed.fill) {
				if err != nil {
					t.Fatal(err)
				}
				if got := float64(step.Loss); math.Abs(got-want) > 2e-5*want { // float32 against float64
					t.Errorf("arm %s, %+v: loss %v, want %v (%d of %d mapped)", arm, c, got, want, mapped, cfg.Batch)
				}
				break
			}
			tr.feed.close()
			if arm == Combined && (mapped == 0 || mapped == cfg.Batch) {
				t.Fatalf("%d of %d mapped, want some", mapped, cfg.Batch)
			}
		}
	}
}

// lossByHand is the loss of a training's first batch.
func lossByHand(t *testing.T, tr *training, samples []storage.Sample) (loss float64, mapped int) {
	t.Helper()
	cfg, o := tr.cfg, oracle{tr.trainer.Params()}
	b := batch(tr)
	if err := tr.feed.fill(context.Background(), 0, b); err != nil {
		t.Fatal(err)
	}
	tr.feed.close()
	images := make([]tensor64, cfg.Batch)
	for i := range images {
		images[i] = newTensor64(3, cfg.Size, cfg.Size)
		for k := range images[i].v {
			images[i].v[k] = float64(b[imageInput][i*len(images[i].v)+k])
		}
	}
	for i, f := range o.features(images) {
		p, err := tr.feed.at(context.Background(), i)
		if err != nil {
			t.Fatal(err)
		}
		sample := samples[rowsOf(samples, p.id)]
		logits := o.logits(f)
		class, sum := int(sample.Label), 0.0
		for _, v := range logits {
			sum += math.Exp(v)
		}
		ce := math.Log(sum) - logits[class]
		if cfg.CAMClass == "predicted" && logits[1-class] > logits[class] {
			class = 1 - class
		}
		if tr.arm == None || !shows(t, sample) {
			loss += ce / float64(cfg.Batch)
			continue
		}
		mapped++
		human, err := raster.DecodeMap(sample.Saliency.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		var squares float64
		target := minMax64(areaMean(human, f.w))
		for k, v := range o.cam(f, class) {
			want := target[k]
			if tr.arm == Inverted {
				want = 1 - want
			}
			squares += (v - want) * (v - want) / float64(len(target))
		}
		guidance := 1 - cfg.Alpha
		if sample.SaliencySource == storage.SourcePredictor {
			guidance *= 1 - cfg.Discount
		}
		loss += ((1-guidance)*ce + guidance*squares) / float64(cfg.Batch)
	}
	return loss, mapped
}

func rowsOf(samples []storage.Sample, id string) int {
	for i, s := range samples {
		if s.ID == id {
			return i
		}
	}
	return -1
}

// shows reports whether a sample has a map that is not blank.
func shows(t *testing.T, s storage.Sample) bool {
	t.Helper()
	if !s.Saliency.Present() {
		return false
	}
	p, err := raster.DecodeMap(s.Saliency.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return raster.MinMax(p.Pix)
}

func TestAMapThatAViewDoesNotShowDoesNotGuide(t *testing.T) {
	human := raster.NewPlane(20, 20)
	human.Pix[0] = 1 // a corner
	target := make([]float32, 25)
	if !writeTarget(target, 5, raster.View{}, human) || target[0] != 1 {
		t.Errorf("the whole view does not show the corner: %v", target)
	}
	if writeTarget(target, 5, raster.View{Zoom: -0.5}, human) {
		t.Errorf("the middle of the image shows the corner: %v", target)
	}
	if writeTarget(target, 5, raster.View{}, nil) {
		t.Error("no map shows something")
	}
}
