package pipeline_test

import (
	"context"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/pipeline"
)

// scribble makes every human map of a project noise, which no predictor can learn.
func (p project) scribble() {
	p.t.Helper()
	paths, err := filepath.Glob(p.path("set", "maps", "*.png"))
	if err != nil || len(paths) == 0 {
		p.t.Fatalf("found maps %q: %v", paths, err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, path := range paths {
		m := image.NewGray(image.Rect(0, 0, 40, 40))
		for i := range m.Pix {
			m.Pix[i] = byte(rng.IntN(256))
		}
		f, err := os.Create(path)
		if err == nil {
			err = png.Encode(f, m)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p project) classifier(out, run string) *cyborg.Model {
	p.t.Helper()
	m, err := cyborg.LoadModel(p.path(out, "models", run+".safetensors"))
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

func TestMapsOfAUselessPredictorGuideLessAndThatIsSaid(t *testing.T) {
	p := newProject(t)
	p.scribble()
	var events []pipeline.Event
	r := p.run("out", &events, "train.seeds=1")
	if w := r.Trust.Weight; w < 0 || w > 0.9 {
		t.Fatalf("the weight of the predicted maps is %v, want less than 1", w)
	}
	if !slices.ContainsFunc(events, func(e pipeline.Event) bool { return e.Kind == pipeline.Warning && e.Text == r.Trust.String() }) {
		t.Errorf("no warning says %q", r.Trust)
	}
	html, err := os.ReadFile(p.path("out", "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	if said := r.Trust.String()[1:]; strings.Count(string(html), said) != 2 {
		t.Errorf("the report does not say among its warnings and of the predictor: %s", said)
	}
	for _, arm := range cyborg.Arms() {
		if !slices.Contains([]cyborg.Arm{"none", "human", "predicted", "combined", "shuffled", "mean"}, arm) {
			continue
		}
		want := 0.0
		if arm.UsesPredicted() {
			want = 1 - r.Trust.Weight
		}
		if got := p.classifier("out", string(arm)+"-0").Config().Discount; got != want {
			t.Errorf("arm %s: the discount on predicted maps is %v, want %v", arm, got, want)
		}
	}
}

func TestFullTrustReachesOnlyArmsWithPredictedMaps(t *testing.T) {
	p := newProject(t)
	p.scribble()
	p.run("out", nil, "train.seeds=1")
	steps, err := p.open("out", nil, "train.seeds=1", "train.trust=full").Plan(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		arm, _, _ := strings.Cut(s.Name, "-")
		again := s.Stage == pipeline.StageTrain && cyborg.Arm(arm).UsesPredicted()
		if s.Stage != pipeline.StageEvaluate && (s.State != pipeline.Done) != again {
			t.Errorf("%s %s is %s (%s)", s.Stage, s.Name, s.State, s.Why)
		}
	}
	r := p.run("out", nil, "train.seeds=1", "train.trust=full")
	if got := p.classifier("out", "combined-0").Config().Discount; got != 0 || r.Trust.Weight != 1 {
		t.Errorf("discount %v and weight %v, want 0 and 1", got, r.Trust.Weight)
	}
}
