package main

import (
	"strings"
	"testing"
	"time"

	"github.com/surrogaze/surrogaze/pipeline"
)

func TestTheRateLeavesOutWhatWasDoneBefore(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := rate{began: began}
	r.first(60) // of 100, in an earlier process
	got := r.describe(pipeline.Event{Done: 80, Total: 100, Unit: "steps"}, began.Add(10*time.Second))
	if want := "80 of 100 steps (80 %), 2.0/s, 10s left"; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestLinesOfProgressComeNowAndThen(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var out strings.Builder
	l := &lines{w: &out, every: 10 * time.Second, now: func() time.Time { return now }}
	l.observe(pipeline.Event{Kind: pipeline.Started, Stage: pipeline.StageFit, Text: "8 human maps"})
	for i := range 25 {
		now = now.Add(time.Second)
		l.observe(pipeline.Event{Kind: pipeline.Progress, Stage: pipeline.StageFit, Done: int64(i + 1), Total: 100, Unit: "steps", Text: "loss 1"})
	}
	l.observe(pipeline.Event{Kind: pipeline.Finished, Stage: pipeline.StageFit, Text: "CC 0.9", Took: 25 * time.Second})
	want := `fit      8 human maps
fit      10 of 100 steps (10 %), 0.9/s, 1m40s left; loss 1
fit      20 of 100 steps (20 %), 0.9/s, 1m24s left; loss 1
fit      done in 25s: CC 0.9
`
	if out.String() != want {
		t.Errorf("found\n%s\nwant\n%s", out.String(), want)
	}
}

func TestBarsLeaveALineForEveryStage(t *testing.T) {
	var out strings.Builder
	b := newBars(&out)
	for _, e := range []pipeline.Event{
		{Kind: pipeline.Skipped, Stage: pipeline.StageIngest, Text: "64 samples"},
		{Kind: pipeline.Started, Stage: pipeline.StageFit, Text: "8 human maps"},
		{Kind: pipeline.Progress, Stage: pipeline.StageFit, Done: 3, Total: 100, Unit: "steps"},
		{Kind: pipeline.Warning, Stage: pipeline.StageFit, Text: "few maps"},
		{Kind: pipeline.Finished, Stage: pipeline.StageFit, Text: "CC 0.9", Took: time.Second},
	} {
		b.observe(e)
	}
	b.close()
	for _, want := range []string{"ingest   done before: 64 samples", "fit      warning: few maps", "fit      done in 1s: CC 0.9"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output %q lacks %q", out.String(), want)
		}
	}
}
