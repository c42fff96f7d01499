package cyborg

import (
	"fmt"
	"slices"
	"strings"

	"github.com/surrogaze/surrogaze/storage"
)

// Check says what of the data stands against a training of an arm, before any time
// is spent: too few classes to train on, or to select an epoch by.
func (d *Data) Check(cfg Config, arm Arm) error {
	if err := d.check(cfg, newPlan(arm, d.set, cfg.Seed)); err != nil {
		return fmt.Errorf("arm %s: %w", arm, err)
	}
	return nil
}

func (d *Data) check(cfg Config, p *plan) error {
	var train []item
	for row := range p.rows {
		if p.keep(row) {
			train = append(train, item{row: row})
		}
	}
	_, unlabelled := d.labelled(trainSplit)
	of := ""
	if p.arm.small() {
		of = ", samples with a human map"
	}
	if len(d.classesOf(train)) < 2 {
		return storage.Unusable("split %q%s: found %s, want some of at least two classes to train on", trainSplit, of, d.describe(train, unlabelled))
	}
	val, unlabelled := d.labelled(validationSplit)
	if len(d.classesOf(val)) < 2 && cfg.Select != "last" {
		return storage.Unusable("split %q: found %s, want some of at least two classes to select an epoch by %s (or select last)",
			validationSplit, d.describe(val, unlabelled), cfg.Select)
	}
	return nil
}

// CheckJudged says what stands against comparing classifiers on a split: with fewer
// than two classes there is no AUC.
func (d *Data) CheckJudged(split string) error {
	items, unlabelled := d.labelled(split)
	if len(d.classesOf(items)) < 2 {
		return storage.Unusable("split %q: found %s, want some of at least two classes to compare arms by their AUC", split, d.describe(items, unlabelled))
	}
	return nil
}

// classesOf are the labels of labelled samples, each once, rising.
func (d *Data) classesOf(items []item) []int64 {
	var labels []int64
	for _, it := range items {
		labels = append(labels, d.set.Rows()[it.row].Label)
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// describe is what labelled samples of few classes are, in words.
func (d *Data) describe(items []item, unlabelled int) string {
	switch {
	case len(items) > 0:
	case unlabelled > 0:
		return fmt.Sprintf("no labelled samples and %d without a label", unlabelled)
	default:
		return "no labelled samples"
	}
	var names []string
	for _, label := range d.classesOf(items) {
		names = append(names, fmt.Sprintf("%q", d.classes[label]))
	}
	return fmt.Sprintf("%d labelled samples of %s alone", len(items), strings.Join(names, ", "))
}
