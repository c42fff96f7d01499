package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/surrogaze/surrogaze/pipeline"
)

// view shows a pipeline's events on standard error.
type view interface {
	observe(pipeline.Event)
	close()
}

// newView makes the view of a name; auto is bars on a terminal and plain lines
// elsewhere.
func newView(name string) (view, error) {
	if name == "auto" {
		name = "plain"
		if term.IsTerminal(int(os.Stderr.Fd())) {
			name = "bars"
		}
	}
	switch name {
	case "bars":
		return newBars(os.Stderr), nil
	case "plain":
		return &lines{w: os.Stderr, every: 10 * time.Second, now: time.Now}, nil
	case "none":
		return &lines{w: io.Discard, now: time.Now}, nil
	}
	return nil, misuse{fmt.Errorf("--progress %q: want auto, bars, plain or none", name)}
}

// lines prints a line for the start and end of each stage, and one now and then in
// between.
type lines struct {
	w     io.Writer
	every time.Duration
	now   func() time.Time
	rate  rate
	last  time.Time // of the last line of progress
}

func (l *lines) observe(e pipeline.Event) {
	switch e.Kind {
	case pipeline.Started:
		l.rate, l.last = rate{began: l.now()}, l.now()
		fmt.Fprintf(l.w, "%-8s %s\n", e.Stage, e.Text)
	case pipeline.Progress:
		l.rate.first(e.Done)
		if now := l.now(); now.Sub(l.last) >= l.every {
			l.last = now
			fmt.Fprintf(l.w, "%-8s %s; %s\n", e.Stage, l.rate.describe(e, now), e.Text)
		}
	default:
		fmt.Fprintln(l.w, summaryLine(e))
	}
}

func (l *lines) close() {}

// summaryLine is what stays on the screen of a stage.
func summaryLine(e pipeline.Event) string {
	switch e.Kind {
	case pipeline.Finished:
		return fmt.Sprintf("%-8s done in %v: %s", e.Stage, round(e.Took), e.Text)
	case pipeline.Skipped:
		return fmt.Sprintf("%-8s done before: %s", e.Stage, e.Text)
	}
	return fmt.Sprintf("%-8s warning: %s", e.Stage, e.Text)
}

// rate finds how fast a stage goes, not counting what was done before it was
// continued.
type rate struct {
	began  time.Time
	offset int64
	set    bool
}

func (r *rate) first(done int64) {
	if !r.set {
		r.offset, r.set = done, true
	}
}

// describe is the progress of a stage: done, rate and time left.
func (r *rate) describe(e pipeline.Event, now time.Time) string {
	perSecond := float64(e.Done-r.offset) / max(now.Sub(r.began).Seconds(), 1e-3)
	if e.Total == 0 {
		return fmt.Sprintf("%d %s, %.1f/s", e.Done, e.Unit, perSecond)
	}
	text := fmt.Sprintf("%d of %d %s (%d %%), %.1f/s", e.Done, e.Total, e.Unit, 100*e.Done/e.Total, perSecond)
	if perSecond > 0 {
		left := time.Duration(float64(e.Total-e.Done) / perSecond * float64(time.Second))
		text += fmt.Sprintf(", %v left", left.Round(time.Second))
	}
	return text
}

// bars shows the stage at work as a bar with rate and time left, and a line for
// every stage that is done.
type bars struct {
	progress *mpb.Progress
	bar      *mpb.Bar
	rate     rate
	text     atomic.Pointer[string] // read by the goroutine that draws
}

func newBars(w io.Writer) *bars {
	return &bars{progress: mpb.New(mpb.WithOutput(w), mpb.WithWidth(24), mpb.WithAutoRefresh(), mpb.WithRefreshRate(150*time.Millisecond))}
}

func (b *bars) observe(e pipeline.Event) {
	switch e.Kind {
	case pipeline.Started:
		b.drop()
		b.rate = rate{began: time.Now()}
		b.text.Store(&e.Text)
		b.bar = b.progress.AddBar(0,
			mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(fmt.Sprintf("%-8s ", e.Stage))),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + *b.text.Load() })),
		)
	case pipeline.Progress:
		if b.bar == nil {
			return
		}
		b.rate.first(e.Done)
		text := b.rate.describe(e, time.Now()) + "; " + e.Text
		b.text.Store(&text)
		b.bar.SetTotal(max(e.Total, e.Done+1), false)
		b.bar.SetCurrent(e.Done)
	default:
		if e.Kind != pipeline.Warning {
			b.drop()
		}
		fmt.Fprintln(b.progress, summaryLine(e))
	}
}

// drop removes the bar of the stage at work.
func (b *bars) drop() {
	if b.bar != nil {
		b.bar.Abort(true)
		b.bar.Wait()
		b.bar = nil
	}
}

func (b *bars) close() {
	b.drop()
	b.progress.Wait()
}
