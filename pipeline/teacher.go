package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/report"
	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

// teacher draws maps with classifiers and estimates their quality.
type teacher struct {
	*cyborg.Teacher
	calibration *predictor.Calibration
}

// Annotate is that of a predictor.Model.
func (t teacher) Annotate(ctx context.Context, in iter.Seq2[storage.Sample, error], o predictor.Options) iter.Seq2[predictor.Prediction, error] {
	return func(yield func(predictor.Prediction, error) bool) {
		for a, err := range t.Teacher.Annotate(ctx, in, cyborg.Options(o)) {
			x := predictor.Prediction{Sample: a.Sample, Map: a.Map, Quality: storage.NoQuality()}
			if err == nil {
				x.Quality, err = t.calibration.Quality(a.Map)
			}
			if !yield(x, err) {
				return
			}
		}
	}
}

// calibrationName is the file of a teacher's artefact that tells the quality of its
// maps, beside those of a predictor's.
const calibrationName = "calibration.json"

// teacherName is the file of one classifier of a teacher.
func teacherName(member int) string { return "teacher-" + strconv.Itoa(member) + ".safetensors" }

// newTeacher draws with classifiers as the configuration says.
func (p *Pipeline) newTeacher(models []*cyborg.Model) (*cyborg.Teacher, error) {
	return cyborg.NewTeacher(models, p.riseConfig(), p.cfg.Annotate.Mirror)
}

// openTeacher reads what makeTeacher left, and lays the classifiers out.
func (p *Pipeline) openTeacher(a *storage.Artefact) (*fitted, error) {
	models := make([]*cyborg.Model, p.cfg.Annotate.Ensemble)
	for i := range models {
		var err error
		if models[i], err = cyborg.LoadModel(a.Path(teacherName(i))); err != nil {
			return nil, err
		}
		if err := p.place(a.Path(teacherName(i)), "models", teacherName(i)); err != nil {
			return nil, err
		}
	}
	t, err := p.newTeacher(models)
	if err != nil {
		return nil, err
	}
	calibration := new(predictor.Calibration)
	if err := readJSON(a.Path(calibrationName), calibration); err != nil {
		return nil, err
	}
	s := models[0].Summary()
	return &fitted{annotator: teacher{t, calibration}, pretrained: s.Pretrained, course: report.Predictor{Train: s.Mapped}}, nil
}

// makeTeacher trains classifiers on the annotated images alone, with the maps of all
// and of all folds but one, and judges what they draw of the others.
func (p *Pipeline) makeTeacher(ctx context.Context, d draft, in *annotated, events *stageEvents) error {
	samples, err := in.samples(ctx, true)
	if err != nil {
		return err
	}
	if len(samples) == 0 {
		return dataError(ctx, errNoMaps)
	}
	judge, err := predictor.NewJudge(ctx, p.fitConfig(), examplesOf(samples))
	if err != nil {
		return err
	}
	c := &class{p: p, d: d, in: in, events: events, samples: samples, of: judge.Folds()}
	teachers, err := c.train(ctx)
	if err != nil {
		return err
	}
	maps, err := c.drawHeldOut(ctx, teachers)
	if err != nil {
		return err
	}
	folds, err := judge.OutOfFold(maps)
	if err != nil {
		return err
	}
	scores := PredictorScores{OutOfFold: &folds.Report, Torn: folds.Torn}
	all := teachers[len(teachers)-1]
	if scores.Reference, err = p.judgeReferences(ctx, judge, all, folds.Calibration(), in); err != nil {
		return err
	}
	if err := writeJSON(d.Path(calibrationName), folds.Calibration()); err != nil {
		return err
	}
	if err := p.writeFitted(d, in, examplesOf(samples), folds, scores); err != nil {
		return err
	}
	return os.RemoveAll(d.Path(checkpointsName))
}

// judgeReferences compares a teacher with the human maps kept from training.
func (p *Pipeline) judgeReferences(ctx context.Context, judge *predictor.Judge, t *cyborg.Teacher, c *predictor.Calibration, in *annotated) (*predictor.Report, error) {
	samples, err := in.samples(ctx, false)
	if err != nil || len(samples) == 0 {
		return nil, err
	}
	maps, err := p.drawMaps(ctx, t, samples)
	if err != nil {
		return nil, err
	}
	return judge.Score(ctx, examplesOf(samples), maps, c)
}

// drawMaps draws the map of every sample.
func (p *Pipeline) drawMaps(ctx context.Context, t *cyborg.Teacher, samples []storage.Sample) ([]storage.Encoded, error) {
	var maps []storage.Encoded
	for a, err := range t.Annotate(ctx, each(samples), cyborg.Options(p.predictOptions())) {
		if err != nil {
			return nil, err
		}
		maps = append(maps, a.Map)
	}
	return maps, nil
}

