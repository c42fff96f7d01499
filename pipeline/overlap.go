package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/surrogaze/surrogaze/configs"
	"github.com/surrogaze/surrogaze/internal/config"
)

// input is a file or folder that a run reads.
type input struct {
	key, path string
	walked    bool // whether all that is below is read
}

// checkOverlap refuses a folder of results that would be laid out over what the run
// reads, or be read itself by the next run.
func (p *Pipeline) checkOverlap() error {
	inputs := p.inputs()
	var problems []config.Problem
	for _, name := range []string{dataName, modelsName, exportName} {
		target, err := realPath(p.outPath(name))
		if err != nil {
			return err
		}
		for _, in := range inputs {
			source, err := realPath(in.path)
			if err != nil {
				return err
			}
			if within(source, target) || in.walked && within(target, source) {
				problems = append(problems, config.Problem{Path: "out", Text: fmt.Sprintf(
					"the results would be laid out in %q, but %s %q is there: choose another folder (--out)", p.outPath(name), in.key, in.path)})
				break
			}
		}
	}
	if len(problems) > 0 {
		return &ConfigError{Problems: problems}
	}
	return nil
}

// inputs are what the configuration says to read. A built-in set is not among them: it
// lies in the store.
func (p *Pipeline) inputs() []input {
	var list []input
	add := func(key, path string) {
		if path != "" {
			list = append(list, input{key: key, path: path})
		}
	}
	a := p.cfg.Data.Annotated
	if !strings.HasPrefix(p.cfg.Data.Root, configs.Embedded) {
		add("data.root", p.root)
		for _, x := range []struct{ key, path string }{{"images", a.Images}, {"labels", a.Labels}, {"maps", a.Maps}} {
			if x.path != "" {
				add("data.annotated."+x.key, filepath.Join(p.root, x.path))
			}
		}
		for _, path := range a.Tests {
			add("data.annotated.tests", filepath.Join(p.root, path))
		}
	}
	add("predictor.pretrained", p.cfg.Predictor.Pretrained)
	if !p.fromOwnEncoder() {
		add("classifier.pretrained", p.cfg.Classifier.Pretrained)
	}
	for _, c := range p.cfg.Data.Unannotated {
		path := c.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.root, path)
		}
		if info, err := os.Stat(path); err == nil {
			list = append(list, input{"data.unannotated", path, info.IsDir()})
			continue
		}
		matches, err := filepath.Glob(path)
		if err != nil {
			continue // opening the source says it
		}
		for _, match := range matches {
			add("data.unannotated", match)
		}
	}
	return list
}

// within reports whether a real path is another or below it.
func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rel)
}

// realPath is the absolute path without symbolic links, as far as it is there.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for {
		found, err := filepath.EvalSymlinks(path)
		parent := filepath.Dir(path)
		if err == nil || parent == path {
			return filepath.Join(found, rest), nil
		}
		path, rest = parent, filepath.Join(filepath.Base(path), rest)
	}
}
