package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

// PredictOptions say what Predict runs a model over and what it writes.
type PredictOptions struct {
	Model string // a classifier's or predictor's file, or a folder with one
	// Data are image files, folders of images, Parquet and Arrow files, patterns or
	// folders of these, and folders of save_to_disk.
	Data    []string
	Format  string            // images, parquet, arrow or huggingface; "" is told by each of Data
	Columns map[string]string // the sets' names for columns where they differ
	// To is what is written to Out: "parquet", a file, or "overlays", a folder of PNG
	// files, new or empty.
	To, Out string
	MaxBad  float64 // largest share of unusable rows
	Workers int     // at least 1
	Batch   int     // images a forward pass; 0 is 16
	Device  string
	// Precision is auto, f32, tf32 or bf16.
	Precision string
	Observe   func(Event)
}

// PredictSummary says what Predict has done.
type PredictSummary struct {
	Images int64  // predicted
	Bad    int    // rows that could not be used
	List   string // file that lists them, if there are any
}

func (s PredictSummary) String() string {
	text := fmt.Sprintf("%d images", s.Images)
	if s.Bad > 0 {
		text += fmt.Sprintf("; unusable rows: %d, listed in %s", s.Bad, s.List)
	}
	return text
}

// taskPredict names what Predict does in its events.
const taskPredict Stage = "predict"

// Predict runs a trained model over images, which may be more than memory holds, and
// writes what it says of each. Out appears when all is done or not at all. Rows that
// cannot be used are listed in a file beside it, Out with the ending
// .quarantine.jsonl; a share above MaxBad is a *DataError.
func Predict(ctx context.Context, o PredictOptions) (*PredictSummary, error) {
	if _, err := (predictor.Options{Device: o.Device, Precision: o.Precision}).Ran(); err != nil {
		return nil, configError(err)
	}
	if err := o.checkOut(); err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	m, err := openModel(o.Model)
	if err == nil {
		err = m.differs(o.Out)
	}
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	p := &prediction{PredictOptions: o, model: m, events: newEvents(o.Observe).of(taskPredict)}
	s, err := p.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	return s, nil
}

// checkOut refuses what cannot be written before anything is computed.
func (o PredictOptions) checkOut() error {
	if o.To != "overlays" {
		return checkFile(o.Out)
	}
	entries, err := os.ReadDir(o.Out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return configError(fmt.Errorf("write %q: %w, want a new or an empty folder", o.Out, err))
	case len(entries) > 0:
		return configError(fmt.Errorf("write %q: the folder holds %q: want a new or an empty one", o.Out, entries[0].Name()))
	}
	return nil
}

// checkFile refuses a folder where a file is to be written.
func checkFile(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() || strings.HasSuffix(path, string(filepath.Separator)) {
		return configError(fmt.Errorf("write %q: found a folder, want a file", path))
	}
	return nil
}

// prediction is a model at work on a stream of images.
type prediction struct {
	PredictOptions
	model   *model
	sources []storage.Source
	rows    int64
	classes []string
	bad     *quarantine
	origins origins // of the samples under way
	done    int64
	events  *stageEvents
}

func (p *prediction) run(ctx context.Context) (*PredictSummary, error) {
	if err := p.open(ctx); err != nil {
		return nil, dataError(ctx, err)
	}
	if err := p.differs(); err != nil {
		return nil, err
	}
	p.events.start(fmt.Sprintf("%d images", p.rows))
	list := strings.TrimSuffix(filepath.Clean(p.Out), filepath.Ext(p.Out)) + "." + quarantineName
	if err := p.writeListing(ctx, list); err != nil {
		return nil, err
	}
	s := &PredictSummary{Images: p.done, Bad: p.bad.count(), List: list}
	p.events.end(s.String())
	return s, nil
}