// each is a stream of samples in memory.
func each(samples []storage.Sample) iter.Seq2[storage.Sample, error] {
	return func(yield func(storage.Sample, error) bool) {
		for _, s := range samples {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// class is the training of teachers: one for each fold, which does not see the maps of
// the fold, and one of all maps, each of as many classifiers as the ensemble has.
type class struct {
	p       *Pipeline
	d       draft
	in      *annotated
	events  *stageEvents
	samples []storage.Sample // with the human maps that may be used
	of      []int            // fold of each sample
}

// folds is the number of folds.
func (c *class) folds() int { return slices.Max(c.of) + 1 }

// train returns the teachers in the order of the folds, the one of all maps last.
func (c *class) train(ctx context.Context) ([]*cyborg.Teacher, error) {
	members, n := c.p.cfg.Annotate.Ensemble, c.folds()+1
	c.events.start(fmt.Sprintf("%d human maps, %d epochs, once for all and once for each of %d folds", len(c.samples), c.p.cfg.Train.Epochs, c.folds()))
	abreast, workers := c.p.abreast(n * members)
	progress := newTeacherProgress(c, n*members)
	models := make([][]*cyborg.Model, n)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(abreast)
	for fold := range n {
		images, err := c.open(ctx, fold, imageBudget()/int64(n))
		if err != nil {
			return nil, errors.Join(err, group.Wait())
		}
		models[fold] = make([]*cyborg.Model, members)
		for member := range members {
			group.Go(func() (err error) {
				models[fold][member], err = c.classifier(groupCtx, images, fold, member, workers, progress)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	teachers := make([]*cyborg.Teacher, n)
	for fold := range teachers {
		var err error
		if teachers[fold], err = c.p.newTeacher(models[fold]); err != nil {
			return nil, err
		}
	}
	return teachers, nil
}

// dir is where the training of a fold's teacher keeps what it needs.
func (c *class) dir(fold int) string {
	if fold == c.folds() {
		return c.d.Path(checkpointsName, "all")
	}
	return c.d.Path(checkpointsName, "fold-"+strconv.Itoa(fold))
}

// open writes the data set that the teacher of a fold learns from and makes it ready:
// the annotated training images of the other folds with their human maps, and the
// validation images without.
func (c *class) open(ctx context.Context, fold int, budget int64) (*cyborg.Data, error) {
	dir := filepath.Join(c.dir(fold), datasetFolder)
	if err := os.RemoveAll(dir); err != nil { // of an earlier, interrupted try
		return nil, err
	}
	w, err := storage.CreateWith(dir, storage.Schema{Classes: c.in.set.Classes()}, layout)
	if err != nil {
		return nil, err
	}
	if err := c.write(ctx, w, fold); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	set, err := storage.Open(dir)
	if err != nil {
		return nil, err
	}
	return cyborg.OpenData(set, c.p.classifierConfig(1), budget)
}

func (c *class) write(ctx context.Context, w *storage.Writer, fold int) error {
	for i, s := range c.samples {
		if c.of[i] == fold || s.Split != splitTrain {
			continue
		}
		if err := w.Append(s); err != nil {
			return err
		}
	}
	for s, err := range c.in.set.Read(ctx, c.in.rows(func(r storage.Row) bool { return r.Split == splitVal })) {
		if err != nil {
			return err
		}
		s.Saliency, s.SaliencySource = storage.Encoded{}, ""
		if err := w.Append(s); err != nil {
			return err
		}
	}
	return nil
}

// classifier trains one classifier of a fold's teacher, unless an earlier try has
// finished it. That of all maps stays in the artefact.
func (c *class) classifier(ctx context.Context, images *cyborg.Data, fold, member, workers int, progress *teacherProgress) (*cyborg.Model, error) {
	path := filepath.Join(c.dir(fold), teacherName(member))
	if fold == c.folds() {
		path = c.d.Path(teacherName(member))
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return cyborg.LoadModel(path)
	}
	m, err := cyborg.Train(ctx, c.p.classifierConfig(workers), images, cyborg.HumanSmall, member,
		filepath.Join(c.dir(fold), "member-"+strconv.Itoa(member)), func(x cyborg.Progress) { progress.tell(fold, x) })
	if err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	return m, m.Save(path)
}

// drawHeldOut draws the map of every sample by the teacher that has not seen it.
func (c *class) drawHeldOut(ctx context.Context, teachers []*cyborg.Teacher) ([]storage.Encoded, error) {
	maps := make([]storage.Encoded, len(c.samples))
	for fold := range c.folds() {
		var held []storage.Sample
		var at []int
		for i, s := range c.samples {
			if c.of[i] == fold {
				held, at = append(held, s), append(at, i)
			}
		}
		found, err := c.p.drawMaps(ctx, teachers[fold], held)
		if err != nil {
			return nil, err
		}
		for k, i := range at {
			maps[i] = found[k]
		}
	}
	return maps, nil
}

// teacherProgress adds up the steps of all trainings.
type teacherProgress struct {
	events *stageEvents
	record *record
	n      int // trainings
	mutex  sync.Mutex
	done   map[[2]int]int64 // steps by fold and member
	total  int64            // if all trainings were as long as the last one told of
}

func newTeacherProgress(c *class, n int) *teacherProgress {
	return &teacherProgress{events: c.events, record: c.d.record, n: n, done: map[[2]int]int64{}}
}

func (t *teacherProgress) tell(fold int, x cyborg.Progress) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.done[[2]int{fold, x.Run}] = int64(x.Step)
	t.total = max(t.total, int64(t.n)*int64(x.Steps))
	var sum int64
	for _, n := range t.done {
		sum += n
	}
	t.record.step(sum)
	text := fmt.Sprintf("teacher %d of fold %d: loss %.4f", x.Run+1, fold+1, x.Loss)
	if x.Validation != nil {
		text += fmt.Sprintf(", validation AUC %.3f", x.Validation.AUC)
	}
	t.events.progress(sum, t.total, "steps", text)
}
