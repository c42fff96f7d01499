package main

import (
	"context"
	"math"

	"github.com/surrogaze/surrogaze/internal/metric"
)

// operands are those of internal/metric/testdata/gen.py.
type operands struct {
	Maps []struct {
		A, B      []float32
		Threshold float64
	}
	Binary []struct {
		Scores   []float64
		Positive []bool
	}
	Several []struct {
		Scores [][]float64
		Labels []int
	}
	Compared []struct {
		A, B   [][]float64
		Labels []int
	}
	Pairs []struct{ A, B []float64 }
}

// measures are the values of one case by name: numbers, of which null stands for NaN, and
// lists of them.
type measures map[string]any

func (m measures) set(name string, value float64) { m[name] = number(value) }

// number is what JSON has for one.
func number(value float64) any {
	if math.IsNaN(value) {
		return nil
	}
	return value
}

func numbers(values []float64) []any {
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = number(v)
	}
	return list
}

// metrics measures every case under the names that gen.py gives.
func metrics(_ context.Context, dir folder) error {
	var o operands
	if err := dir.readJSON("job.json", &o); err != nil {
		return err
	}
	return dir.writeJSON("out.json", map[string][]measures{
		"maps": o.maps(), "binary": o.binary(), "several": o.several(), "compared": o.compared(), "pairs": o.pairs(),
	})
}

func (o operands) maps() []measures {
	var found []measures
	for _, c := range o.Maps {
		m := measures{}
		m.set("cc", metric.CC(c.A, c.B))
		m.set("sim", metric.SIM(c.A, c.B))
		m.set("kl", metric.KL(c.A, c.B))
		m.set("mse", metric.MSE(c.A, c.B))
		m.set("auc", metric.MapAUC(c.A, c.B, c.Threshold))
		m.set("iou", metric.IoU(c.A, c.B, c.Threshold))
		m.set("nss", metric.NSS(c.A, c.B, c.Threshold))
		m.set("entropy", metric.Entropy(c.A))
		found = append(found, m)
	}
	return found
}

func (o operands) binary() []measures {
	var found []measures
	for _, c := range o.Binary {
		m := measures{}
		m.set("auc", metric.AUC(c.Scores, c.Positive))
		m.set("eer", metric.EER(c.Scores, c.Positive))
		m.set("eer_threshold", metric.EERThreshold(c.Scores, c.Positive))
		m.set("dprime", metric.DPrime(c.Scores, c.Positive))
		m.set("tpr_at_0.1", metric.TPRAtFPR(c.Scores, c.Positive, 0.1))
		m.set("tpr_at_0.3", metric.TPRAtFPR(c.Scores, c.Positive, 0.3))
		pad := metric.PADAt(c.Scores, c.Positive, 0.5)
		m.set("apcer", pad.APCER)
		m.set("bpcer", pad.BPCER)
		m.set("acer", pad.ACER)
		found = append(found, m)
	}
	return found
}

func (o operands) several() []measures {
	var found []measures
	for _, c := range o.Several {
		m := measures{}
		m.set("auc", metric.OneVsRest(c.Scores, c.Labels, metric.AUC))
		m.set("eer", metric.OneVsRest(c.Scores, c.Labels, metric.EER))
		m.set("accuracy", metric.Accuracy(c.Scores, c.Labels))
		m.set("balanced", metric.BalancedAccuracy(c.Scores, c.Labels))
		m.set("brier", metric.Brier(c.Scores, c.Labels))
		m.set("ece", metric.ECE(c.Scores, c.Labels))
		classes := len(c.Scores[0])
		confusion := metric.Confusion(c.Scores, c.Labels, classes)
		m.set("f1", metric.F1(confusion))
		m["confusion"] = confusion
		m["classes"] = numbers(metric.ClassAUCs(c.Scores, c.Labels, classes))
		found = append(found, m)
	}
	return found
}

func (o operands) compared() []measures {
	var found []measures
	for _, c := range o.Compared {
		m := measures{}
		auc := metric.DeLong(c.A, c.Labels)
		m.set("auc", auc.Mean)
		m.set("low", auc.Low)
		m.set("high", auc.High)
		d := metric.DeLongTest(c.A, c.B, c.Labels)
		m.set("difference", d.Mean)
		m.set("difference_low", d.Low)
		m.set("difference_high", d.High)
		m.set("p", d.P)
		found = append(found, m)
	}
	return found
}

func (o operands) pairs() []measures {
	var found []measures
	for _, c := range o.Pairs {
		m := measures{}
		m.set("mean", metric.Mean(c.A))
		m.set("sd", metric.SD(c.A))
		m.set("spearman", metric.Spearman(c.A, c.B))
		d := metric.PairedDifference(c.A, c.B)
		m.set("difference", d.Mean)
		m.set("low", d.Low)
		m.set("high", d.High)
		m.set("p", d.P)
		found = append(found, m)
	}
	return found
}
