package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/storage"
)

// openImages opens a data set for the classifiers, if its splits let the arms be
// trained and, where a run goes so far, compared.
func (p *Pipeline) openImages(set *storage.Dataset, arms []string, last Stage) (*cyborg.Data, error) {
	images, err := p.openSplits(set, arms, last)
	return images, withStrays(err, set)
}

func (p *Pipeline) openSplits(set *storage.Dataset, arms []string, last Stage) (*cyborg.Data, error) {
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

// foresee finds what in the annotated set stands against training, before time is
// spent: in its splits, if no other sets come to it, an error, in its maps a warning.
func (p *Pipeline) foresee(ctx context.Context, in *annotated, last Stage) error {
	before := []Stage{StageIngest, StageFit, StageAnnotate}
	if slices.Contains(before, last) {
		return nil
	}
	if len(p.cfg.Data.Unannotated) == 0 {
		if _, err := p.openImages(in.set, []string{string(cyborg.None)}, last); err != nil {
			return err
		}
	}
	if err := p.warnOfSmallRegions(ctx, in); err != nil {
		return fmt.Errorf("%s: %w", StageTrain, err)
	}
	return nil
}

// warnOfSmallRegions says where people marked less than a class activation map can show.
func (p *Pipeline) warnOfSmallRegions(ctx context.Context, in *annotated) error {
	cfg := p.classifierConfig(p.workers)
	if !slices.ContainsFunc(p.cfg.Train.Arms, func(arm string) bool { return cfg.Guides(cyborg.Arm(arm)) }) {
		return nil
	}
	const noCache = 0
	images, err := cyborg.OpenData(in.set, cfg, noCache)
	if err != nil {
		return err
	}
	r, err := images.Regions(ctx, cfg)
	if err != nil {
		return err
	}
	if r.Maps > 0 && r.Cells < 1 {
		p.events.of(StageTrain).warn(fmt.Sprintf(
			"the regions that people marked are small: the median of %d human maps covers %.2g of a cell of the classifier's class activation map (%dx%d cells of %.3g pixels), "+
				"and guidance cannot tell places within a cell apart; a larger classifier.size, or a network with a finer map, helps",
			r.Maps, r.Cells, r.Grid, r.Grid, float64(cfg.Size)/float64(r.Grid)))
	}
	return nil
}

// strays says how many samples are in splits that nobody looks at, "" where there are
// none: a word that is no name of a split is more likely a mistake than a wish.
func strays(set *storage.Dataset) string {
	counts, n := map[string]int{}, 0
	for _, r := range set.Rows() {
		if r.Split != splitTrain && r.Split != splitVal && r.Split != splitTest {
			counts[r.Split]++
			n++
		}
	}
	var words []string
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%q (%d)", word, counts[word]))
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d samples take no part, as their split is %s: want train, val or test", n, strings.Join(words, ", "))
}

// withStrays adds to an error of the data which samples of the set take no part in it.
func withStrays(err error, set *storage.Dataset) error {
	text := strays(set)
	if data := (*DataError)(nil); text == "" || !errors.As(err, &data) {
		return err
	}
	return fmt.Errorf("%w; %s", err, text)
}

// warnOfStrays says the same of a stage's set as a warning, if the stage before it has
// not.
func (s *stageEvents) warnOfStrays(set *storage.Dataset, said string) {
	if text := strays(set); text != said {
		s.warn(text)
	}
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
