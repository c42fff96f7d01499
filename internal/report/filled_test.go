package report

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/surrogaze/surrogaze/internal/metric"
	"github.com/surrogaze/surrogaze/internal/synthetic"
)

// filled is a report with every part, of invented numbers that are like those of
// a run of the quickstart.
func filled(t testing.TB) *Report {
	rng := rand.New(rand.NewPCG(1, 2))
	r := &Report{Name: "quickstart", Split: "test", Classes: synthetic.Classes, Images: 400, Mapped: 40}
	arms := []struct {
		name            string
		separation, cam float64
	}{{"none", 0.75, 0.08}, {"human", 1.5, 0.31}, {"predicted", 2.9, 0.72}, {"combined", 3.1, 0.74}, {"shuffled", 0.8, 0.10}}
	for _, a := range arms {
		for i := range 5 {
			r.Runs = append(r.Runs, inventRun(rng, a.name, i, a.separation, a.cam))
		}
	}
	r.Predictor = inventPredictor(rng)
	r.Data = inventData(rng)
	for i := range 3 {
		r.Examples = append(r.Examples, inventExample(t, rng, i))
	}
	r.Making = Making{
		Command: "surrogaze run quickstart",
		Config:  "name: quickstart\nseed: 1\n\ndata:\n  root: embed:quickstart\n  annotated: {format: folder, images: images, labels: labels.csv, maps: maps, human_maps: 40}\n  classes: [vertical, horizontal]\n\ntrain:\n  arms: [none, human, predicted, combined, shuffled]\n  seeds: 5\n",
		Facts: []Fact{
			{"surrogaze", "v0.1.0"}, {"go", "go1.26.0 linux/amd64"}, {"processor", "2 cores, AVX2 and FMA"}, {"precision", "f32"}, {"seeds", "1, runs 0 to 4"},
		},
		Stages: []Stage{
			{Name: "ingest", Key: "3f9a1c07d2be55aa", Took: 840 * time.Millisecond},
			{Name: "fit", Key: "a10b44e29c7d0f13", Took: 21300 * time.Millisecond},
			{Name: "annotate", Key: "0c77b1f2e8a94d6e", Took: 1900 * time.Millisecond, Reused: true},
			{Name: "train", Key: "99d2c5aa01b37f48", Took: 112 * time.Second},
			{Name: "evaluate", Key: "e41f0b6c2d7a8853", Took: 3100 * time.Millisecond},
		},
	}
	return r
}

// inventRun scores 200 images of each class by normal values that are so far
// apart.
func inventRun(rng *rand.Rand, arm string, index int, separation, cam float64) Run {
	separation *= 1 + 0.12*rng.NormFloat64()
	scores, positive := make([]float64, 400), make([]bool, 400)
	p, labels := make([][]float64, 400), make([]int, 400)
	for i := range scores {
		labels[i] = i % 2
		positive[i] = labels[i] == 1
		scores[i] = rng.NormFloat64() + separation*(float64(labels[i])-0.5)
		p[i] = []float64{1 / (1 + math.Exp(scores[i])), 1 / (1 + math.Exp(-scores[i]))}
	}
	run := Run{
		Arm: arm, Index: index, ROC: metric.ROC(scores, positive), Best: 24 + rng.IntN(7),
		Errors: Errors{
			AUC: metric.DeLong(p, labels), ToNone: nan, Accuracy: metric.Accuracy(p, labels),
			EER: metric.EER(scores, positive), PAD: metric.PADAt(scores, positive, 0.3), ECE: metric.ECE(p, labels),
		},
	}
	run.Confusion, run.ClassAUC = metric.Confusion(p, labels, 2), metric.ClassAUCs(p, labels, 2)
	for i, row := range p {
		run.Scores.Add(row[1], positive[i])
	}
	if arm != "none" {
		run.ToNone = rng.Float64() / 1000 * (4 - separation)
	}
	look := cam + 0.02*rng.NormFloat64()
	run.CAM = Look{
		CC: look, SIM: 0.1 + look/3, KL: 2.6 - 1.6*look, NSS: 3.5 * look, IoU: 0.9 * look,
		Entropy: 4.4 - look/3, Consistency: 0.9 + look/10,
	}
	for e := range 30 {
		left, alpha := math.Exp(-float64(e)/7), nan
		if arm != "none" {
			alpha = 0.3 + 0.4*left
		}
		run.History = append(run.History, Epoch{
			TrainLoss: 0.02 + 0.6*left + 0.02*rng.Float64(),
			ValLoss:   0.05 + 0.62*left + 0.1/(1+separation) + 0.05*rng.Float64(),
			ValAUC:    1 - 0.45*left*rng.Float64() - 0.01*rng.Float64(),
			Alpha:     alpha,
		})
	}
	return run
}

