package metric

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// labelled draws scores with ties and a class for each; both classes occur.
func labelled(t *rapid.T) (scores []float64, positive []bool) {
	n := rapid.IntRange(2, 40).Draw(t, "n")
	for range n {
		scores = append(scores, float64(rapid.IntRange(-8, 8).Draw(t, "score")))
		positive = append(positive, rapid.Bool().Draw(t, "positive"))
	}
	positive[0], positive[1] = true, false
	return scores, positive
}

// anyMap draws values in [0, 1], of which not all are equal.
func anyMap(t *rapid.T, n int, label string) []float32 {
	m := rapid.SliceOfN(rapid.Float32Range(0, 1), n, n).Draw(t, label)
	m[0], m[1] = 0, 1
	return m
}

func each(values []float64, f func(float64) float64) []float64 {
	changed := slices.Clone(values)
	for i, v := range values {
		changed[i] = f(v)
	}
	return changed
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(1, math.Abs(b)) }

func TestAUCIsTheShareOfPairsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores, positive := labelled(t)
		var inOrder, pairs float64
		for i, p := range positive {
			for j, q := range positive {
				if !p || q {
					continue
				}
				pairs++
				switch {
				case scores[i] > scores[j]:
					inOrder++
				case scores[i] == scores[j]:
					inOrder += 0.5
				}
			}
		}
		if got, want := AUC(scores, positive), inOrder/pairs; !near(got, want) {
			t.Fatalf("found %v, want %v", got, want)
		}
	})
}

func TestRankMeasuresDoNotChangeUnderRisingFunctions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores, positive := labelled(t)
		risen := each(scores, func(v float64) float64 { return math.Exp(v/2) - 3 })
		truth := make([]float64, len(positive))
		for i, label := range labelsOf(positive) {
			truth[i] = float64(label)
		}
		for name, measure := range map[string]func([]float64) float64{
			"AUC":           func(s []float64) float64 { return AUC(s, positive) },
			"EER":           func(s []float64) float64 { return EER(s, positive) },
			"TPR at FPR":    func(s []float64) float64 { return TPRAtFPR(s, positive, 0.2) },
			"Spearman":      func(s []float64) float64 { return Spearman(s, truth) },
			"class 1's AUC": func(s []float64) float64 { return OneVsRest(twoColumns(s), labelsOf(positive), AUC) },
		} {
			if before, after := measure(scores), measure(risen); !near(before, after) && !math.IsNaN(before) {
				t.Fatalf("%s: found %v, want %v", name, after, before)
			}
		}
	})
}

func twoColumns(scores []float64) [][]float64 {
	rows := make([][]float64, len(scores))
	for i, s := range scores {
		rows[i] = []float64{-s, s}
	}
	return rows
}

func labelsOf(positive []bool) []int {
	labels := make([]int, len(positive))
	for i, p := range positive {
		if p {
			labels[i] = 1
		}
	}
	return labels
}

func TestReversedScoresReverseAUC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores, positive := labelled(t)
		reversed := each(scores, func(v float64) float64 { return 1 - v })
		if got, want := AUC(reversed, positive), 1-AUC(scores, positive); !near(got, want) {
			t.Fatalf("found %v, want %v", got, want)
		}
		if got, want := EER(reversed, positive), 1-EER(scores, positive); !near(got, want) {
			t.Fatalf("EER: found %v, want %v", got, want)
		}
	})
}

func TestClassesThatDoNotOccurDoNotCount(t *testing.T) {
	scores := [][]float64{{3, 0, 1}, {2, 5, 1}, {1, 2, 0}, {0, 4, 2}}
	// By hand: class 0 against the rest 3/4, class 1 4/4; class 2 is absent.
	if got := OneVsRest(scores, []int{0, 1, 0, 1}, AUC); got != 0.875 {
		t.Errorf("found %v, want 0.875", got)
	}
}

func TestTheCurveRisesFromCornerToCorner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := ROC(labelled(t))
		if first, last := points[0], points[len(points)-1]; first.FPR != 0 || first.TPR != 0 || last.FPR != 1 || last.TPR != 1 {
			t.Fatalf("found ends %v and %v", first, last)
		}
		for i, p := range points[1:] {
			if q := points[i]; p.FPR < q.FPR || p.TPR < q.TPR || p.Threshold >= q.Threshold {
				t.Fatalf("found %v behind %v", p, q)
			}
		}
	})
}

