package report

// armInfo is what the page knows of an arm beyond its runs.
type armInfo struct {
	name, meaning string
	line          lineKind
	control       bool // shows what maps without information do
}

// known are the arms in the order of their colours in style.css.
var known = []armInfo{
	{"none", "no maps: ordinary training by cross-entropy", solid, false},
	{"human", "the human maps that the configuration allows, nothing elsewhere", solid, false},
	{"predicted", "predicted maps everywhere; those of annotated images are out of fold, by a predictor that had not seen them", solid, false},
	{"combined", "human maps where there are any, predicted maps elsewhere", solid, false},
	{"full", "every human map that exists, nothing elsewhere: the ceiling", solid, false},
	{"human_small", "only the annotated images, with their human maps", dotted, false},
	{"none_small", "only the annotated images, without maps", dotted, false},
	{"shuffled", "control: the maps of combined, dealt out to other images", dashed, true},
	{"mean", "control: the mean of the maps of combined for every image", dashed, true},
	{"inverted", "one minus the maps of combined; it localises too, so it is no negative control", dashed, true},
}

// spare is the number of colours for arms that are not known.
const spare = 2

// armOf is the index of an arm's colour and what is known of it; nth counts
// the arms that are not known.
func armOf(name string, nth int) (colour int, info armInfo) {
	for i, a := range known {
		if a.name == name {
			return i, a
		}
	}
	return len(known) + nth%spare, armInfo{name: name, line: solid}
}

// measures are the words of the tables.
var measures = []Fact{
	{"AUC", "area under the ROC curve: the probability that a random image of the positive class (the second of two) scores above one of the other; the mean over the classes against the rest where there are more. 0.5 is chance, 1 perfect"},
	{"± and [ ]", "standard deviation over the runs of an arm; 95 % interval of the mean difference between runs of the same seed (Student's t), or of one run's AUC over other images (DeLong)"},
	{"P", "how probable a difference at least as large is if there is none: over seeds by the paired t-test; run by run, over other images, by DeLong's test"},
	{"EER", "equal error rate: where false positives and false negatives are equally frequent"},
	{"balanced accuracy", "mean over the classes of the accuracy in each; chance is 1 over their number"},
	{"F1", "mean over the classes of 2 TP / (2 TP + FP + FN): true and false positives and false negatives of a class; 1 is perfect"},
	{"TPR at FPR 1 %", "share of the positives found at a threshold that lets through at most one in a hundred of the negatives"},
	{"APCER, BPCER, ACER", "share of the positive class (the attacks) that is missed, share of the other (the bona fide) that raises an alarm, and their mean, at the threshold at which they are equal on the validation images"},
	{"ECE", "expected calibration error: how far the classifier's confidence is from its accuracy; 0 is calibrated"},
	{"CAM", "class activation map: the classifier's last feature maps weighted by one class's row of its linear layer, the regions that speak for the class"},
	{"CC", "Pearson's correlation of two maps, in [−1, 1]; 1 is agreement"},
	{"SIM", "mass that two maps share when each sums to 1, in [0, 1]; 1 is agreement"},
	{"KL", "divergence of the predicted from the human map in nats; 0 is agreement"},
	{"MSE", "mean squared difference of two maps in [0, 1]"},
	{"NSS", "mean of a map, in standard deviations from its mean, over what a human marked; 0 is chance"},
	{"IoU", "intersection over union of what two maps mark with at least 0.5; 1 is agreement"},
	{"entropy", "how widely a map spreads, in nats; the logarithm of the number of its cells is uniform"},
	{"between runs", "mean CC of a run's CAMs with those of the arm's other runs; 1 is always the same place"},
	{"map AUC", "how well a map's values tell what a human marked; 0.5 is chance, 1 perfect"},
	{"mean map, centre", "what costs nothing and a predictor must beat: the mean of the training maps for every image, and a Gaussian in the middle"},
	{"estimated quality", "the CC that a predicted map is expected to have with what a human would have drawn"},
}
