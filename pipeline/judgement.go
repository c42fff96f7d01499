package pipeline

import (
	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/metric"
)

// evaluationName is the file of an evaluation's artefact.
const evaluationName = "evaluation.json"

// evaluation is what one classifier says of the samples, by split.
type evaluation map[string]*judgement

// judgement is what a classifier says of one split. Class 1 is the positive one,
// the attack; of more than two classes AUC, EER, d' and TPR are means over the
// classes, each against the rest, and PAD is not defined.
type judgement struct {
	N                int    `json:"n"` // labelled samples
	AUC              Number `json:"auc"`
	AUCLow           Number `json:"auc_low"` // DeLong's 95 % interval
	AUCHigh          Number `json:"auc_high"`
	Accuracy         Number `json:"accuracy"`
	BalancedAccuracy Number `json:"balanced_accuracy"`
	F1               Number `json:"f1"` // mean over the classes
	Loss             Number `json:"loss"`
	Brier            Number `json:"brier"`
	ECE              Number `json:"ece"`
	EER              Number `json:"eer"`
	DPrime           Number `json:"d_prime"`
	// TPR are the true positive rates at false positive rates of at most fprLimits.
	TPR [len(fprLimits)]Number `json:"tpr_at_fpr"`
	PAD pad                    `json:"pad"`
	// ClassAUC are the AUCs of every class against the others.
	ClassAUC []Number `json:"class_auc"`
	// Confusion counts the samples by their class and by the one that they are taken for.
	Confusion [][]int  `json:"confusion"`
	CAM       cams     `json:"cam"`
	Mapped    int      `json:"mapped"` // samples with a human map, which CAM's agreement is about
	Samples   []scored `json:"samples"`

	// ToNone is P of DeLong's test against the same seed's run of arm none. It is
	// found when all runs are there.
	ToNone Number `json:"-"`
}

// fprLimits are the false positive rates at which judgement.TPR is.
var fprLimits = [...]float64{0.001, 0.002, 0.01, 0.05, 0.1}

// pad are the errors of attack detection at the threshold at which they are equal
// on the val split.
type pad struct {
	Threshold Number `json:"threshold"`
	APCER     Number `json:"apcer"`
	BPCER     Number `json:"bpcer"`
	ACER      Number `json:"acer"`
}

// cams say where a classifier looks, in means over the samples: the agreement of
// its CAMs with human maps, how widely they spread, and their correlation with
// those of the arm's other runs.
type cams struct {
	CC      Number `json:"cc"`
	SIM     Number `json:"sim"`
	KL      Number `json:"kl"`
	MSE     Number `json:"mse"`
	NSS     Number `json:"nss"`
	AUC     Number `json:"auc"`
	IoU     Number `json:"iou"`
	Entropy Number `json:"entropy"`

	Consistency Number `json:"-"` // found when all runs are there
}

// scored is what a classifier says of one sample.
type scored struct {
	ID     string    `json:"id"`
	Label  int       `json:"label"`
	Scores []float64 `json:"scores"` // softmax
	CAM    Number    `json:"cam_cc"`
}

// newJudgement measures an evaluation but for its PAD.
func newJudgement(e *cyborg.Evaluation) *judgement {
	j := &judgement{
		N: e.N, AUC: Number(e.AUC), Accuracy: Number(e.Accuracy), Loss: Number(e.Loss), EER: Number(e.EER),
		CAM: newCAMs(e), Mapped: e.Mapped,
	}
	for _, s := range e.Samples {
		j.Samples = append(j.Samples, scored{s.ID, s.Label, s.Scores, Number(s.Agreement.CC)})
	}
	scores, labels := j.columns()
	auc := metric.DeLong(scores, labels)
	j.AUCLow, j.AUCHigh = Number(auc.Low), Number(auc.High)
	j.BalancedAccuracy = Number(metric.BalancedAccuracy(scores, labels))
	j.judgeClasses(scores, labels)
	j.Brier, j.ECE = Number(metric.Brier(scores, labels)), Number(metric.ECE(scores, labels))
	j.DPrime = Number(metric.OneVsRest(scores, labels, metric.DPrime))
	for i, limit := range fprLimits {
		j.TPR[i] = Number(metric.OneVsRest(scores, labels, func(scores []float64, positive []bool) float64 {
			return metric.TPRAtFPR(scores, positive, limit)
		}))
	}
	return j
}

// judgeClasses says how the classifier does on every class.
func (j *judgement) judgeClasses(scores [][]float64, labels []int) {
	classes := len(scores[0])
	for _, auc := range metric.ClassAUCs(scores, labels, classes) {
		j.ClassAUC = append(j.ClassAUC, Number(auc))
	}
	j.Confusion = metric.Confusion(scores, labels, classes)
	j.F1 = Number(metric.F1(j.Confusion))
}

// recall is the share of a class's samples that are taken for it; NaN without any.
func (j *judgement) recall(class int) Number {
	n := 0
	for _, v := range j.Confusion[class] {
		n += v
	}
	return Number(float64(j.Confusion[class][class]) / float64(n))
}

// unjudged is a judgement of nothing.
func unjudged() *judgement {
	n := Number(nan())
	return &judgement{
		AUC: n, AUCLow: n, AUCHigh: n, ToNone: n, Accuracy: n, BalancedAccuracy: n, F1: n, Loss: n, Brier: n, ECE: n, EER: n, DPrime: n,
		TPR: [...]Number{n, n, n, n, n}, PAD: pad{n, n, n, n}, CAM: cams{n, n, n, n, n, n, n, n, n},
	}
}

func newCAMs(e *cyborg.Evaluation) cams {
	a := e.Agreement
	return cams{
		CC: Number(a.CC), SIM: Number(a.SIM), KL: Number(a.KL), MSE: Number(a.MSE), NSS: Number(a.NSS), AUC: Number(a.AUC), IoU: Number(a.IoU),
		Entropy: Number(e.Entropy),
	}
}

// at are the errors at a threshold.
func (j *judgement) at(threshold float64) pad {
	scores, attack := j.twoClasses()
	errors := metric.PADAt(scores, attack, threshold)
	return pad{Number(threshold), Number(errors.APCER), Number(errors.BPCER), Number(errors.ACER)}
}

// columns are what the samples score and are.
func (j *judgement) columns() (scores [][]float64, labels []int) {
	for _, s := range j.Samples {
		scores, labels = append(scores, s.Scores), append(labels, s.Label)
	}
	return scores, labels
}

// twoClasses are the scores of class 1 and which samples are of it; nil if there
// are more classes.
func (j *judgement) twoClasses() (scores []float64, positive []bool) {
	for _, s := range j.Samples {
		if len(s.Scores) != 2 {
			return nil, nil
		}
		scores, positive = append(scores, s.Scores[1]), append(positive, s.Label == 1)
	}
	return scores, positive
}