func TestPointsOfTheCurveAreTheErrorsAtTheirThresholds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores, positive := labelled(t)
		for _, p := range ROC(scores, positive) {
			got := PADAt(scores, positive, p.Threshold)
			if !near(got.BPCER, p.FPR) || !near(got.APCER, 1-p.TPR) {
				t.Fatalf("found %+v, want those of %+v", got, p)
			}
		}
	})
}

func TestMapMeasuresKeepTheirBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 30).Draw(t, "n")
		a, b := anyMap(t, n, "a"), anyMap(t, n, "b")
		for _, m := range []struct {
			name           string
			got, low, high float64
		}{
			{"CC", CC(a, b), -1, 1},
			{"SIM", SIM(a, b), 0, 1 + 1e-9},
			{"KL", KL(a, b), -1e-9, -math.Log(epsilon) + 1e-9},
			{"MSE", MSE(a, b), 0, 1},
			{"MapAUC", MapAUC(a, b, 0.5), 0, 1},
			{"IoU", IoU(a, b, 0.5), 0, 1},
			{"NSS", NSS(a, b, 0.5), -math.Sqrt(float64(n)), math.Sqrt(float64(n))},
			{"Entropy", Entropy(a), 0, math.Log(float64(n)) + 1e-9},
		} {
			if !(m.got >= m.low && m.got <= m.high) {
				t.Fatalf("%s: found %v, want it in [%v, %v]", m.name, m.got, m.low, m.high)
			}
		}
	})
}

func TestMapsAgreeWithThemselves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyMap(t, rapid.IntRange(2, 30).Draw(t, "n"), "a")
		if !near(CC(a, a), 1) || !near(SIM(a, a), 1) || math.Abs(KL(a, a)) > 1e-9 || MSE(a, a) != 0 || MapAUC(a, a, 0.5) != 1 {
			t.Fatalf("found CC %v, SIM %v, KL %v, MSE %v, MapAUC %v", CC(a, a), SIM(a, a), KL(a, a), MSE(a, a), MapAUC(a, a, 0.5))
		}
	})
}

func TestAgreementOfShapesDoesNotDependOnScale(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 30).Draw(t, "n")
		a, b := anyMap(t, n, "a"), anyMap(t, n, "b")
		half := slices.Clone(a)
		for i := range half {
			half[i] /= 2
		}
		for name, measure := range map[string]func(a, b []float32) float64{"CC": CC, "SIM": SIM} {
			if got, want := measure(half, b), measure(a, b); math.Abs(got-want) > 1e-6 {
				t.Fatalf("%s: found %v, want %v", name, got, want)
			}
			if got, want := measure(b, a), measure(a, b); !near(got, want) {
				t.Fatalf("%s is not symmetric: found %v, want %v", name, got, want)
			}
		}
	})
}

