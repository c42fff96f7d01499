package pipeline

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/storage"
)

// process is what one process tells of an artefact before it ends, or is killed.
type process struct {
	on     string // instruction set
	steps  []int64
	killed bool
}

func TestARecordSaysOnWhatEachStepWasComputed(t *testing.T) {
	for _, x := range []struct {
		name      string
		processes []process
		want      []storage.Ran
	}{
		{"one process", []process{{on: "avx2", steps: []int64{1, 2, 3}}}, []storage.Ran{{From: 0, To: 3, Hardware: "avx2"}}},
		{
			"the same machine again", []process{{on: "avx2", steps: []int64{1, 2}}, {on: "avx2", steps: []int64{3, 4}}},
			[]storage.Ran{{From: 0, To: 4, Hardware: "avx2"}},
		},
		{
			"another machine", []process{{on: "avx2", steps: []int64{1, 2}}, {on: "avx512", steps: []int64{3, 4}}},
			[]storage.Ran{{From: 0, To: 2, Hardware: "avx2"}, {From: 2, To: 4, Hardware: "avx512"}},
		},
		{
			"another machine after a kill, back at an older checkpoint",
			[]process{{on: "avx2", steps: []int64{1, 2, 3}, killed: true}, {on: "avx512", steps: []int64{2, 3, 4}}},
			[]storage.Ran{{From: 0, To: 1, Hardware: "avx2"}, {From: 1, To: 4, Hardware: "avx512"}},
		},
		{"nothing to count", []process{{on: "avx2"}}, []storage.Ran{{Hardware: "avx2"}}},
	} {
		t.Run(x.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), recordName)
			for _, p := range x.processes {
				r, err := openRecord(path, storage.Ran{Hardware: p.on})
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range p.steps {
					r.step(n)
				}
				if p.killed {
					continue
				}
				if err := r.close(nil); err != nil {
					t.Fatal(err)
				}
			}
			r, err := readRecord(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(x.want, r.Ran); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestARecordSaysHowTheLastTryFailed(t *testing.T) {
	diverged := errors.New("diverged")
	for _, x := range []struct {
		name  string
		tries []error // what each ended with
		want  string
	}{
		{"done", []error{nil}, ""},
		{"failed", []error{diverged}, "diverged"},
		{"failed, then done", []error{diverged, nil}, ""},
		{"interrupted, then failed", []error{nil, diverged}, "diverged"},
	} {
		t.Run(x.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), recordName)
			for _, end := range x.tries {
				r, err := openRecord(path, storage.Ran{})
				if err != nil {
					t.Fatal(err)
				}
				if err := r.close(end); err != nil {
					t.Fatal(err)
				}
			}
			r, err := readRecord(path)
			if err != nil {
				t.Fatal(err)
			}
			if r.Failure != x.want {
				t.Errorf("failure %q, want %q", r.Failure, x.want)
			}
		})
	}
}
