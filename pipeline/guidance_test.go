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
	rng := rand.New(rand.NewPCG(1, 2))
	p.redraw(func(m *image.Gray) {
		for i := range m.Pix {
			m.Pix[i] = byte(rng.IntN(256))
		}
	})
}

// redraw replaces every human map of a project.
func (p project) redraw(draw func(black *image.Gray)) {
	p.t.Helper()
	paths, err := filepath.Glob(p.path("set", "maps", "*.png"))
	if err != nil || len(paths) == 0 {
		p.t.Fatalf("found maps %q: %v", paths, err)
	}
	for _, path := range paths {
		m := image.NewGray(image.Rect(0, 0, 40, 40))
		draw(m)
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

func TestRegionsSmallerThanACellOfTheClassActivationMapAreSaidOnce(t *testing.T) {
	p := newProject(t)
	for _, c := range []struct {
		side int // of the regions; a cell has 10
		sets []string
		want int
	}{
		{5, []string{"train.arms=[none,human,combined]"}, 1},
		{10, []string{"train.arms=[none,human,combined]"}, 0},
		{5, []string{"train.arms=[none]"}, 0},
		{5, []string{"train.arms=[human]", "train.alpha=1"}, 0},
	} {
		p.redraw(func(m *image.Gray) {
			for i := range m.Pix {
				if i%40 < c.side && i/40 < c.side {
					m.Pix[i] = 255
				}
			}
		})
		var events []pipeline.Event
		x := p.open("out", &events, append(c.sets, "train.seeds=1", "train.epochs=1")...)
		if _, err := x.Run(t.Context(), pipeline.StageTrain); err != nil {
			t.Fatal(err)
		}
		said := 0
		for _, e := range events {
			if e.Kind == pipeline.Warning && strings.Contains(e.Text, "of a cell of the classifier's class activation map (4x4 cells of 4 pixels)") {
				said++
			}
		}
		if said != c.want {
			t.Errorf("regions of %d pixels, %q: said %d times, want %d", c.side, c.sets, said, c.want)
		}
	}
}