func TestWhatIsUndefinedIsNaN(t *testing.T) {
	nan := math.NaN()
	one, two := []float64{1}, []float64{1, 2}
	certain := [][]float64{{1, 0}, {1, 0}, {0, 1}, {0, 1}}
	for name, got := range map[string]float64{
		"CC of no pixels":                 CC(nil, nil),
		"CC of a constant map":            CC([]float32{0, 1, 2}, []float32{0.1, 0.1, 0.1}),
		"CC of NaN":                       CC([]float32{0, float32(nan)}, []float32{0, 1}),
		"SIM of no pixels":                SIM(nil, nil),
		"KL of no pixels":                 KL(nil, nil),
		"KL of NaN":                       KL([]float32{0, float32(nan)}, []float32{0, 1}),
		"MSE of no pixels":                MSE(nil, nil),
		"MapAUC of a map without a mark":  MapAUC([]float32{0, 1}, []float32{0.4, 0.4}, 0.5),
		"AUC of one class":                AUC(two, []bool{true, true}),
		"AUC of NaN":                      AUC([]float64{nan, 1}, []bool{true, false}),
		"OneVsRest of one class":          OneVsRest([][]float64{{1, 2, 3}, {4, 5, 6}}, []int{1, 1}, AUC),
		"OneVsRest of one class of two":   OneVsRest([][]float64{{1, 2}, {4, 5}}, []int{0, 0}, AUC),
		"OneVsRest of no samples":         OneVsRest(nil, nil, AUC),
		"EER of one class":                EER(two, []bool{false, false}),
		"TPRAtFPR of one class":           TPRAtFPR(two, []bool{false, false}, 0.1),
		"EERThreshold of one class":       EERThreshold(two, []bool{false, false}),
		"DPrime of one positive":          DPrime([]float64{1, 2, 3}, []bool{true, false, false}),
		"DPrime of constant classes":      DPrime([]float64{1, 1, 0, 0}, []bool{true, true, false, false}),
		"Accuracy of no samples":          Accuracy(nil, nil),
		"Accuracy of NaN":                 Accuracy([][]float64{{nan, 1}}, []int{1}),
		"BalancedAccuracy of no samples":  BalancedAccuracy(nil, nil),
		"Brier of no samples":             Brier(nil, nil),
		"Brier of NaN":                    Brier([][]float64{{nan, 1}}, []int{1}),
		"ECE of no samples":               ECE(nil, nil),
		"F1 of no samples":                F1(Confusion(nil, nil, 3)),
		"F1 of NaN":                       F1(Confusion([][]float64{{nan, 1}}, []int{1}, 2)),
		"AUC of a class that is missing":  ClassAUCs([][]float64{{1, 2, 3}, {3, 2, 1}}, []int{0, 2}, 3)[1],
		"ECE of NaN":                      ECE([][]float64{{nan, 1}}, []int{1}),
		"DeLong of no samples":            DeLong(nil, nil).Mean,
		"DeLong of one class":             DeLong([][]float64{{1, 2}, {2, 1}}, []int{1, 1}).Mean,
		"DeLong of one class of three":    DeLong([][]float64{{1, 2, 3}, {2, 1, 4}}, []int{1, 1}).Mean,
		"DeLong of NaN":                   DeLong([][]float64{{1, nan}, {2, 1}}, []int{1, 0}).Mean,
		"interval of a class's one image": DeLong([][]float64{{1, 2}, {2, 1}, {3, 0}}, []int{1, 0, 0}).Low,
		"P of equal AUCs":                 DeLongTest(certain, certain, []int{0, 0, 1, 1}).P,
		"APCER at no threshold":           PADAt(two, []bool{true, false}, nan).APCER,
		"IoU of nothing marked":           IoU([]float32{0, 0.4}, []float32{0.4, 0}, 0.5),
		"NSS of a constant map":           NSS([]float32{0.3, 0.3, 0.3}, []float32{0, 1, 0}, 0.5),
		"NSS without a fixation":          NSS([]float32{0, 1}, []float32{0, 0}, 0.5),
		"NSS of no pixels":                NSS(nil, nil, 0.5),
		"Entropy of no pixels":            Entropy(nil),
		"Entropy of NaN":                  Entropy([]float32{float32(nan), 1}),
		"APCER without attacks":           PADAt(two, []bool{false, false}, 1).APCER,
		"BPCER without bona fide samples": PADAt(two, []bool{true, true}, 1).BPCER,
		"Mean of nothing":                 Mean(nil),
		"SD of one value":                 SD(one),
		"Spearman of a constant":          Spearman(two, []float64{3, 3}),
		"Spearman of NaN":                 Spearman(two, []float64{nan, 3}),
		"interval of one pair":            PairedDifference(one, one).Low,
		"difference of no pairs":          PairedDifference(nil, nil).Mean,
		"interval of one value":           MeanInterval(one).Low,
		"P of one pair":                   PairedDifference(one, one).P,
		"P of equal pairs":                PairedDifference(two, two).P,
	} {
		if !math.IsNaN(got) {
			t.Errorf("%s: found %v, want NaN", name, got)
		}
	}
}

