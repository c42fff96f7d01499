package pipeline

import (
	"fmt"
	"slices"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/storage"
)

// openImages opens a data set for the classifiers, if its splits let the arms be
// trained and, where a run goes so far, compared.
func (p *Pipeline) openImages(set *storage.Dataset, arms []string, last Stage) (*cyborg.Data, error) {
	cfg := p.classifierConfig(1)
	images, err := cyborg.OpenData(set, cfg, imageBudget())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", StageTrain, err)
	}
	for _, arm := range arms {
		if err := images.Check(cfg, cyborg.Arm(arm)); err != nil {
			return nil, fmt.Errorf("%s: %w", StageTrain, err)
		}
	}
	if last != StageTrain {
		if err := images.CheckJudged(p.cfg.Evaluate.Split); err != nil {
			return nil, fmt.Errorf("%s: %w", StageEvaluate, err)
		}
	}
	return images, nil
}

// foresee finds what in the splits of the annotated set stands against the run,
// before time is spent, if no other sets come to it.
func (p *Pipeline) foresee(in *annotated, last Stage) error {
	before := []Stage{StageIngest, StageFit, StageAnnotate}
	if slices.Contains(before, last) || len(p.cfg.Data.Unannotated) > 0 {
		return nil
	}
	_, err := p.openImages(in.set, []string{string(cyborg.None)}, last)
	return err
}

// labelled reports whether a split has labelled samples.
func (a *annotatedData) labelled(split string) bool {
	return slices.ContainsFunc(a.set.Rows(), func(r storage.Row) bool {
		return r.Split == split && r.Label != storage.NoLabel
	})
}

// absent are the classes of which a split has no sample.
func (a *annotatedData) absent(split string) []string {
	var names []string
	for label, name := range a.set.Classes() {
		if !slices.ContainsFunc(a.set.Rows(), func(r storage.Row) bool { return r.Split == split && r.Label == int64(label) }) {
			names = append(names, name)
		}
	}
	return names
}

// gaps says of every split that has labelled samples which classes it has none of.
func (a *annotatedData) gaps() []string {
	var list []string
	for _, split := range []string{splitTrain, splitVal, splitTest} {
		if names := a.absent(split); len(names) > 0 && a.labelled(split) {
			list = append(list, fmt.Sprintf("the %s split has no sample of %q", split, names))
		}
	}
	return list
}
