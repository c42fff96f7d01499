package pipeline_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/surrogaze/surrogaze/pipeline"
)

// atWork begins a run up to the fit, on a store that others share, and returns in its
// midst. The run goes on when goOn is called, which waits for its end.
func (p project) atWork(out string) (goOn func()) {
	p.t.Helper()
	begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var once sync.Once
	x := p.interruptible(out, func(e pipeline.Event) {
		if e.Stage == pipeline.StageFit && e.Kind == pipeline.Progress {
			once.Do(func() {
				close(begun)
				<-release
			})
		}
	}, "store="+p.path("store"))
	go func() {
		_, err := x.Run(context.Background(), pipeline.StageFit)
		ended <- err
	}()
	<-begun
	return func() {
		close(release)
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
	}
}

func TestWhatAnotherProcessMakesIsSaidToBeRunning(t *testing.T) {
	p := newProject(t)
	goOn := p.atWork("one")
	defer goOn()
	steps, err := p.open("two", nil, "store="+p.path("store")).Plan(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if s := steps[1]; s.State != pipeline.Running || !strings.HasPrefix(s.Why, fmt.Sprintf("by process %d", os.Getpid())) {
		t.Errorf("the predictor is %s (%s), want it to be running by process %d", s.State, s.Why, os.Getpid())
	}
}

func TestARunThatWaitsForAnotherSaysForWhom(t *testing.T) {
	p := newProject(t)
	goOn := p.atWork("one")
	var told []string
	x := p.interruptible("two", func(e pipeline.Event) {
		if e.Kind == pipeline.Warning && strings.HasPrefix(e.Text, "waiting: ") {
			told = append(told, e.Text)
			goOn()
		}
	}, "store="+p.path("store"))
	if _, err := x.Run(context.Background(), pipeline.StageFit); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !strings.Contains(told[0], fmt.Sprintf("is being made by process %d", os.Getpid())) {
		t.Errorf("found %q, want one warning that names process %d", told, os.Getpid())
	}
}