// fewClasses draws probabilities with ties, or NaN, of few samples, and their
// classes, which need not all occur.
func fewClasses(t *rapid.T) (p [][]float64, labels []int) {
	k := rapid.IntRange(2, 4).Draw(t, "classes")
	for range rapid.IntRange(0, 8).Draw(t, "n") {
		row := make([]float64, k)
		for i := range row {
			row[i] = rapid.SampledFrom([]float64{0, 0, 0.25, 0.5, 1, math.NaN()}).Draw(t, "p")
		}
		p, labels = append(p, row), append(labels, rapid.IntRange(0, k-1).Draw(t, "label"))
	}
	return p, labels
}

func TestMeasuresOfClassesAreInTheirRangeOrNaN(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, labels := fewClasses(t)
		auc, d := DeLong(p, labels), DeLongTest(p, p, labels)
		for _, m := range []struct {
			name           string
			got, low, high float64
		}{
			{"AUC", OneVsRest(p, labels, AUC), 0, 1},
			{"EER", OneVsRest(p, labels, EER), 0, 1},
			{"EERThreshold", OneVsRest(p, labels, EERThreshold), 0, 1},
			{"DPrime", OneVsRest(p, labels, DPrime), -1e9, 1e9},
			{"Accuracy", Accuracy(p, labels), 0, 1},
			{"BalancedAccuracy", BalancedAccuracy(p, labels), 0, 1},
			{"Brier", Brier(p, labels), 0, 4},
			{"ECE", ECE(p, labels), 0, 1},
			{"F1", F1(Confusion(p, labels, 4)), 0, 1},
			{"AUC by DeLong", auc.Mean, OneVsRest(p, labels, AUC) - 1e-9, OneVsRest(p, labels, AUC) + 1e-9},
			{"lower end", auc.Low, 0, auc.Mean + 1e-9},
			{"upper end", auc.High, auc.Mean - 1e-9, 1},
			{"difference to itself", d.Mean, 0, 0},
		} {
			if m.got < m.low || m.got > m.high {
				t.Fatalf("%s: found %v, want it in [%v, %v] or NaN", m.name, m.got, m.low, m.high)
			}
		}
	})
}

func TestTheMeanCurveIsTheMeanOfTheRatesAtEveryFPR(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, labels := fewClasses(t)
		before := 0.0
		for _, x := range MacroROC(p, labels) {
			if len(p[0]) == 2 {
				return // it is that of one class, with more than one point at an FPR
			}
			want := OneVsRest(p, labels, func(scores []float64, positive []bool) float64 { return TPRAtFPR(scores, positive, x.FPR) })
			if math.Abs(x.TPR-want) > 1e-12 || x.TPR < before-1e-12 {
				t.Fatalf("at FPR %v found TPR %v behind one of %v, want %v", x.FPR, x.TPR, before, want)
			}
			before = x.TPR
		}
	})
}

func TestDeLongsIntervalCoversTheTruthAsOftenAsItSays(t *testing.T) {
	const trials, n, apart = 1000, 200, 1.0
	truth := 0.5 * math.Erfc(-apart/2) // Phi(apart / sqrt 2): two normal classes
	for _, classes := range []int{2, 3} {
		rng := rand.New(rand.NewPCG(1, 1))
		covered, rejected := 0, 0
		for range trials {
			a, b, labels := make([][]float64, n), make([][]float64, n), make([]int, n)
			for i := range labels {
				labels[i] = i % classes
				for k := range classes {
					shared := 0.8 * rng.NormFloat64() // what two classifiers have in common
					if k == labels[i] {
						shared += apart
					}
					a[i] = append(a[i], shared+0.6*rng.NormFloat64())
					b[i] = append(b[i], shared+0.6*rng.NormFloat64())
				}
			}
			if auc := DeLong(a, labels); auc.Low <= truth && truth <= auc.High {
				covered++
			}
			if DeLongTest(a, b, labels).P < 0.05 {
				rejected++
			}
		}
		// Binomial: 1000 trials of 0.95 and 0.05 have a standard deviation of 7. With
		// fewer samples the normal interval is narrow: 93 % at 60.
		if covered < 925 || covered > 975 || rejected < 25 || rejected > 75 {
			t.Errorf("%d classes: of %d trials %d intervals covered the AUC and %d tests rejected equality, want about 950 and 50", classes, trials, covered, rejected)
		}
	}
}

