// Package report writes what a run found as one HTML file.
//
// The file needs nothing beside itself: its style, its plots (SVG) and its
// images (data URIs) are in it, there is no script, and it loads nothing. Equal
// reports give equal bytes.
package report

import (
	"time"

	"github.com/surrogaze/surrogaze/internal/metric"
)

// Report is what a run found. Any part may be missing: the page then says so in
// a sentence. A number that is unknown is NaN and shown as a dash.
//
// Strings are plain text: names of classes, ids and the like may hold anything.
type Report struct {
	Name    string   // of the run
	Split   string   // the split that Runs were evaluated on: test or val
	Classes []string // names in the order of their indices
	Images  int      // evaluated, labelled images of Split
	Mapped  int      // of them, those with a human map, which Run.CAM is about

	// Runs are all training runs. Arms are shown in the order in which they come
	// first; runs of two arms are paired where Run.Index is the same.
	Runs []Run

	Predictor *Predictor // nil if none was fitted
	Data      Data
	Examples  []Example
	Making    Making

	// Warnings are shown beside those that follow from the numbers.
	Warnings []string
}

// Run is one training run of an arm.
type Run struct {
	Arm   string
	Index int // from 0; pairs the run with the other arms' of the same index
	// Errors and CAM are of Report.Split.
	Errors
	CAM Look
	// ROC has false-positive rates in rising order, of more than two classes the mean
	// curve; nil if there is none: one class.
	ROC []metric.ROCPoint
	// ClassAUC are the AUCs of Report.Classes, each against the rest; NaN of one that
	// does not occur.
	ClassAUC []float64
	// Confusion counts the images by their class and by the one that they are taken
	// for; nil if that is not known.
	Confusion [][]int
	Scores    ScoreHistogram
	// History is the course of the training, one item an epoch.
	History []Epoch
	// Best is the epoch that was kept, counted from 1; 0 if it is not known.
	Best int
}

// Errors are how well the classifier of a run tells the classes apart. All are in
// [0, 1].
type Errors struct {
	AUC metric.Interval // of one run: DeLong's
	// ToNone is P of DeLong's test against the run of arm none of the same index.
	ToNone        float64
	Accuracy, EER float64
	PAD           metric.PAD // at the threshold that was set on validation; two classes only
	ECE           float64
	// BalancedAccuracy and F1 are means over the classes.
	BalancedAccuracy, F1 float64
}

// Look is where the classifier of a run looks, in means over the images: how well
// its class activation maps agree with human ones, of Report.Mapped images, how
// widely they spread, and how alike they are to those of the arm's other runs.
type Look struct {
	CC, SIM, KL, NSS, IoU float64
	Entropy               float64 // in nats
	Consistency           float64 // CC
}

// Epoch is one epoch of a training run.
type Epoch struct {
	TrainLoss float64 // what was minimised: with guidance, where there are maps
	ValLoss   float64 // cross-entropy alone
	ValAUC    float64
	Alpha     float64 // mean weight of guided images' cross-entropy; NaN where it has no course
}

// Predictor is the saliency predictor, or what draws maps in its place, and how good
// it is.
type Predictor struct {
	Annotator         string  // predictor, or what it is instead
	Train, Validation int     // human maps fitted on, and those that judged its points
	History           []Point // in order
	Best              int     // the Point.Step that was kept
	Checks            []Check // against human maps that it had not seen
	Trust             string  // how much its maps count in the loss, and why
}

// Point is a stage of the predictor's fit.
type Point struct {
	Step      int     // optimiser steps done
	TrainLoss float64 // mean since the last point
	Loss      float64 // of the validation maps; NaN without any
	CC        float64 // likewise
}

// Check compares maps with human maps held out.
type Check struct {
	// HeldOut says in a few words how: "out of fold, 4 folds by group", "reference
	// maps of the test split".
	HeldOut                    string
	N                          int // human maps
	Predictor, MeanMap, Centre Scores
	// BeatsMean reports whether the predictor's CC exceeds the mean map's by more
	// than chance.
	BeatsMean bool
	// Doubt is what to say where it does not; "" for a sentence made of the numbers.
	Doubt  string
	Images []ImageScore // one an image, for the scatter plot; may be nil
}

// Scores are means over the images of a check.
type Scores struct{ CC, SIM, KL, MSE, AUC float64 }

// ImageScore is how well an image's predicted map was, and was thought to be.
type ImageScore struct {
	CC      float64 // with the human map
	Quality float64 // the CC that was estimated without it; NaN if it was not
}

// Data is the annotated data set.
type Data struct {
	Counts   []Count
	Excluded []Excluded
	Quality  Histogram // estimated CC of the predicted maps
}

// Count is a number of samples. Counts of equal split, class and source are added.
type Count struct {
	Split  string
	Class  string // "" = unlabelled
	Source string // of the map: human, predictor, reference (human, kept from training), or "" = none
	N      int
}

// Excluded are rows that take no part, by reason.
type Excluded struct {
	Reason string
	N      int
}

// Bins is the number of bins of a Histogram.
const Bins = 40

// Histogram counts values in equal bins over [-1, 1].
type Histogram [Bins]int

// Add counts a value; one beyond the ends falls in the last bin there, NaN in
// none.
func (h *Histogram) Add(v float64) {
	if v != v {
		return
	}
	h[min(max(int((v+1)/2*Bins), 0), Bins-1)]++
}

// ScoreBins is the number of bins of a ScoreHistogram.
const ScoreBins = 20

// ScoreHistogram counts, in equal bins over [0, 1], the probabilities that a
// classifier gives to a class: of the class's own images, and of the others. With two
// classes it is of class 1, with more of all of them together.
type ScoreHistogram struct{ Own, Others [ScoreBins]int }

// Add counts a probability.
func (h *ScoreHistogram) Add(p float64, own bool) {
	bin := min(max(int(p*ScoreBins), 0), ScoreBins-1)
	if own {
		h.Own[bin]++
	} else {
		h.Others[bin]++
	}
}

// Example is one image with its maps. The pictures are encoded PNG or JPEG files
// of any size, overlays already laid over the image; nil where there is none.
type Example struct {
	ID, Label string
	Split     string
	Image     []byte
	Human     []byte
	Predicted []byte
	CC        float64 // of the predicted with the human map
	Quality   float64 // estimated CC of the predicted map
	CAMs      []CAM   // of each arm's first run
}

// CAM is what one arm's classifier sees in an image.
type CAM struct {
	Arm     string
	Picture []byte
	Class   string  // that it predicts; "" if that is not known
	Score   float64 // softmax of that class
	Right   bool    // whether that is the label
	CC      float64 // of the CAM with the human map
}

// Making is how the run was made.
type Making struct {
	Command string // to repeat it
	Config  string // YAML
	Facts   []Fact // versions, hardware, precision, seeds, in the order shown
	Stages  []Stage
}

// Fact is a line of a table.
type Fact struct{ Name, Value string }

// Stage is one stage of the pipeline.
type Stage struct {
	Name string
	Key  string // names what it left behind
	Took time.Duration
	// Reused reports that the stage had been done before; Took then is 0 or how
	// long that took.
	Reused bool
}
