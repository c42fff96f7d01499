package cyborg

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"slices"
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

// features are those of the network of tiny, and reference what its last convolution
// gives.
func (o oracle) features(batch []tensor64) (features, reference []tensor64) {
	x := relu64(o.norm("bn1", o.conv("conv1", batch, 2)))
	y := relu64(o.norm("layer1.0.bn1", o.conv("layer1.0.conv1", x, 2)))
	y = o.conv("layer1.0.conv2", y, 1)
	for _, v := range y {
		v.v = slices.Clone(v.v)
		reference = append(reference, v)
	}
	y = o.norm("layer1.0.bn2", y)
	x = o.norm("layer1.0.downsample.1", o.conv("layer1.0.downsample.0", x, 2))
	for i := range y {
		for k, v := range x[i].v {
			y[i].v[k] += v
		}
	}
	return relu64(y), reference
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

// cam is the map of a class of two, or its difference to the other's.
func (o oracle) cam(f tensor64, class int, difference bool) []float64 {
	w := o.params.Get("fc.weight")
	out := make([]float64, f.h*f.w)
	for i, v := range f.v {
		channel := i / len(out)
		weight := float64(w.Data[class*f.c+channel])
		if difference {
			weight -= float64(w.Data[(1-class)*f.c+channel])
		}
		out[i%len(out)] += weight * v
	}
	return minMax64(out)
}

func entropy64(p []float64) float64 {
	var sum, entropy float64
	for _, v := range p {
		sum += v
	}
	for _, v := range p {
		if v > 0 {
			entropy -= v / sum * math.Log(v/sum)
		}
	}
	return entropy
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
	for name, change := range map[string]func(*Config){
		"the true class":              func(*Config) {},
		"the predicted class":         func(c *Config) { c.CAMClass = "predicted" },
		"the difference":              func(c *Config) { c.CAMClass = "difference" },
		"the reference's features":    func(c *Config) { c.CAMFeatures = "reference" },
		"an adaptive alpha":           func(c *Config) { c.Alpha, c.AlphaSchedule = 1, "adaptive" },
		"a quarter of guidance":       func(c *Config) { c.Discount = 0.75 },
		"no guidance if predicted":    func(c *Config) { c.Discount = 1 },
		"entropy":                     func(c *Config) { c.Entropy = 0.2 },
		"blurred images":              func(c *Config) { c.Blur = 1.5 },
		"blurred images without loss": func(c *Config) { c.Blur, c.Alpha = 1.5, 1 },
		"everything": func(c *Config) {
			c.CAMClass, c.CAMFeatures, c.AlphaSchedule = "difference", "reference", "adaptive"
			c.Entropy, c.Blur, c.Discount = 0.2, 1.5, 0.75
		},
	} {
		for _, arm := range []Arm{Combined, Inverted, None} {
			cfg := tiny()
			cfg.Alpha, cfg.Batch, cfg.Augment, cfg.Precision = 0.3, 10, Augment{}, "f32"
			change(&cfg)
			samples := mixed(t, 12)
			d := opened(t, dataset(t, oneGroup, samples), cfg, cacheAll)
			tr, err := newTraining(context.Background(), cfg, d, arm, 0, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			want, mapped := lossByHand(t, tr, samples)
			for step, err := range tr.trainer.ImageSteps(context.Background(), tr.feed.fill) {
				if err != nil {
					t.Fatal(err)
				}
				if got := float64(step.Loss); math.Abs(got-want) > 2e-5*want { // float32 against float64
					t.Errorf("%s, arm %s: loss %v, want %v (%d of %d mapped)", name, arm, got, want, mapped, cfg.Batch)
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

// TestEveryVariantsLossAndGradientsEqualPyTorchs is about what testdata/gen.py wrote.
func TestEveryVariantsLossAndGradientsEqualPyTorchs(t *testing.T) {
	text, err := os.ReadFile("testdata/losses.json")
	if err != nil {
		t.Fatal(err)
	}
	var variants []struct {
		Config    json.RawMessage
		Loss      float64
		Gradients map[string][2]float64
	}
	if err := json.Unmarshal(text, &variants); err != nil {
		t.Fatal(err)
	}
	for _, v := range variants {
		cfg := tiny()
		cfg.Pretrained, cfg.Alpha, cfg.Batch = "testdata/resnet.pth", 0.3, 4
		if err := json.Unmarshal(v.Config, &cfg); err != nil {
			t.Fatal(err)
		}
		p := stepOf(t, cfg)
		if d := math.Abs(float64(p.Loss())-v.Loss) / v.Loss; d > 1e-5 {
			t.Errorf("%s: loss %v, want %v", v.Config, p.Loss(), v.Loss)
		}
		for name, want := range v.Gradients {
			var squares, product float64
			gradient, err := p.Gradient(name)
			if err != nil {
				t.Fatal(err)
			}
			for i, g := range gradient {
				squares += float64(g) * float64(g)
				product += float64(g) * math.Cos(float64(i))
			}
			if d := max(math.Abs(math.Sqrt(squares)-want[0]), math.Abs(product-want[1])); d > 1e-4*want[0] {
				t.Errorf("%s: gradient by %s has norm %v and product %v, want %v", v.Config, name, math.Sqrt(squares), product, want)
			}
		}
	}
}

// stepOf runs a training program once on gen.py's batch.
func stepOf(t *testing.T, cfg Config) *nn.Program {
	t.Helper()
	params := nn.NewParams(1)
	g, err := trainingGraph(cfg, params, 2, true)
	if err != nil {
		t.Fatal(err)
	}
	p, err := nn.Compile(g, nn.Options{Precision: "f32", Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loadPretrained(cfg, params); err != nil {
		t.Fatal(err)
	}
	for i := range p.Input(imageInput) {
		p.Input(imageInput)[i] = float32(float64(i*7919%1009)/1009 - 0.5)
	}
	for i := range p.Input(mapInput) {
		p.Input(mapInput)[i] = float32(float64(i*31%13) / 12)
	}
	alpha, weight := float32(cfg.alpha(0, 1)), float32(4)/3
	for i, label := range []float32{0, 1, 1, 0} {
		p.Input(labelInput)[i], p.Input(ceWeightInput)[i], p.Input(mapWeightInput)[i] = label, alpha, (1-alpha)*weight
		if cfg.Entropy > 0 {
			p.Input(entropyWeightInput)[i] = float32(cfg.Entropy)
		}
	}
	p.Input(mapWeightInput)[2] = 0
	if err := p.Run(); err != nil {
		t.Fatal(err)
	}
	return p
}

// terms are one image's parts of the loss.
type terms struct {
	ce, distance, entropy float64
	weight                float64 // of the distance
}

// lossByHand is the loss of a training's first batch.
func lossByHand(t *testing.T, tr *training, samples []storage.Sample) (loss float64, mapped int) {
	t.Helper()
	cfg, o := tr.cfg, oracle{tr.trainer.Params()}
	b := batch(tr)
	if err := tr.feed.fill(context.Background(), 0, nn.ImageBatch{Batch: b, Images: tr.cfg.Batch}); err != nil {
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
	features, reference := o.features(images)
	human, drawn := weightsByHand(cfg, samples)
	var all []terms
	for i, f := range features {
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
		parts := terms{ce: math.Log(sum) - logits[class]}
		if cfg.CAMClass == "predicted" && logits[1-class] > logits[class] {
			class = 1 - class
		}
		if cfg.CAMFeatures == "reference" {
			f = reference[i]
		}
		cam := o.cam(f, class, cfg.CAMClass == "difference")
		parts.entropy = entropy64(cam)
		if tr.arm != None && shows(t, sample) {
			parts.distance, parts.weight = distance64(cam, targetByHand(t, sample, f.w, tr.arm == Inverted)), human
			if sample.SaliencySource == storage.SourcePredictor {
				parts.weight = drawn
			}
			mapped++
		}
		all = append(all, parts)
	}
	alpha := 1.0
	if tr.arm != None {
		alpha = alphaByHand(cfg, all)
	}
	for _, x := range all {
		loss += (alpha*x.ce + (1-alpha)*x.weight*x.distance + cfg.Entropy*x.entropy) / float64(len(all))
	}
	return loss, mapped
}

// weightsByHand are those of human and of drawn maps in a training on both.
func weightsByHand(cfg Config, samples []storage.Sample) (human, drawn float64) {
	var n, people, others float64
	for _, s := range samples {
		if s.Split != trainSplit || s.Label == storage.NoLabel {
			continue
		}
		n++
		switch {
		case !s.Saliency.Present():
		case s.SaliencySource == storage.SourceHuman:
			people++
		default:
			others++
		}
	}
	trust := 1 - cfg.Discount
	return n / max(people+trust*others, n/float64(cfg.Batch)), trust * n / max(people+others, n/float64(cfg.Batch))
}

// alphaByHand is the weight of the cross-entropy in a batch.
func alphaByHand(cfg Config, all []terms) float64 {
	if cfg.AlphaSchedule != "adaptive" {
		return cfg.Alpha
	}
	var ce, distance float64
	for _, x := range all {
		ce += x.weight * x.ce
		distance += x.weight * x.distance
	}
	if ce+distance == 0 {
		return 1
	}
	return ce / (ce + distance)
}

// targetByHand is a sample's map on a grid.
func targetByHand(t *testing.T, sample storage.Sample, grid int, inverted bool) []float64 {
	t.Helper()
	human, err := raster.DecodeMap(sample.Saliency.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	target := minMax64(areaMean(human, grid))
	for k, v := range target {
		if inverted {
			target[k] = 1 - v
		}
	}
	return target
}

func distance64(cam, target []float64) float64 {
	var squares float64
	for k, v := range cam {
		squares += (v - target[k]) * (v - target[k])
	}
	return squares / float64(len(cam))
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

// TestImagesAreBlurredWhereTheirMapIsLow holds the images of a training against those
// of one without blur, blurred plainly in float64: half as far where a predictor's map,
// which is trusted half, is the reason.
func TestImagesAreBlurredWhereTheirMapIsLow(t *testing.T) {
	for _, arm := range []Arm{Combined, Inverted} {
		cfg := tiny()
		cfg.Batch, cfg.Augment.Zoom, cfg.Alpha, cfg.Blur, cfg.Discount = 10, 0, 1, 1.5, 0.5
		samples := mixed(t, 12)
		d := opened(t, dataset(t, oneGroup, samples), cfg, cacheAll)
		images := func(blur float64) []float32 {
			c := cfg
			c.Blur = blur
			tr, err := newTraining(context.Background(), c, d, arm, 0, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer tr.feed.close()
			b := batch(tr)
			if err := tr.feed.fill(context.Background(), 0, nn.ImageBatch{Batch: b, Images: tr.cfg.Batch}); err != nil {
				t.Fatal(err)
			}
			return b[imageInput]
		}
		sharp, found := images(0), images(cfg.Blur)
		f := &feed{cfg: cfg, data: d, plan: newPlan(arm, d.set, cfg.Seed), seed: runSeed(cfg.Seed, 0)}
		defer f.close()
		n, blurred, weakly := cfg.Size*cfg.Size, 0, 0
		for i := range cfg.Batch {
			p, err := f.at(context.Background(), i)
			if err != nil {
				t.Fatal(err)
			}
			m, err := d.decode(p.source)
			if err != nil {
				t.Fatal(err)
			}
			mask := make([]float32, n)
			shows := writeTarget(mask, cfg.Size, raster.Augment(cfg.Augment).Draw(random(f.seed, p.epoch, p.row)), m.human)
			for c := range 3 {
				want := slices.Clone(sharp[(3*i+c)*n : (3*i+c+1)*n])
				if shows {
					blurred++
					sigma := cfg.Blur
					if !hasHuman(&f.plan.rows[p.row]) {
						sigma /= 2
						weakly++
					}
					want = blurredByHand(want, mask, cfg.Size, sigma, arm == Inverted)
				}
				for k, v := range found[(3*i+c)*n : (3*i+c+1)*n] {
					if math.Abs(float64(v-want[k])) > 1e-4 {
						t.Fatalf("arm %s, image %d: %v at %d, want %v", arm, i, v, k, want[k])
					}
				}
			}
		}
		if weakly == 0 || blurred == weakly || blurred == 3*cfg.Batch {
			t.Errorf("arm %s: %d of %d planes blurred, %d of them half as far, want some of each", arm, blurred, 3*cfg.Batch, weakly)
		}
	}
}

func TestMapsThatAreNotTrustedDoNotBlur(t *testing.T) {
	cfg := tiny()
	cfg.Blur, cfg.Discount = 1.5, 1
	d := opened(t, dataset(t, oneGroup, mixed(t, 12)), cfg, cacheAll)
	for untrusted, same := range map[Arm]Arm{Predicted: None, Combined: Human} {
		a, b := trained(t, cfg, d, untrusted, 0), trained(t, cfg, d, same, 0)
		for _, p := range a.params.All() {
			if !slices.Equal(p.Data, b.params.Get(p.Name).Data) {
				t.Errorf("arm %s: %s is not that of %s", untrusted, p.Name, same)
				break
			}
		}
	}
}

// blurredByHand filters a square plane in two dimensions at once.
func blurredByHand(plane, mask []float32, side int, sigma float64, inverted bool) []float32 {
	radius := int(4*sigma + 0.5)
	inside := func(i int) int { // mirrors behind the border
		if i < 0 {
			return -1 - i
		}
		if i >= side {
			return 2*side - 1 - i
		}
		return i
	}
	out := make([]float32, len(plane))
	for i := range plane {
		var sum, weights float64
		for y := -radius; y <= radius; y++ {
			for x := -radius; x <= radius; x++ {
				w := math.Exp(-float64(x*x+y*y) / (2 * sigma * sigma))
				weights += w
				sum += w * float64(plane[inside(i/side+y)*side+inside(i%side+x)])
			}
		}
		m := float64(mask[i])
		if inverted {
			m = 1 - m
		}
		out[i] = float32(m*float64(plane[i]) + (1-m)*sum/weights)
	}
	return out
}

func TestAWeightOfTheEntropyFocusesTheMaps(t *testing.T) {
	cfg := tiny()
	cfg.Epochs, cfg.Select = 12, "last"
	d := opened(t, dataset(t, oneGroup, mixed(t, 24)), cfg, cacheAll)
	entropy := func(weight float64) float64 {
		c := cfg
		c.Entropy = weight
		e, err := trained(t, c, d, None, 0).Evaluate(context.Background(), d, "train", Options{})
		if err != nil {
			t.Fatal(err)
		}
		return e.Entropy
	}
	if with, without := entropy(3), entropy(0); with > without-0.1 {
		t.Errorf("an entropy of %v with the term, %v without", with, without)
	}
}

// TestTheDifferenceOfTwoClassesTurnsWithTheClass: with two classes the map of one is 1
// less the map of the other.
func TestTheDifferenceOfTwoClassesTurnsWithTheClass(t *testing.T) {
	cfg := tiny()
	cfg.CAMClass, cfg.Precision = "difference", "f32"
	g, err := evaluationGraph(cfg, nn.NewParams(3), 2, 2, true)
	if err != nil {
		t.Fatal(err)
	}
	p, err := nn.Compile(g, cfg.options())
	if err != nil {
		t.Fatal(err)
	}
	images := p.Input(imageInput)
	for i := range images {
		images[i] = float32(math.Sin(float64(i % (len(images) / 2)))) // twice the same
	}
	p.Input(labelInput)[1] = 1
	if err := p.Run(); err != nil {
		t.Fatal(err)
	}
	cams := p.Output(trueOutput)
	for i, v := range cams[:len(cams)/2] {
		if w := cams[len(cams)/2+i]; math.Abs(float64(v+w-1)) > 1e-5 {
			t.Errorf("cell %d: %v and %v, want a sum of 1", i, v, w)
		}
	}
}
