package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/config"
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

// TeacherOptions say how classifiers draw, as a configuration's section annotate does.
type TeacherOptions struct {
	Annotator string      `json:"annotator"` // teacher-cam or teacher-rise
	Mirror    bool        `json:"mirror"`    // average the maps of the image and of its mirror image
	RISE      config.RISE `json:"rise"`      // masks of teacher-rise
}

// DefaultTeacherOptions draw by class activation, as a configuration that says no more.
func DefaultTeacherOptions() TeacherOptions {
	a := config.DefaultConfig().Annotate
	return TeacherOptions{storage.SourceTeacherCAM, a.Mirror, a.RISE}
}

// teacherOptions are those of the configuration.
func (p *Pipeline) teacherOptions() TeacherOptions {
	a := p.cfg.Annotate
	return TeacherOptions{a.Annotator, a.Mirror, a.RISE}
}

// rise is how classifiers of a seed draw; nil if by class activation.
func (o TeacherOptions) rise(seed uint64) *cyborg.RISE {
	if o.Annotator != storage.SourceTeacherRISE {
		return nil
	}
	return &cyborg.RISE{Masks: o.RISE.Masks, Cells: o.RISE.Cells, Keep: o.RISE.Keep, Seed: seed}
}

// newTeacher draws with at least one classifier.
func (o TeacherOptions) newTeacher(models []*cyborg.Model) (*cyborg.Teacher, error) {
	if o.Annotator != storage.SourceTeacherCAM && o.Annotator != storage.SourceTeacherRISE {
		return nil, fmt.Errorf("annotator %q: want %s or %s, for classifiers", o.Annotator, storage.SourceTeacherCAM, storage.SourceTeacherRISE)
	}
	return cyborg.NewTeacher(models, o.rise(models[0].Config().Seed), o.Mirror)
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
	t, err := p.teacherOptions().newTeacher(models)
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

// makeTeacher trains classifiers on the annotated set, with the maps of all and of all
// folds but one, and judges what they draw of the others.
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
	t := &teaching{p: p, d: d, in: in, samples: samples, of: judge.Folds()}
	events.start(fmt.Sprintf("%d human maps, once for all and once for each of %d folds", len(samples), t.folds()))
	t.progress = newTeacherProgress(events, d.record, p.cfg.Annotate.Ensemble, t.folds())
	teachers, err := t.train(ctx)
	if err != nil {
		return err
	}
	maps, err := t.drawHeldOut(ctx, teachers)
	if err != nil {
		return err
	}
	folds, err := judge.OutOfFold(maps)
	if err != nil {
		return err
	}
	scores := PredictorScores{OutOfFold: &folds.Report, Torn: folds.Torn}
	if scores.Reference, err = t.judgeReferences(ctx, judge, teachers[t.folds()], folds.Calibration()); err != nil {
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

// teaching is the training of teachers: one for each fold, which does not see the maps of
// the fold, and one of all maps, each of as many classifiers as the ensemble has.
type teaching struct {
	p        *Pipeline
	d        draft
	in       *annotated
	samples  []storage.Sample // with the human maps that may be used
	of       []int            // fold of each sample
	progress *teacherProgress
}

// folds is the number of folds.
func (t *teaching) folds() int { return slices.Max(t.of) + 1 }

// train returns the teachers in the order of the folds, the one of all maps last.
func (t *teaching) train(ctx context.Context) ([]*cyborg.Teacher, error) {
	members, n := t.p.cfg.Annotate.Ensemble, t.folds()+1
	images := make([]*cyborg.Data, n)
	for fold := range images {
		var err error
		if images[fold], err = t.open(ctx, fold, imageBudget()/int64(n)); err == nil {
			err = images[fold].Check(t.p.classifierConfig(1), cyborg.Human)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.name(fold), err)
		}
	}
	abreast, workers := t.p.abreast(n * members)
	models := make([][]*cyborg.Model, n)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(abreast)
	for fold := range models {
		models[fold] = make([]*cyborg.Model, members)
		for member := range members {
			group.Go(func() (err error) {
				models[fold][member], err = t.classifier(groupCtx, images[fold], fold, member, workers)
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
		if teachers[fold], err = t.p.teacherOptions().newTeacher(models[fold]); err != nil {
			return nil, err
		}
	}
	return teachers, nil
}

// name is what errors call the teacher of a fold.
func (t *teaching) name(fold int) string {
	if fold == t.folds() {
		return "teacher of all maps"
	}
	return fmt.Sprintf("teacher of fold %d of %d, which sees no image of the groups whose maps it is to draw, %q", fold+1, t.folds(), slices.Sorted(maps.Keys(t.held(fold))))
}

// dir is where the training of a fold's teacher keeps what it needs.
func (t *teaching) dir(fold int) string {
	if fold == t.folds() {
		return t.d.Path(checkpointsName, "all")
	}
	return t.d.Path(checkpointsName, "fold-"+strconv.Itoa(fold))
}

// open writes the data set that the teacher of a fold learns from and makes it ready:
// the training images but for those of the fold's groups, with the human maps that may
// be used, and the validation images without.
func (t *teaching) open(ctx context.Context, fold int, budget int64) (*cyborg.Data, error) {
	dir := filepath.Join(t.dir(fold), datasetFolder)
	if err := os.RemoveAll(dir); err != nil { // of an earlier, interrupted try
		return nil, err
	}
	w, err := storage.CreateWith(dir, storage.Schema{Classes: t.in.set.Classes()}, layout)
	if err != nil {
		return nil, err
	}
	if err := t.write(ctx, w, fold); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	set, err := storage.Open(dir)
	if err != nil {
		return nil, err
	}
	return cyborg.OpenData(set, t.p.classifierConfig(1), budget)
}

func (t *teaching) write(ctx context.Context, w *storage.Writer, fold int) error {
	for i, s := range t.samples {
		if t.of[i] == fold || s.Split != splitTrain {
			continue
		}
		if err := w.Append(s); err != nil {
			return err
		}
	}
	for s, err := range t.in.set.Read(ctx, t.unguided(fold)) {
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

// held are the groups whose maps a fold's teacher draws.
func (t *teaching) held(fold int) map[string]bool {
	held := map[string]bool{}
	for i, s := range t.samples {
		if t.of[i] == fold && s.Group != "" {
			held[s.Group] = true
		}
	}
	return held
}

// unguided are the rows that a fold's teacher sees without a map: the validation images,
// and the labelled training images of other groups than the fold's that have no map or
// one that may not be used.
func (t *teaching) unguided(fold int) []int {
	held := t.held(fold)
	return t.in.rows(func(r storage.Row) bool {
		teaches := r.Split == splitTrain && r.Label != storage.NoLabel && !held[r.Group] && !(r.HasMap && t.in.chosen[r.ID])
		return teaches || r.Split == splitVal
	})
}

// classifier trains one classifier of a fold's teacher, unless an earlier try has
// finished it. That of all maps stays in the artefact.
func (t *teaching) classifier(ctx context.Context, images *cyborg.Data, fold, member, workers int) (*cyborg.Model, error) {
	path := filepath.Join(t.dir(fold), teacherName(member))
	if fold == t.folds() {
		path = t.d.Path(teacherName(member))
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return cyborg.LoadModel(path)
	}
	m, err := cyborg.Train(ctx, t.p.classifierConfig(workers), images, cyborg.Human, member,
		filepath.Join(t.dir(fold), "member-"+strconv.Itoa(member)), func(done cyborg.Progress) { t.progress.tell(fold, done) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.name(fold), err)
	}
	return m, m.Save(path)
}

// drawHeldOut draws the map of every sample by the teacher that has not seen it.
func (t *teaching) drawHeldOut(ctx context.Context, teachers []*cyborg.Teacher) ([]storage.Encoded, error) {
	maps := make([]storage.Encoded, len(t.samples))
	for fold := range t.folds() {
		var held []storage.Sample
		var at []int
		for i, s := range t.samples {
			if t.of[i] == fold {
				held, at = append(held, s), append(at, i)
			}
		}
		found, err := t.draw(ctx, teachers[fold], held)
		if err != nil {
			return nil, err
		}
		for k, i := range at {
			maps[i] = found[k]
		}
	}
	return maps, nil
}

// judgeReferences compares a teacher with the human maps kept from training.
func (t *teaching) judgeReferences(ctx context.Context, judge *predictor.Judge, all *cyborg.Teacher, c *predictor.Calibration) (*predictor.Report, error) {
	samples, err := t.in.samples(ctx, false)
	if err != nil || len(samples) == 0 {
		return nil, err
	}
	maps, err := t.draw(ctx, all, samples)
	if err != nil {
		return nil, err
	}
	return judge.Score(ctx, examplesOf(samples), maps, c)
}

// draw draws the maps of samples that a teacher has not seen.
func (t *teaching) draw(ctx context.Context, by *cyborg.Teacher, samples []storage.Sample) ([]storage.Encoded, error) {
	var maps []storage.Encoded
	for a, err := range by.Annotate(ctx, each(samples), cyborg.Options(t.p.predictOptions())) {
		if err != nil {
			return nil, err
		}
		maps = append(maps, a.Map)
		t.progress.draw()
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

// teacherProgress adds up the steps of all trainings, and then the maps drawn.
type teacherProgress struct {
	events *stageEvents
	record *record
	folds  int
	runs   int // of all folds and the one of all maps
	mutex  sync.Mutex
	done   map[[2]int]int64 // steps by fold and member
	total  int64            // if all trainings are as long as the longest yet
	drawn  int
}

func newTeacherProgress(events *stageEvents, r *record, members, folds int) *teacherProgress {
	return &teacherProgress{events: events, record: r, folds: folds, runs: members * (folds + 1), done: map[[2]int]int64{}}
}

func (t *teacherProgress) tell(fold int, x cyborg.Progress) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.done[[2]int{fold, x.Run}] = int64(x.Step)
	t.total = max(t.total, int64(t.runs)*int64(x.Steps))
	var sum int64
	for _, n := range t.done {
		sum += n
	}
	t.record.step(sum)
	of := fmt.Sprintf("fold %d", fold+1)
	if fold == t.folds {
		of = "all maps"
	}
	text := fmt.Sprintf("teacher %d of %s: loss %.4f", x.Run+1, of, x.Loss)
	if x.Validation != nil {
		text += fmt.Sprintf(", validation AUC %.3f", x.Validation.AUC)
	}
	t.events.progress(sum, t.total, "steps", text)
}

func (t *teacherProgress) draw() {
	t.drawn++
	t.events.progress(t.total, t.total, "steps", fmt.Sprintf("%d held-out maps drawn", t.drawn))
}
