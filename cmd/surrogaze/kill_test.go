//go:build unix

package main

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
	"github.com/surrogaze/surrogaze/internal/testset"
)

// killsVariable is the number of kills of TestAKilledRunEndsAsAnUnbrokenOne and its like
// on a GPU, 10 and 4 if it is not set.
const killsVariable = "SURROGAZE_KILLS"

// TestAKilledRunEndsAsAnUnbrokenOne kills runs at random moments (kill -9, so that
// no line of ours runs after it) and runs them again, with another number of
// workers each time, until they come to their end. Then a new run is begun, until
// there were enough kills.
func TestAKilledRunEndsAsAnUnbrokenOne(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	testKills(t, newVictim(t), wantedKills(t, 10))
}

// TestAKilledRunOnAGPUEndsAsAnUnbrokenOne is the same on a GPU, or on its mock.
func TestAKilledRunOnAGPUEndsAsAnUnbrokenOne(t *testing.T) {
	cudatest.GPU(t)
	v := newVictim(t)
	v.args = []string{"--set", "device=cuda"}
	testKills(t, v, wantedKills(t, 4))
}

// wantedKills is the number of kills that the environment wants, or another.
func wantedKills(t *testing.T, otherwise int) int {
	t.Helper()
	text := os.Getenv(killsVariable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%q: %v", killsVariable, text, err)
	}
	return n
}

func testKills(t *testing.T, v victim, kills int) {
	t.Helper()
	whole, took := v.run("whole", 2, -1)
	if !whole {
		t.Fatal("the unbroken run was killed")
	}
	want := v.results("whole")
	rng := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for done, n := 0, 0; done < kills; n++ {
		out := "broken-" + strconv.Itoa(n)
		for {
			// Up to a little more than a whole run, so that each has a chance to end.
			after := time.Duration(rng.Float64() * 1.1 * float64(took))
			if done >= kills {
				after = -1
			}
			ended, _ := v.run(out, 1+rng.IntN(3), after)
			if ended {
				break
			}
			done++
		}
		if d := cmp.Diff(want, v.results(out)); d != "" {
			t.Fatalf("after kills, results differ from those of an unbroken run in %s", strings.Join(changed(want, v.results(out)), ", "))
		}
		if err := os.RemoveAll(filepath.Join(v.dir, out)); err != nil {
			t.Fatal(err)
		}
	}
}

// victim is a program that is run and killed in a folder of its own.
type victim struct {
	t      *testing.T
	dir    string
	binary string
	args   []string // of the program, further ones
}

func newVictim(t *testing.T) victim {
	t.Helper()
	v := victim{t: t, dir: t.TempDir()}
	v.binary = filepath.Join(v.dir, "surrogaze")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, v.binary); err != nil { // TestMain runs main under this name
		t.Fatal(err)
	}
	if err := testset.Write(filepath.Join(v.dir, "set"), testset.Small); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(v.dir, "small.yaml"), []byte(smallConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	return v
}

// run runs the program and kills it after some time, if that is not negative. It
// reports whether the program came to its end, and how long that took.
func (v victim) run(out string, workers int, after time.Duration) (ended bool, took time.Duration) {
	v.t.Helper()
	args := []string{"run", "small.yaml", "--out", out, "--set", "workers=" + strconv.Itoa(workers)}
	cmd := exec.Command(v.binary, append(args, v.args...)...)
	cmd.Dir = v.dir
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	began := time.Now()
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	if after >= 0 {
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // fails where it has ended
		defer timer.Stop()
	}
	err := cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
			return false, 0
		}
	}
	if err != nil {
		v.t.Fatalf("%v\n%s", err, &output)
	}
	return true, time.Since(began)
}

// results are the files that must not depend on interruptions.
func (v victim) results(out string) map[string]string {
	v.t.Helper()
	found := map[string]string{}
	for _, name := range []string{"results.csv", "confusion.csv", "data", "models"} {
		err := filepath.WalkDir(filepath.Join(v.dir, out, name), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			rel, relErr := filepath.Rel(filepath.Join(v.dir, out), path)
			found[rel] = string(text)
			return errors.Join(err, relErr)
		})
		if err != nil {
			v.t.Fatal(err)
		}
	}
	return found
}

// changed lists the names under which two sets of files differ.
func changed(a, b map[string]string) []string {
	var names []string
	for name := range a {
		if a[name] != b[name] {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	return names
}