func TestTheThresholdOfEqualErrorsBalancesThem(t *testing.T) {
	scores := []float64{0.1, 0.2, 0.3, 0.6, 0.4, 0.5, 0.7, 0.9}
	attack := []bool{false, false, false, false, true, true, true, true}
	// By hand: above 0.4 and up to 0.5 one of four attacks lies below and one of four
	// others above.
	threshold := EERThreshold(scores, attack)
	if !near(threshold, 0.45) {
		t.Fatalf("found the threshold %v, want 0.45", threshold)
	}
	if got := PADAt(scores, attack, threshold); got != (PAD{0.25, 0.25, 0.25}) {
		t.Errorf("found %+v, want a quarter of each", got)
	}
}

func TestOfEquallyGoodThresholdsTheHighestIsTaken(t *testing.T) {
	scores := []float64{0.9, 0.8, 0.5, 0.5, 0.1, 0.1}
	attack := []bool{false, true, true, true, false, false}
	// By hand: above 0.5 and up to 0.8 a third fires falsely and two thirds are missed, up
	// to 0.5 a third and none. Both differ by a third, which float64 does not hold.
	if found := EERThreshold(scores, attack); !near(found, 0.65) {
		t.Errorf("found the threshold %v, want 0.65", found)
	}
}

func TestTheThresholdOfNeighbouringNumbersIsTheHigher(t *testing.T) {
	high := math.Nextafter(0.5, 1)
	if got := EERThreshold([]float64{0.5, high}, []bool{false, true}); got != high {
		t.Errorf("found %v, want %v", got, high)
	}
}

func TestConstantScoresHaveTheirValueAsThreshold(t *testing.T) {
	if got := EERThreshold([]float64{0.5, 0.5, 0.5}, []bool{true, false, true}); got != 0.5 {
		t.Errorf("found %v, want 0.5", got)
	}
}

func TestConstantMapsOfAnyValueAreConstant(t *testing.T) {
	// In a running sum, most values and lengths leave a rounding error of the mean.
	rapid.Check(t, func(t *rapid.T) {
		flat := slices.Repeat([]float32{rapid.Float32Range(0, 1).Draw(t, "value")}, rapid.IntRange(2, 3000).Draw(t, "n"))
		ramp := make([]float32, len(flat))
		for i := range ramp {
			ramp[i] = float32(i)
		}
		if got := CC(flat, ramp); !math.IsNaN(got) {
			t.Fatalf("found CC %v, want NaN", got)
		}
	})
}

func TestOperandsOfDifferentLengthsPanic(t *testing.T) {
	defer func() {
		if got, want := recover(), "metric: operands of 2 and 1 values, want as many of both"; got != want {
			t.Errorf("found %v, want %q", got, want)
		}
	}()
	CC([]float32{1, 2}, []float32{1})
}

func TestPrincipalComponentsAreTheDirectionsOfLargestSpread(t *testing.T) {
	// Points of a plane: far apart along (3, 4), near along (4, -3), not at all along z.
	var points [][]float64
	for _, p := range [][2]float64{{-10, 1}, {-5, -1}, {0, 0}, {5, -1}, {10, 1}} {
		points = append(points, []float64{0.6*p[0] + 0.8*p[1], 0.8*p[0] - 0.6*p[1], 7})
	}
	found := PrincipalComponents(points, 9)
	if len(found) != 2 {
		t.Fatalf("found %d components, want 2", len(found))
	}
	for i, want := range [][]float64{{0.6, 0.8, 0}, {0.8, -0.6, 0}} {
		sign := math.Copysign(1, found[i][0])
		for k, v := range found[i] {
			if math.Abs(sign*v-want[k]) > 1e-12 {
				t.Errorf("component %d is %v, want %v or its opposite", i, found[i], want)
			}
		}
	}
	if n := len(PrincipalComponents(points, 1)); n != 1 {
		t.Errorf("found %d components, want the 1 asked for", n)
	}
	if n := len(PrincipalComponents(points[:1], 9)) + len(PrincipalComponents([][]float64{{1, 2}, {1, 2}}, 9)); n != 0 {
		t.Errorf("found %d components of what does not differ, want none", n)
	}
}
