package pipeline_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/surrogaze/surrogaze/pipeline"
)

var update = flag.Bool("update", false, "write the golden hashes anew")

// golden is what the stages gave when their code versions were last raised.
type golden struct {
	Go     string                  `json:"go"` // release; compressed images may change with it
	Stages map[string]*stageGolden `json:"stages"`
}

type stageGolden struct {
	Code int    `json:"code"`
	Hash string `json:"sha256"`
}

const goldenPath = "testdata/stages.json"

// TestAStageThatGivesAnotherOutputHasAnotherCodeVersion runs all stages on the
// plain Go kernels, whose results are the same on every amd64 machine.
func TestAStageThatGivesAnotherOutputHasAnotherCodeVersion(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the golden hashes are of amd64: other compilers fuse multiplications and additions")
	}
	t.Setenv("SURROGAZE_ISA", "generic")
	found := stageHashes(t)
	if *update {
		text, err := json.MarshalIndent(found, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(goldenPath, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(goldenPath)
	if err != nil {
		t.Fatal(err)
	}
	var want golden
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if want.Go != found.Go {
		t.Skipf("the golden hashes are of %s, this is %s", want.Go, found.Go)
	}
	for stage, w := range want.Stages {
		switch f := found.Stages[stage]; {
		case f == nil:
			t.Errorf("%s has left nothing", stage)
		case f.Code != w.Code:
			t.Errorf("%s has code version %d, the golden hash is of %d: run with -update", stage, f.Code, w.Code)
		case f.Hash != w.Hash:
			t.Errorf("%s gives another output with the same code version %d: raise it, or find what has changed", stage, f.Code)
		}
	}
}

// stageHashes runs all stages and hashes what each has left.
func stageHashes(t *testing.T) golden {
	t.Helper()
	p := newProject(t)
	g := golden{Go: release(), Stages: map[string]*stageGolden{}}
	g.add(t, p, "", pipeline.StageReport, "export=[{to: hf-parquet}, {to: imagefolder}]")
	g.add(t, p, " of a teacher", pipeline.StageFit, drawnBy("teacher-rise", "annotate.ensemble=2")...)
	return g
}

// add runs stages that have not been run and adds what each has left under its name
// and more.
func (g *golden) add(t *testing.T, p project, more string, last pipeline.Stage, sets ...string) {
	t.Helper()
	x := p.open("out"+more, nil, sets...)
	if _, err := x.Run(context.Background(), last); err != nil {
		t.Fatal(err)
	}
	artefacts, err := x.Artefacts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range artefacts {
		if more != "" && a.Stage != last {
			continue
		}
		name := string(a.Stage) + more
		if g.Stages[name] == nil {
			g.Stages[name] = &stageGolden{Code: a.Code}
		}
		s := g.Stages[name]
		s.Hash = hash(s.Hash + hashFolder(t, a))
	}
}

// release is the Go release without its patch.
func release() string {
	v := strings.Fields(runtime.Version())[0]
	if parts := strings.Split(v, "."); len(parts) > 2 {
		return strings.Join(parts[:2], ".")
	}
	return v
}

// hashFolder hashes the files of an artefact but for those that hold times, paths
// or the keys that follow from them.
func hashFolder(t *testing.T, a pipeline.StageArtefact) string {
	t.Helper()
	sum := ""
	err := filepath.WalkDir(a.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "manifest.json" || e.Name() == "making.json" {
			return err
		}
		text, err := os.ReadFile(path)
		sum = hash(sum + e.Name() + hash(string(text)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
