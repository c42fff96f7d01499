package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/surrogaze/surrogaze/internal/cuda/cudatest"
	"github.com/surrogaze/surrogaze/internal/testset"
	"github.com/surrogaze/surrogaze/internal/weights"
	"github.com/surrogaze/surrogaze/storage"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"surrogaze": main})
}

// TestCommands runs the scripts in testdata: each a command line session, with
// what it prints, its exit codes and the files it leaves. The folder set holds the
// small data set, small.yaml a configuration that takes seconds, and the
// folders weights and networks files of PyTorch; three a set of three classes.
func TestCommands(t *testing.T) { runScripts(t, "testdata", nil) }

// TestCommandsOnAGPU is about what differs there.
func TestCommandsOnAGPU(t *testing.T) {
	cudatest.Mock(t)
	cudatest.GPU(t)
	runScripts(t, "testdata/gpu", []string{"SURROGAZE_LIBCUDA", "SURROGAZE_CUDA_LIBS", "XDG_CACHE_HOME"})
}

// runScripts runs the scripts of a folder, which see some more of our variables.
func runScripts(t *testing.T, dir string, variables []string) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			for _, name := range variables {
				e.Setenv(name, os.Getenv(name))
			}
			if err := testset.Write(e.WorkDir+"/set", testset.Small); err != nil {
				return err
			}
			if err := testset.Write(e.WorkDir+"/three", testset.Three); err != nil {
				return err
			}
			for from, to := range map[string]string{"../../internal/weights/testdata": "weights", "../../cyborg/testdata": "networks"} {
				if err := os.CopyFS(filepath.Join(e.WorkDir, to), os.DirFS(from)); err != nil {
					return err
				}
			}
			if err := writeSafetensors(filepath.Join(e.WorkDir, "networks")); err != nil {
				return err
			}
			e.Setenv("DECAY", "{name: adamw, lr: 1, weight_decay: 11, schedule: constant, warmup: 0}")
			return os.WriteFile(e.WorkDir+"/small.yaml", []byte(smallConfig), 0o644)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// writeSafetensors writes the weights of resnet.pth in a folder as resnet.safetensors,
// and with a NaN in them as nan.safetensors.
func writeSafetensors(dir string) error {
	_, tensors, err := weights.ReadFile(filepath.Join(dir, "resnet.pth"))
	if err != nil {
		return err
	}
	for _, name := range []string{"resnet.safetensors", "nan.safetensors"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := errors.Join(weights.Write(f, nil, tensors), f.Close()); err != nil {
			return err
		}
		i := slices.IndexFunc(tensors, func(t weights.Tensor) bool { return t.Name == "module.bn1.bias" })
		tensors[i].Data[1] = float32(math.NaN())
	}
	return nil
}

// smallConfig is a run of seconds on testset.Small.
const smallConfig = `
data:
  root: set
  annotated: {images: images, labels: labels.csv, maps: maps, human_maps: 8}
  unannotated: [{format: parquet, path: "unannotated/data/*.parquet"}]
  classes: [vertical, horizontal]
predictor: {widths: [4, 8], stem: {kernel: 3, stride: 2}, size: 16, steps: 6, batch: 4, folds: 2}
classifier: {network: custom, stem: {width: 4, kernel: 3, stride: 2, pool: 0}, widths: [6], blocks: [1], strides: [2], size: 16}
train: {arms: [none, combined], seeds: 2, epochs: 2, batch: 8}
export: [{to: hf-parquet}, {to: imagefolder}]
report: {examples: 2}
`

// exits runs a command line and wants an exit code: exits CODE surrogaze ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if e, ok := err.(interface{ ExitCode() int }); ok {
		code = strconv.Itoa(e.ExitCode())
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

func TestCommandLinesAreQuotedForTheShell(t *testing.T) {
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "a.yaml"}, "run a.yaml"},
		{[]string{"--set", "export=[]"}, "--set 'export=[]'"},
		{[]string{"--out", "my runs/x"}, "--out 'my runs/x'"},
		{[]string{"it's", ""}, `'it'\''s' ''`},
	} {
		if got := commandLine(x.args); got != x.want {
			t.Errorf("found %s, want %s", got, x.want)
		}
	}
}

func TestAFullDiskKeepsWhatACommandKeeps(t *testing.T) {
	full := fmt.Errorf("write: %w", syscall.ENOSPC)
	for _, x := range []struct {
		err  error
		want string
	}{{full, "what was done is kept: "}, {startAnewError{full}, "nothing was written: "}} {
		if hint := hintFor(x.err); !strings.HasPrefix(hint, x.want) {
			t.Errorf("found the hint %q, want one that begins with %q", hint, x.want)
		}
	}
}

func TestAnUnknownCommandIsMisuse(t *testing.T) {
	root := newRootCommand()
	root.SetArgs([]string{"anotate"})
	if code := exitCode(context.Background(), root.Execute()); code != exitMisuse {
		t.Errorf("exit code %d, want %d", code, exitMisuse)
	}
}

func TestAFolderAtWorkIsAFailureThatNamesTheWayOut(t *testing.T) {
	err := fmt.Errorf("run: %w", &storage.FolderLockedError{Dir: "runs/x", Holder: storage.Holder{PID: 7, Host: "node3"}})
	if code := exitCode(context.Background(), err); code != exitFailure {
		t.Errorf("exit code %d, want %d", code, exitFailure)
	}
	if text := err.Error(); !strings.Contains(text, `folder "runs/x": process 7 on node3 is writing there`) || !strings.Contains(hintFor(err), "--out") {
		t.Errorf("found %q with the hint %q, want the folder, the process and another folder", text, hintFor(err))
	}
}
