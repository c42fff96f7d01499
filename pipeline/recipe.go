package pipeline

import (
	"context"
	"fmt"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/storage"
)

// Kinds of artefacts.
const (
	kindAnnotated  = "annotated"  // the samples with human maps, and their maps
	kindPredictor  = "predictor"  // the fitted predictor, its scores and out-of-fold maps
	kindTeacher    = "teacher"    // the classifiers that draw maps, likewise
	kindDataset    = "dataset"    // all samples, each with a map
	kindClassifier = "classifier" // the classifier of one arm and seed
	kindEvaluation = "evaluation" // what that classifier says of the samples
	kindExport     = "export"     // the data set in one other format
)

// stageOf are the stages that make the kinds of artefacts.
var stageOf = map[string]Stage{
	kindAnnotated: StageIngest, kindPredictor: StageFit, kindTeacher: StageFit, kindDataset: StageAnnotate,
	kindClassifier: StageTrain, kindEvaluation: StageEvaluate, kindExport: StageExport,
}

// Versions of the stages' code. One grows when its stage begins to give another
// output for the same input; a golden test for each says when that is so.
const (
	codeIngest   = 4
	codeFit      = 7
	codeTeach    = 8
	codeAnnotate = 6
	codeTrain    = 12
	codeEvaluate = 6
	codeExport   = 1
)

// recipe is a recipe with its key.
type recipe struct {
	storage.Recipe
	key string
}

// recipes are all artefacts of a run. They are known before anything is made,
// because a key depends on the keys of the inputs and not on what is in them.
type recipes struct {
	ingest, fit, annotate recipe
	runs                  []run
	exports               []export
}

// export is the data set in one other format.
type export struct {
	to     string
	recipe recipe
}

// run is one training: an arm and a seed's index.
type run struct {
	arm        cyborg.Arm
	seed       int
	classifier recipe
	evaluation recipe
}

// name is what files and messages call a run.
func (r run) name() string { return fmt.Sprintf("%s-%d", r.arm, r.seed) }

// recipes finds the keys of all artefacts. It reads the data for their
// fingerprints, unless it has before.
func (p *Pipeline) recipes(ctx context.Context) (*recipes, error) {
	ended := p.events.of(taskRead).sayAfter(patience, "all files are read, to see whether they have changed")
	defer ended()
	pretrained, err := p.prints.of(ctx, "classifier.pretrained", p.pretrainedFingerprint)
	if err != nil {
		return nil, err
	}
	encoder, err := p.prints.of(ctx, "predictor.pretrained", p.encoderFingerprint)
	if err != nil {
		return nil, err
	}
	annotated, err := p.prints.of(ctx, "data.annotated", func() (string, error) { return p.annotatedFingerprint(ctx) })
	if err != nil {
		return nil, err
	}
	unannotated, err := p.prints.of(ctx, "data.unannotated", func() (string, error) { return p.sourcesFingerprint(ctx) })
	if err != nil {
		return nil, err
	}
	b := recipeBuilder{}
	r := &recipes{}
	r.ingest = b.build(kindAnnotated, codeIngest, p.ingestConfig(), nil, annotated)
	if p.cfg.Annotate.Teaches() {
		r.fit = b.build(kindTeacher, codeTeach, p.teacherConfig(), inputs{"annotated": r.ingest.key}, pretrained)
	} else {
		r.fit = b.build(kindPredictor, codeFit, p.predictorConfig(), inputs{"annotated": r.ingest.key}, encoder)
	}
	r.annotate = b.build(kindDataset, codeAnnotate, p.annotateConfig(), inputs{"annotated": r.ingest.key, r.fit.Kind: r.fit.key}, unannotated)
	trained := inputs{"dataset": r.annotate.key}
	if p.fromOwnEncoder() {
		trained["predictor"] = r.fit.key
	}
	for seed := range p.cfg.Train.Seeds {
		for _, arm := range p.cfg.Train.Arms {
			x := run{arm: cyborg.Arm(arm), seed: seed}
			x.classifier = b.build(kindClassifier, codeTrain, p.trainConfig(x), trained, pretrained)
			x.evaluation = b.build(kindEvaluation, codeEvaluate, evaluateConfig{}, inputs{"dataset": r.annotate.key, "classifier": x.classifier.key}, "")
			r.runs = append(r.runs, x)
		}
	}
	for _, e := range p.cfg.Export {
		r.exports = append(r.exports, export{e.To, b.build(kindExport, codeExport, e, inputs{"dataset": r.annotate.key}, "")})
	}
	return r, b.err
}

// all lists the recipes by stage, in the order in which they are made.
func (r *recipes) all() []stageRecipe {
	list := []stageRecipe{
		{StageIngest, "annotated samples", r.ingest},
		{StageFit, "saliency " + r.fit.Kind, r.fit},
		{StageAnnotate, "annotated data set", r.annotate},
	}
	for _, x := range r.runs {
		list = append(list, stageRecipe{StageTrain, x.name(), x.classifier})
	}
	for _, x := range r.runs {
		list = append(list, stageRecipe{StageEvaluate, x.name(), x.evaluation})
	}
	for _, x := range r.exports {
		list = append(list, stageRecipe{StageExport, x.to, x.recipe})
	}
	return list
}

// stageRecipe is a recipe with the stage that makes it and a name for people.
type stageRecipe struct {
	stage  Stage
	name   string
	recipe recipe
}

type inputs = map[string]string

// recipeBuilder makes recipes and remembers the first error.
type recipeBuilder struct{ err error }

func (b *recipeBuilder) build(kind string, code int, config any, in inputs, data string) recipe {
	r := recipe{Recipe: storage.Recipe{Kind: kind, Code: code, Inputs: in, Data: data}}
	canonical, err := storage.Canonical(config)
	if err == nil {
		r.Config = canonical
		r.key, err = r.Recipe.Key()
	}
	if b.err == nil && err != nil {
		b.err = fmt.Errorf("key of the %s: %w", kind, err)
	}
	return r
}
