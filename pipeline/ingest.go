package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

// annotated is what the ingest stage leaves: the samples of the annotated set, and
// which of their human maps may be used.
type annotated struct {
	source     string // name of the set
	quarantine string // path of the list of its unusable rows
	set        *storage.Dataset
	chosen     map[string]bool // ids whose human map may be used
	Summary
}

// Files of the artefacts that hold data sets.
const (
	datasetFolder  = "dataset"
	quarantineName = "quarantine.jsonl"
	summaryName    = "summary.json"
)

// layout cuts the pipeline's data sets into row groups that many readers can hold
// at a time, and files of a size that is handy to copy.
var layout = storage.Layout{RowGroupBytes: 16 << 20, ShardBytes: 256 << 20}

// openAnnotated opens the annotated set as it is given.
func (p *Pipeline) openAnnotated() (storage.Source, error) {
	a, classes := p.cfg.Data.Annotated, p.cfg.Data.Classes
	switch a.Format {
	case "cyborg-csv":
		return storage.OpenCYBORG(storage.CYBORG{
			Root: p.root, Images: a.Images, Labels: a.Labels, Tests: a.Tests, Maps: a.Maps, MapSuffix: a.MapSuffix,
			Classes: classes, Workers: p.workers,
		})
	case "egd-cxr":
		return storage.OpenEGDCXR(storage.EGDCXR{
			Root: p.root, Images: a.Images, Cases: a.Labels, Fixations: a.Maps, Classes: classes, Workers: p.workers,
		})
	case "nih-chest-xray":
		return storage.OpenNIHChestXray(storage.NIHChestXray{
			Root: p.root, Images: a.Images, Entries: a.Labels, Boxes: a.Maps, Classes: classes, Workers: p.workers,
		})
	}
	return storage.OpenFolder(storage.Folder{
		Root: p.root, Images: a.Images, Labels: a.Labels, Maps: a.Maps, Classes: classes, Workers: p.workers,
	})
}

func (p *Pipeline) annotatedFingerprint(ctx context.Context) (string, error) {
	source, err := p.openAnnotated()
	if err != nil {
		return "", located(err, "data.root", p.root)
	}
	return source.Fingerprint(ctx)
}

// located adds to an error about a file that is not there where a path of the
// configuration leads from the current folder.
func located(err error, key, path string) error {
	if filepath.IsAbs(path) || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	full, absErr := filepath.Abs(path)
	if absErr != nil {
		return errors.Join(err, absErr)
	}
	return fmt.Errorf("%w (%s %q is %q, relative to the current folder and not to the configuration file)", err, key, path, full)
}

// openSources opens the unannotated sets.
func (p *Pipeline) openSources(ctx context.Context) ([]storage.Source, error) {
	var sources []storage.Source
	for _, c := range p.cfg.Data.Unannotated {
		path, below := c.Path, !filepath.IsAbs(c.Path)
		if below {
			path = filepath.Join(p.root, path)
		}
		s, err := storage.OpenFiles(ctx, storage.Files{
			Format: c.Format, Path: path, Columns: c.Columns, Classes: p.cfg.Data.Classes, Workers: p.workers,
		})
		if err != nil {
			if below {
				err = located(err, "data.root", p.root)
			}
			return nil, err
		}
		sources = append(sources, s)
	}
	return sources, nil
}

