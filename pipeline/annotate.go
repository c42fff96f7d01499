package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"sync"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

// annotatedData is what the annotate stage leaves: all samples, each with a map.
type annotatedData struct {
	set *storage.Dataset
	Summary
}

// annotate draws a map for every sample that has no human map to be used.
func (p *Pipeline) annotate(ctx context.Context, r recipe, in *annotated, f *fitted) (*annotatedData, error) {
	events := p.events.of(StageAnnotate)
	a, err := p.artefact(ctx, r, func(d draft) error {
		return p.makeDataset(ctx, d, in, f, events)
	})
	if err != nil {
		return nil, err
	}
	set, err := storage.Open(a.Path(datasetFolder))
	if err != nil {
		return nil, err
	}
	events.warnOfStrays(set, strays(in.set))
	data := &annotatedData{set: set, Summary: summarise(set)}
	if err := readJSON(a.Path(summaryName), &data.Excluded); err != nil {
		return nil, err
	}
	p.warnOfTornGroups(set, in.set.TornGroups(), events)
	data.Excluded, data.Blank = joinExcluded(in.Excluded, data.Excluded), in.Blank
	if err := p.place(a.Path(datasetFolder, dataName), dataName); err != nil {
		return nil, err
	}
	err = errors.Join(p.writeQuarantine(in.quarantine, a.Path(quarantineName)), p.checkUnusable(ctx, a.Path(quarantineName), data.Samples))
	if err != nil {
		return nil, err
	}
	events.end(data.Summary.String())
	return data, nil
}

func (p *Pipeline) makeDataset(ctx context.Context, d draft, in *annotated, f *fitted, events *stageEvents) error {
	sources, err := p.openSources(ctx)
	if err != nil {
		return dataError(ctx, err)
	}
	rows := int64(len(in.set.Rows()))
	for _, s := range sources {
		rows += s.Rows()
	}
	events.start(fmt.Sprintf("%d samples", rows))
	schema := storage.Schema{Classes: in.set.Classes(), References: true, Predictions: true}
	if schema.Extra, err = joinExtra(sources); err != nil {
		return dataError(ctx, err)
	}
	for _, s := range sources {
		for _, column := range s.LeftOut() {
			events.warn(fmt.Sprintf("%q: left out: %s", s.Name(), column))
		}
	}
	if err := d.know(in.source, sources); err != nil {
		return err
	}
	bad, err := p.openQuarantine(d, rows)
	if err != nil {
		return err
	}
	a := &annotation{
		annotator: f.annotator, name: p.cfg.Annotate.Annotator, key: f.artefact.Manifest.Key,
		options: p.predictOptions(), bad: bad, total: rows, events: events,
	}
	split := p.splitter(in.splitsOfGroups())
	a.split = func(s storage.Sample) string { return split.of(s.ID, s.Group) }
	known, err := p.humanSamples(ctx, in, f)
	if err == nil {
		others := stream{in.source, p.otherSamples(ctx, in)}
		err = a.write(ctx, d.Path(datasetFolder), schema, known, append([]stream{others}, streams(ctx, sources, schema)...))
	}
	if err := errors.Join(err, bad.close()); err != nil {
		return p.withQuarantine(err, in.quarantine, d.Path(quarantineName))
	}
	return writeJSON(d.Path(summaryName), bad.excluded())
}

