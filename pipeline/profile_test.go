package pipeline_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/pipeline"
)

func TestAProfileIsOfTheFirstTrainingAndChangesNothing(t *testing.T) {
	p := newProject(t)
	train := func(out string, profile *pipeline.Profile) {
		t.Helper()
		cfg, err := pipeline.LoadConfig(p.path("small.yaml"), []string{"data.root=" + p.path("set"), "out=" + p.path(out), "workers=2"})
		if err != nil {
			t.Fatal(err)
		}
		x, err := pipeline.New(cfg, pipeline.Options{Version: "test", Profile: profile})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Run(context.Background(), pipeline.StageReport); err != nil {
			t.Fatal(err)
		}
	}
	var profile, none pipeline.Profile
	train("plain", nil)
	train("measured", &profile)
	if d := cmp.Diff(p.results("plain"), p.results("measured")); d != "" {
		t.Errorf("a profile changes the results (-without +with):\n%s", d)
	}
	if profile.Steps() == 0 {
		t.Fatal("no step was measured")
	}
	var b bytes.Buffer
	if err := profile.Write(&b, func(string, string, int) (float64, float64) { return 1, 1 }); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), ", 2 workers, ") || !strings.Contains(b.String(), "| conv | (8, 3, 16, 16) to (8, 4, 8, 8), 3x3, stride 2 | 1 |") {
		t.Errorf("profile:\n%s", &b)
	}
	train("plain", &none) // the same keys: all is done
	if none.Steps() != 0 {
		t.Errorf("%d steps measured where all was done before", none.Steps())
	}
}