func (p *Pipeline) sourcesFingerprint(ctx context.Context) (string, error) {
	sources, err := p.openSources(ctx)
	if err != nil || len(sources) == 0 {
		return "", err
	}
	h := sha256.New()
	for _, s := range sources {
		sum, err := s.Fingerprint(ctx)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, sum)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// pretrainedFingerprint is the hash of the weights file that classifiers start from. It
// reads them all: that they do not fit shows here, before any stage took its time.
func (p *Pipeline) pretrainedFingerprint() (string, error) {
	if p.fromOwnEncoder() {
		return "", nil
	}
	pretrained, err := cyborg.ReadPretrained(p.classifierConfig(1), len(p.cfg.Data.Classes))
	if err != nil || pretrained == nil {
		return "", located(err, "classifier.pretrained", p.cfg.Classifier.Pretrained)
	}
	return pretrained.SHA256, nil
}

// encoderFingerprint is the same of the weights that the predictor's encoder starts
// from.
func (p *Pipeline) encoderFingerprint() (string, error) {
	pretrained, err := predictor.ReadPretrained(p.fitConfig())
	if err != nil || pretrained == nil {
		return "", located(err, "predictor.pretrained", p.cfg.Predictor.Pretrained)
	}
	return pretrained.SHA256, nil
}

// ingest reads and checks the annotated set.
func (p *Pipeline) ingest(ctx context.Context, r recipe) (*annotated, error) {
	events := p.events.of(StageIngest)
	a, err := p.artefact(ctx, r, func(d draft) error {
		return p.makeAnnotated(ctx, d, events)
	})
	if err != nil {
		return nil, err
	}
	set, err := storage.Open(a.Path(datasetFolder))
	if err != nil {
		return nil, err
	}
	in := &annotated{
		source: filepath.Join(p.root, p.cfg.Data.Annotated.Labels), quarantine: a.Path(quarantineName),
		set: set, Summary: summarise(set),
	}
	var left ingested
	if err := readJSON(a.Path(summaryName), &left); err != nil {
		return nil, err
	}
	in.Excluded, in.Blank = left.Excluded, left.Blank
	in.chosen = chooseByClass(candidates(set), p.cfg.Data.Annotated.HumanMaps, p.cfg.Seed)
	left.warn(events)
	p.warnOfAnnotated(in, events)
	err = errors.Join(p.writeConfig(), p.writeQuarantine(in.quarantine), p.checkUnusable(ctx, in.quarantine, in.Samples))
	if err != nil {
		return nil, err
	}
	events.end(in.describe())
	return in, nil
}

// warnOfAnnotated says what of the set is likely not to be meant.
func (p *Pipeline) warnOfAnnotated(in *annotated, events *stageEvents) {
	p.warnOfTornGroups(in.set, nil, events)
	events.warnOfStrays(in.set, "")
	if in.guiding() == 0 && len(in.chosen) > 0 && slices.Contains(p.cfg.Train.Arms, string(cyborg.Human)) {
		events.warn("no human map is of the split train: the arm human trains as none does")
	}
}

// describe says how many human maps there are, and are used.
func (a *annotated) describe() string {
	text := fmt.Sprintf("%d samples, %d with a human map, %d of these to be used", a.Samples, a.Human, len(a.chosen))
	if beside := len(a.chosen) - a.guiding(); beside > 0 {
		text += fmt.Sprintf(", %d of them in val, where they guide no classifier", beside)
	}
	return text
}

// guiding is the number of human maps to be used that guide classifiers.
func (a *annotated) guiding() int {
	return len(a.rows(func(r storage.Row) bool { return a.chosen[r.ID] && r.Split == splitTrain }))
}

// candidates are the samples whose human maps may be used: those that test
// classifiers never are.
func candidates(set *storage.Dataset) []candidate {
	var list []candidate
	for _, r := range set.Rows() {
		if r.HasMap && (r.Split == splitTrain || r.Split == splitVal) {
			list = append(list, candidate{r.ID, r.Label})
		}
	}
	return list
}

func (p *Pipeline) makeAnnotated(ctx context.Context, d draft, events *stageEvents) error {
	source, err := p.openAnnotated()
	if err != nil {
		return dataError(ctx, err)
	}
	events.start(fmt.Sprintf("%d samples of %q", source.Rows(), source.Name()))
	for _, name := range []string{datasetFolder, quarantineName} { // of an interrupted try
		if err := os.RemoveAll(d.Path(name)); err != nil {
			return err
		}
	}
	w, err := storage.CreateWith(d.Path(datasetFolder), storage.Schema{Classes: source.Schema().Classes}, layout)
	if err != nil {
		return err
	}
	bad, err := p.openQuarantine(d, source.Rows())
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	left, err := p.writeAnnotated(ctx, source, w, bad, events)
	if err = errors.Join(err, bad.close()); err != nil {
		return errors.Join(p.withQuarantine(err, d.Path(quarantineName)), w.Abort())
	}
	if err := w.Close(); err != nil {
		return err
	}
	left.Excluded = bad.excluded()
	return writeJSON(d.Path(summaryName), left)
}

// ingested is what ingest leaves beside the samples.
type ingested struct {
	Excluded []Excluded `json:"excluded,omitempty"`
	Blank    int        `json:"blank,omitempty"` // human maps
	Dim      int        `json:"dim,omitempty"`   // images
}

// warn says what is likely not to be meant.
func (i ingested) warn(events *stageEvents) {
	if i.Blank > 0 {
		events.warn(fmt.Sprintf("%d human maps have one value everywhere: they say nothing about where to look, and count as none", i.Blank))
	}
	if i.Dim > 0 {
		events.warn(fmt.Sprintf("%d images have 16 bits and values below 8192 alone: 8 bits are kept, in which they are nearly black; scale them up to 65535 first", i.Dim))
	}
}

// writeAnnotated copies the samples that can be used, without blank maps.
func (p *Pipeline) writeAnnotated(ctx context.Context, source storage.Source, w *storage.Writer, bad *quarantine, events *stageEvents) (left ingested, err error) {
	split := p.splitter(splitsOfGroups(source))
	var n int64
	for s, err := range source.Samples(ctx, 0) {
		n++
		events.progress(n, source.Rows(), "samples", s.ID)
		if row := (*storage.RowError)(nil); errors.As(err, &row) {
			if err := bad.add(row); err != nil {
				return left, err
			}
			continue
		}
		if err != nil {
			return left, dataError(ctx, err)
		}
		if s.Split == "" {
			s.Split = split.of(s.ID, s.Group)
		}
		if s.Saliency.Blank() {
			s.Saliency, s.SaliencySource = storage.Encoded{}, ""
			left.Blank++
		}
		if s.Image.Dim() {
			left.Dim++
		}
		if err := w.Append(s); err != nil {
			return left, err
		}
	}
	return left, errors.Join(ctx.Err(), bad.check(ctx, true))
}

// splitsOfGroups are those that a source knows before it is read.
func splitsOfGroups(source storage.Source) map[string]string {
	if s, knows := source.(interface{ SplitsOfGroups() map[string]string }); knows {
		return s.SplitsOfGroups()
	}
	return nil
}

// splitsOfGroups are the splits of the annotated set's groups.
func (a *annotated) splitsOfGroups() map[string]string {
	splits := map[string]string{}
	for _, r := range a.set.Rows() {
		splits[r.Group] = r.Split
	}
	return splits
}

// rows are the indices of the samples for which keep reports true.
func (a *annotated) rows(keep func(storage.Row) bool) []int {
	var rows []int
	for i, r := range a.set.Rows() {
		if keep(r) {
			rows = append(rows, i)
		}
	}
	return rows
}

// samples reads the samples with a human map that may be used, or those with one that
// may not.
func (a *annotated) samples(ctx context.Context, usable bool) ([]storage.Sample, error) {
	rows := a.rows(func(r storage.Row) bool { return r.HasMap && a.chosen[r.ID] == usable })
	var samples []storage.Sample
	for s, err := range a.set.Read(ctx, rows) {
		if err != nil {
			return nil, err
		}
		samples = append(samples, s)
	}
	return samples, nil
}

// examples are the same for a predictor.
func (a *annotated) examples(ctx context.Context, usable bool) ([]predictor.Example, error) {
	samples, err := a.samples(ctx, usable)
	return examplesOf(samples), err
}

func examplesOf(samples []storage.Sample) []predictor.Example {
	examples := make([]predictor.Example, len(samples))
	for i, s := range samples {
		examples[i] = predictor.Example{ID: s.ID, Group: s.Group, Image: s.Image, Map: s.Saliency}
	}
	return examples
}
