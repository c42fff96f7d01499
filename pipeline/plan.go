package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/surrogaze/surrogaze/storage"
)

// State is how far an artefact has come.
type State string

// The states of an artefact.
const (
	Done    State = "done"    // published: the stage will skip it
	Running State = "running" // a process is making it: the stage will wait for that
	Partial State = "partial" // interrupted: the stage will go on with it
	Failed  State = "failed"  // ended by an error: the stage will go on with it, and may fail again
	Missing State = "missing" // the stage will make it
)

// Step is one artefact of a run.
type Step struct {
	Stage Stage
	Name  string // such as "combined-0"
	Key   string
	State State
	// Why says, of one that is missing, what differs from the one most like it, of one
	// that failed the error, and of one that is running who makes it.
	Why string
	// Made and Took are of one that is done.
	Made time.Time
	Took time.Duration
}

// Plan lists the artefacts of the run in the order in which they are made, and
// what a run would do about each. It changes nothing.
func (p *Pipeline) Plan(ctx context.Context) ([]Step, error) {
	r, err := p.recipes(ctx)
	if err != nil {
		return nil, err
	}
	return p.plan(r)
}

func (p *Pipeline) plan(r *recipes) ([]Step, error) {
	published, drafts, err := p.stored()
	if err != nil {
		return nil, err
	}
	var steps []Step
	for _, x := range r.all() {
		s := Step{Stage: x.stage, Name: x.name, Key: x.recipe.key}
		a, err := p.store.Lookup(x.recipe.Kind, x.recipe.key)
		switch {
		case err == nil:
			s.State, s.Made = Done, a.Manifest.Created
			if s.Took, err = took(a); err != nil {
				return nil, err
			}
		case !errors.Is(err, storage.ErrNotPublished):
			return nil, err
		case drafts[x.recipe.key] != "":
			if s.State, s.Why, err = p.begun(x.recipe, drafts[x.recipe.key]); err != nil {
				return nil, err
			}
		default:
			s.State, s.Why = Missing, why(x.recipe.Recipe, published[x.recipe.Kind])
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// begun says how far the making of a recipe has come whose draft is in a folder.
func (p *Pipeline) begun(r recipe, dir string) (State, string, error) {
	who, running, err := p.store.Maker(r.Kind, r.key)
	if err != nil {
		return "", "", err
	}
	if running {
		return Running, "by " + who.String(), nil
	}
	return stopped(dir)
}

// stopped says how the last try of the draft in a folder ended.
func stopped(dir string) (State, string, error) {
	r, err := readRecord(filepath.Join(dir, recordName))
	if err != nil {
		return "", "", err
	}
	if r.Failure != "" {
		return Failed, r.Failure, nil
	}
	return Partial, "interrupted", nil
}

// stored lists what the store holds: the recipes of the artefacts by kind, and the
// folders of the drafts by key.
func (p *Pipeline) stored() (published map[string][]storage.Recipe, drafts map[string]string, err error) {
	entries, err := p.store.List()
	if err != nil {
		return nil, nil, err
	}
	published, drafts = map[string][]storage.Recipe{}, map[string]string{}
	for _, e := range entries {
		if e.Draft {
			drafts[e.Key] = e.Dir
			continue
		}
		a, err := p.store.Lookup(e.Kind, e.Key)
		if err != nil {
			return nil, nil, err
		}
		published[e.Kind] = append(published[e.Kind], a.Manifest.Recipe)
	}
	return published, drafts, nil
}

// why says what a recipe changes against the one most like it.
func why(r storage.Recipe, others []storage.Recipe) string {
	var fewest []string
	for _, other := range others {
		if d := differences(other, r); fewest == nil || len(d) < len(fewest) {
			fewest = d
		}
	}
	const shown = 3
	switch {
	case len(others) == 0:
		return "never made"
	case len(fewest) > shown:
		return fmt.Sprintf("%s and %d more changed", strings.Join(fewest[:shown], ", "), len(fewest)-shown)
	}
	return strings.Join(fewest, ", ") + " changed"
}

// differences lists what differs between two recipes, sorted.
func differences(a, b storage.Recipe) []string {
	x, y := flatten(a), flatten(b)
	names := map[string]bool{}
	for _, m := range []map[string]string{x, y} {
		for k := range m {
			if x[k] != y[k] {
				names[k] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// flatten lists the values of a recipe by their dotted names.
func flatten(r storage.Recipe) map[string]string {
	flat := map[string]string{"code": fmt.Sprint(r.Code), "data": r.Data}
	for k, v := range r.Inputs {
		flat["the "+k] = v
	}
	decoder := json.NewDecoder(bytes.NewReader(r.Config))
	decoder.UseNumber()
	var config any
	if decoder.Decode(&config) == nil {
		flattenInto(flat, "", config)
	}
	return flat
}

func flattenInto(flat map[string]string, name string, v any) {
	if object, ok := v.(map[string]any); ok {
		for k, x := range object {
			flattenInto(flat, strings.TrimPrefix(name+"."+strings.ToLower(k), "."), x)
		}
		return
	}
	flat[name] = fmt.Sprint(v)
}