// writeListing writes the predictions, and a list of the rows that cannot be used,
// which stays where it says something: of what was written, or why nothing was.
func (p *prediction) writeListing(ctx context.Context, list string) error {
	if err := os.MkdirAll(filepath.Dir(list), 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(list); err != nil { // of an earlier call
		return err
	}
	rows, err := storage.OpenQuarantine(list)
	if err != nil {
		return err
	}
	p.bad = &quarantine{list: rows, rows: p.rows, share: p.MaxBad, path: list}
	err = errors.Join(p.write(ctx), p.bad.close())
	if unusable := (*DataError)(nil); p.bad.count() == 0 || err != nil && !errors.As(err, &unusable) {
		err = errors.Join(err, os.Remove(list))
	}
	return err
}

// open opens the data. Labels are those of the classifier, else of the first set
// that names classes.
func (p *prediction) open(ctx context.Context) error {
	if p.model.classifier != nil {
		p.classes = p.model.classifier.Classes()
	}
	if err := p.openSources(ctx); err != nil {
		return err
	}
	for _, s := range p.sources {
		p.rows += s.Rows()
	}
	if p.rows == 0 {
		return storage.Unusable("found no images in %q", p.Data)
	}
	return nil
}

// differs refuses to write over what is read.
func (p *prediction) differs() error {
	for _, s := range p.sources {
		reads, err := storage.Reads(s, p.Out)
		if err != nil {
			return err
		}
		if reads {
			return configError(fmt.Errorf("%q is among the data: choose another file", p.Out))
		}
	}
	return nil
}

// openSources opens each of Data, those that are image files and folders of these
// together, so that their ids differ.
func (p *prediction) openSources(ctx context.Context) error {
	formats, images := make([]string, len(p.Data)), []string{}
	for i, path := range p.Data {
		if formats[i] = p.Format; p.Format == "" {
			formats[i] = formatOfImages(path)
		}
		if formats[i] == formatImages {
			images = append(images, path)
		}
	}
	ofImages, err := storage.OpenEachImages(images, p.Workers)
	if err != nil {
		return err
	}
	for i, path := range p.Data {
		if formats[i] == formatImages {
			p.sources, ofImages = append(p.sources, ofImages[0]), ofImages[1:]
			continue
		}
		s, err := storage.OpenFiles(ctx, storage.Files{Format: formats[i], Path: path, Columns: p.Columns, Classes: p.classes, Workers: p.Workers})
		if err != nil {
			return err
		}
		if len(p.classes) == 0 {
			p.classes = s.Schema().Classes
		}
		p.sources = append(p.sources, s)
	}
	return nil
}

// formatImages is the format of image files and folders of these.
const formatImages = "images"

// formatOfImages tells the format of a set of images by its path. A folder without
// images is one of tables; a pattern stands for what it matches first.
func formatOfImages(path string) string {
	if isSaved(path) {
		return "huggingface"
	}
	if format := tableFormat(path); format != "" {
		return format
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if matches, err := filepath.Glob(path); err == nil && len(matches) > 0 {
			return formatOfImages(matches[0])
		}
	}
	if err != nil || !info.IsDir() {
		return formatImages
	}
	table := ""
	images := errors.New("an image")
	err = fs.WalkDir(os.DirFS(path), ".", func(name string, _ fs.DirEntry, err error) error {
		if err == nil && storage.IsImage(name) {
			err = images
		}
		if format := tableFormat(name); format != "" {
			table = format
		}
		return err
	})
	if err != nil || table == "" { // or what the reader of images reports
		return formatImages
	}
	return table
}

func (p *prediction) write(ctx context.Context) error {
	rows := p.predictions(ctx)
	if p.To == "overlays" {
		return storage.WriteOverlays(ctx, p.Out, p.Workers, rows)
	}
	return storage.WritePredictions(p.Out, storage.Predictions{Classified: p.model.classifier != nil, Classes: p.classes}, rows)
}

// predictions are what the model says, without the rows that cannot be used.
func (p *prediction) predictions(ctx context.Context) iter.Seq2[storage.Prediction, error] {
	return func(yield func(storage.Prediction, error) bool) {
		for x, err := range p.judged(ctx) {
			if err != nil && !isSampleError(err) {
				yield(x, err)
				return
			}
			origin := p.origins.next()
			p.events.progress(p.done+int64(p.bad.count()), p.rows, "images", origin.ID)
			if err != nil {
				origin.Err = err
				if err := p.bad.addWithin(ctx, &origin); err != nil {
					yield(x, err)
					return
				}
				continue
			}
			p.done++
			if !yield(x, nil) {
				return
			}
		}
	}
}

// isSampleError reports whether a model could not decode a single image.
func isSampleError(err error) bool {
	var (
		classified *cyborg.SampleError
		predicted  *predictor.SampleError
	)
	return errors.As(err, &classified) || errors.As(err, &predicted)
}

// judged are all samples that the model got, those that it could not decode with an
// error.
func (p *prediction) judged(ctx context.Context) iter.Seq2[storage.Prediction, error] {
	if p.model.classifier != nil {
		return p.classified(ctx)
	}
	return func(yield func(storage.Prediction, error) bool) {
		options := predictor.Options{Workers: p.Workers, Batch: p.Batch, Device: p.Device, Precision: p.Precision}
		for x, err := range p.model.predictor.Annotate(ctx, p.samples(ctx), options) {
			if !yield(storage.Prediction{
				ID: x.Sample.ID, Image: x.Sample.Image, Label: x.Sample.Label, Map: x.Map, Quality: x.Quality,
			}, err) {
				return
			}
		}
	}
}

func (p *prediction) classified(ctx context.Context) iter.Seq2[storage.Prediction, error] {
	return func(yield func(storage.Prediction, error) bool) {
		options := cyborg.Options{Workers: p.Workers, Batch: p.Batch, Device: p.Device, Precision: p.Precision}
		for x, err := range p.model.classifier.Predict(ctx, p.samples(ctx), options) {
			if !yield(storage.Prediction{
				ID: x.Sample.ID, Image: x.Sample.Image, Label: x.Sample.Label, Map: x.CAM, Quality: storage.NoQuality(),
				Class: int64(x.Class), Scores: x.Scores, Logits: x.Logits,
			}, err) {
				return
			}
		}
	}
}

// samples are those of all sources. Rows that cannot be used are listed.
func (p *prediction) samples(ctx context.Context) iter.Seq2[storage.Sample, error] {
	return func(yield func(storage.Sample, error) bool) {
		for _, source := range p.sources {
			row := int64(-1)
			for s, err := range source.Samples(ctx, 0) {
				row++
				if bad := (*storage.RowError)(nil); errors.As(err, &bad) {
					if err = p.bad.addWithin(ctx, bad); err == nil {
						continue
					}
				}
				if err != nil {
					yield(storage.Sample{}, dataError(ctx, err))
					return
				}
				p.origins.add(storage.RowError{Source: source.Name(), Row: row, ID: s.ID})
				if !yield(s, nil) {
					return
				}
			}
		}
	}
}