// know takes down by which names the list of unusable rows knows the sets. A draft that
// has listed rows by others would count them anew, and begins again.
func (d draft) know(annotated string, sources []storage.Source) error {
	names := []string{annotated}
	for _, s := range sources {
		names = append(names, s.Name())
	}
	info, err := os.Stat(d.Path(quarantineName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && info.Size() > 0 && !slices.Equal(d.Sources, names) {
		if err := errors.Join(os.RemoveAll(d.Path(datasetFolder)), os.RemoveAll(d.Path(quarantineName))); err != nil {
			return err
		}
	}
	d.Sources = names
	return d.save()
}

// humanSamples are the samples whose human maps are used, each with the map that
// was predicted out of fold.
func (p *Pipeline) humanSamples(ctx context.Context, in *annotated, f *fitted) (iter.Seq2[storage.Sample, error], error) {
	predicted := map[string]storage.Encoded{}
	for s, err := range f.heldOut.All(ctx) {
		if err != nil {
			return nil, err
		}
		predicted[s.ID] = s.Saliency
	}
	rows := in.rows(func(r storage.Row) bool { return in.chosen[r.ID] })
	return func(yield func(storage.Sample, error) bool) {
		for s, err := range in.set.Read(ctx, rows) {
			s.Predicted = predicted[s.ID]
			if !yield(s, err) {
				return
			}
		}
	}, nil
}

// otherSamples are the samples of the annotated set that get a predicted map; a
// human map that they have becomes the reference.
func (p *Pipeline) otherSamples(ctx context.Context, in *annotated) iter.Seq2[storage.Sample, error] {
	rows := in.rows(func(r storage.Row) bool { return !in.chosen[r.ID] })
	return func(yield func(storage.Sample, error) bool) {
		for s, err := range in.set.Read(ctx, rows) {
			s.Reference, s.Saliency = s.Saliency, storage.Encoded{}
			s.SaliencySource = ""
			if !yield(s, err) {
				return
			}
		}
	}
}

// stream is a named row of samples; its n-th pair is of row n.
type stream struct {
	name    string
	samples iter.Seq2[storage.Sample, error]
}

// streams are the sources' samples with the extra columns of a joint schema. Sources of
// one name get others, as their rows are known by them.
func streams(ctx context.Context, sources []storage.Source, schema storage.Schema) []stream {
	var list []stream
	named := map[string]int{}
	for _, source := range sources {
		name := source.Name()
		if named[name]++; named[name] > 1 {
			name = fmt.Sprintf("%s (%d)", name, named[name])
		}
		places := extraPlaces(source.Schema().Extra, schema.Extra)
		list = append(list, stream{name, func(yield func(storage.Sample, error) bool) {
			for s, err := range source.Samples(ctx, 0) {
				s.Extra = arrange(s.Extra, places, len(schema.Extra))
				if !yield(s, err) {
					return
				}
			}
		}})
	}
	return list
}

// annotation draws maps for streams of samples and writes the data set.
type annotation struct {
	annotator annotator
	name      string // of the annotator, the source of the maps
	key       string // of its model
	options   predictor.Options
	split     func(storage.Sample) string // for samples that come without
	bad       *quarantine
	total     int64 // rows of all streams and of the known samples
	events    *stageEvents

	skip  map[string]int // samples of each split that an interrupted try has written
	count int64          // samples looked at

	origins origins // of the samples under way
}

// write continues the data set in dir: the known samples as they are, then those
// of the streams with a predicted map.
func (a *annotation) write(ctx context.Context, dir string, schema storage.Schema, known iter.Seq2[storage.Sample, error], in []stream) error {
	w, err := storage.Continue(dir, schema, layout)
	if err != nil {
		return err
	}
	a.skip = w.Done()
	if err := a.append(ctx, w, known, in); err != nil {
		return errors.Join(err, w.Suspend())
	}
	return w.Close()
}

func (a *annotation) append(ctx context.Context, w *storage.Writer, known iter.Seq2[storage.Sample, error], in []stream) error {
	for s, err := range known {
		if err != nil {
			return err
		}
		if a.written(s.Split) {
			continue
		}
		if err := w.Append(s); err != nil {
			return err
		}
	}
	for x, err := range a.annotator.Annotate(ctx, a.samples(ctx, in), a.options) {
		if err := a.take(ctx, w, x, err); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// take appends a predicted map's sample. One that was not drawn or cannot be
// appended goes to quarantine.
func (a *annotation) take(ctx context.Context, w *storage.Writer, x predictor.Prediction, err error) error {
	if err != nil && !ofSample(err) {
		return err
	}
	origin := a.origins.next()
	if err == nil {
		s := x.Sample
		s.Saliency, s.SaliencyQuality = x.Map, x.Quality
		s.SaliencySource, s.SaliencyModel = a.name, a.key
		if err = w.Append(s); !errors.Is(err, storage.ErrDuplicateID) {
			return err
		}
	}
	origin.Err = err
	return a.bad.addWithin(ctx, &origin)
}

// ofSample reports whether an error is one of a single sample, which is left out.
func ofSample(err error) bool {
	var (
		predicted *predictor.SampleError
		taught    *cyborg.SampleError
	)
	return errors.As(err, &predicted) || errors.As(err, &taught)
}

// written reports whether a sample of a split was written by an earlier try, and
// counts it.
func (a *annotation) written(split string) bool {
	a.count++
	if a.skip[split] == 0 {
		return false
	}
	a.skip[split]--
	return true
}

// samples are those that are to be annotated. Unusable rows go to quarantine, and
// what is there already is passed over.
func (a *annotation) samples(ctx context.Context, in []stream) iter.Seq2[storage.Sample, error] {
	return func(yield func(storage.Sample, error) bool) {
		for _, source := range in {
			row := int64(-1)
			for s, err := range source.samples {
				row++
				a.events.progress(a.count, a.total, "samples", "")
				if a.bad.has(source.name, row) {
					continue
				}
				if bad := (*storage.RowError)(nil); errors.As(err, &bad) {
					if err := a.bad.addWithin(ctx, bad); err != nil {
						yield(storage.Sample{}, err)
						return
					}
					continue
				}
				if err != nil {
					yield(storage.Sample{}, dataError(ctx, err))
					return
				}
				if s.Split == "" {
					s.Split = a.split(s)
				}
				if a.written(s.Split) {
					continue
				}
				a.origins.add(storage.RowError{Source: source.name, Row: row, ID: s.ID})
				if !yield(s, nil) {
					return
				}
			}
		}
	}
}

// origins are where samples come from that a model works on, in their order. They are
// safe for concurrent use.
type origins struct {
	mutex sync.Mutex
	list  []storage.RowError
}

func (o *origins) add(origin storage.RowError) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.list = append(o.list, origin)
}

// next takes the origin of the sample that comes out of the model next.
func (o *origins) next() storage.RowError {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	origin := o.list[0]
	o.list = o.list[1:]
	return origin
}
