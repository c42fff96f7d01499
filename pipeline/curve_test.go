package pipeline_test

import (
	"context"
	"encoding/csv"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/pipeline"
)

// curve runs the curve of a project's small configuration, which allows 8 maps.
func (p project) curve(ctx context.Context, out string, maps []int, observe func(pipeline.Event)) (*pipeline.Curve, error) {
	p.t.Helper()
	cfg, err := pipeline.LoadConfig(p.path("small.yaml"), []string{"data.root=" + p.path("set"), "out=" + p.path(out), "train.epochs=1"})
	if err != nil {
		p.t.Fatal(err)
	}
	return pipeline.AnnotationCurve(ctx, cfg, pipeline.CurveOptions{
		Options: pipeline.Options{Version: "test", Observe: observe}, Maps: maps, Margin: 0.05,
	})
}

func (p project) curveCSV(out string) string {
	p.t.Helper()
	text, err := os.ReadFile(p.path(out, "curve", "curve.csv"))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

func TestACurveHasHumanAndCombinedForEveryNumberOfMaps(t *testing.T) {
	p := newProject(t)
	warned := ""
	c, err := p.curve(context.Background(), "out", []int{6, 4, 6, 30, 8, pipeline.AllMaps}, func(e pipeline.Event) {
		if e.Kind == pipeline.Warning && e.Stage == pipeline.StageIngest {
			warned += e.Text
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(p.curveCSV("out"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, row := range rows {
		found = append(found, strings.Join(row[:3], " "))
	}
	want := []string{"maps arm runs", "0 none 2", "4 human 2", "4 combined 2", "6 human 2", "6 combined 2", "8 human 2", "8 combined 2"}
	if d := cmp.Diff(want, found); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	if c.All != 8 || !strings.Contains(warned, "30 human maps are left out of the curve: there are 8") {
		t.Errorf("found %d maps in all and the warning %q", c.All, warned)
	}
	for _, name := range []string{"curve.html", "config.yaml", "maps-4/results.csv", "maps-8/models/predictor.safetensors"} {
		if _, err := os.Stat(p.path("out", "curve", name)); err != nil {
			t.Error(err)
		}
	}
}

func TestACurveSharesArtefactsWithRuns(t *testing.T) {
	p := newProject(t)
	p.run("out", nil, "train.epochs=1", "train.arms=[none, human, combined]")
	made := map[string]bool{}
	observe := func(e pipeline.Event) {
		if e.Kind == pipeline.Started {
			maps, _, _ := strings.Cut(e.Text, ":")
			made[maps+" "+string(e.Stage)] = true
		}
	}
	if _, err := p.curve(context.Background(), "out", []int{4}, observe); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"4 maps fit": true, "4 maps annotate": true, "4 maps train": true, "4 maps evaluate": true}
	if d := cmp.Diff(want, made); d != "" {
		t.Errorf("stages that were run (-want +got):\n%s", d)
	}
	clear(made)
	if _, err := p.curve(context.Background(), "out", []int{4}, observe); err != nil || len(made) > 0 {
		t.Errorf("again: error %v, stages that were run %v", err, made)
	}
}

func TestAnInterruptedCurveEndsAsAnUnbrokenOne(t *testing.T) {
	p := newProject(t)
	if _, err := p.curve(context.Background(), "whole", []int{4}, nil); err != nil {
		t.Fatal(err)
	}
	tries := 0
	for ; ; tries++ {
		ctx, cancel := context.WithCancel(context.Background())
		n := 0
		_, err := p.curve(ctx, "broken", []int{4}, func(e pipeline.Event) {
			if n++; e.Kind == pipeline.Progress && n > 20*(1+tries) {
				cancel()
			}
		})
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) || tries > 100 {
			t.Fatalf("try %d: %v", tries, err)
		}
		if _, err := os.Stat(p.path("broken", "curve", "curve.csv")); err == nil {
			t.Fatal("an interrupted curve leaves curve.csv")
		}
	}
	if tries == 0 || p.curveCSV("whole") != p.curveCSV("broken") {
		t.Errorf("after %d interruptions curve.csv differs from that of an unbroken curve", tries)
	}
}

func TestACurveWithoutHumanMapsIsAnErrorOfTheData(t *testing.T) {
	p := newProject(t)
	if err := os.RemoveAll(p.path("set", "maps")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(p.path("set", "maps"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := p.curve(context.Background(), "out", nil, nil)
	var data *pipeline.DataError
	if !errors.As(err, &data) || !strings.Contains(err.Error(), "no human maps") {
		t.Errorf("found %v, want an error of the data", err)
	}
}

func TestACurveReadsTheDataOnce(t *testing.T) {
	p := newProject(t)
	if _, err := p.curve(context.Background(), "out", []int{4}, nil); err != nil {
		t.Fatal(err)
	}
	_, err := p.curve(context.Background(), "out", []int{4}, func(e pipeline.Event) {
		if e.Stage == pipeline.StageIngest {
			p.removeSets()
		}
	})
	if err != nil {
		t.Errorf("without the data, which were read: %v", err)
	}
}