func inventPredictor(rng *rand.Rand) *Predictor {
	p := &Predictor{Annotator: "predictor", Train: 32, Validation: 8, Best: 260}
	for step := 20; step <= 300; step += 20 {
		left := math.Exp(-float64(step) / 80)
		p.History = append(p.History, Point{step, 0.08 + 0.5*left, 0.11 + 0.5*left + 0.01*rng.Float64(), 0.88 - 0.7*left + 0.01*rng.Float64()})
	}
	for _, c := range []Check{{HeldOut: "out of fold, 4 folds by group", N: 40}, {HeldOut: "reference maps of the test split", N: 40}} {
		c.Predictor, c.MeanMap, c.Centre, c.BeatsMean = Scores{0.871, 0.792, 0.214, 0.018, 0.981}, Scores{0.152, 0.231, 1.812, 0.094, 0.612}, Scores{0.121, 0.208, 1.934, 0.131, 0.584}, true
		for range c.N {
			cc := min(0.99, 0.87+0.07*rng.NormFloat64())
			c.Images = append(c.Images, ImageScore{CC: cc, Quality: min(0.99, cc+0.04*rng.NormFloat64())})
		}
		p.Checks = append(p.Checks, c)
	}
	return p
}

func inventData(rng *rand.Rand) Data {
	d := Data{
		Excluded: []Excluded{{"undecodable image", 2}, {"aspect ratio of the map", 1}},
		Counts: []Count{
			{"test", "vertical", "reference", 21}, {"test", "horizontal", "reference", 19}, {"test", "vertical", "predictor", 176}, {"test", "horizontal", "predictor", 184},
			{"train", "vertical", "human", 22}, {"train", "horizontal", "human", 18}, {"train", "vertical", "predictor", 171}, {"train", "horizontal", "predictor", 189},
			{"train", "", "predictor", 12}, {"val", "vertical", "predictor", 48}, {"val", "horizontal", "predictor", 52},
		},
	}
	for range 820 {
		d.Quality.Add(min(0.99, 0.84+0.09*rng.NormFloat64()))
	}
	return d
}

func inventExample(t testing.TB, rng *rand.Rand, i int) Example {
	x := synthetic.Draw(1, "test", i)
	here := heat(x.Map, 0, 0)
	e := Example{
		ID: x.ID, Label: synthetic.Classes[x.Label], Split: x.Split, Image: encode(t, x.Image), CC: math.NaN(), Quality: 0.8 + 0.15*rng.Float64(),
		Predicted: encode(t, blend(x.Image, here)),
	}
	if i%3 != 2 {
		e.Human, e.CC = encode(t, blend(x.Image, heat(x.Map, 0, 0))), 0.8+0.15*rng.Float64()
	}
	for _, arm := range []string{"none", "human", "predicted", "combined", "shuffled"} {
		right := arm != "none" || i%2 == 0
		class := x.Label
		seen := here
		if !right {
			class, seen = 1-x.Label, heat(x.Map, 13, 9)
		}
		e.CAMs = append(e.CAMs, CAM{Arm: arm, Picture: encode(t, blend(x.Image, seen)), Class: synthetic.Classes[class], Score: 0.6 + 0.39*rng.Float64(), Right: right, CC: 0.7*rng.Float64() + 0.1})
	}
	return e
}

// heat is a map moved in a circle and smoothed, in [0, 1].
func heat(m *image.Gray, dx, dy int) []float64 {
	const radius = 2
	out := make([]float64, len(m.Pix))
	for i := range out {
		for j := -radius; j <= radius; j++ {
			for k := -radius; k <= radius; k++ {
				y, x := (i/synthetic.Size+j+dy+synthetic.Size)%synthetic.Size, (i+k+dx+synthetic.Size)%synthetic.Size
				out[i] += float64(m.Pix[y*synthetic.Size+x]) / 255 / 25
			}
		}
	}
	return out
}

func blend(m *image.Gray, heat []float64) image.Image {
	out := image.NewRGBA(m.Rect)
	for i, v := range m.Pix {
		o := 0.6 * min(1, 2*heat[i])
		mix := func(warm float64) uint8 { return uint8(float64(v)*(1-o) + 255*warm*o) }
		out.Set(i%synthetic.Size, i/synthetic.Size, color.RGBA{mix(min(1, 0.5+heat[i])), mix(heat[i]), mix(0.1), 255})
	}
	return out
}

func encode(t testing.TB, m image.Image) []byte {
	var b bytes.Buffer
	fast := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := fast.Encode(&b, m); err != nil {
		t.Fatal(fmt.Errorf("encode a picture: %w", err))
	}
	return b.Bytes()
}

// A look at the page: SURROGAZE_REPORT=page.html go test -run Look
func TestLook(t *testing.T) {
	name := os.Getenv("SURROGAZE_REPORT")
	if name == "" {
		t.Skip("SURROGAZE_REPORT does not name a file to write")
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Write(f, filled(t)); err != nil {
		t.Fatal(err)
	}
}
