package report

import (
	"fmt"
	"html/template"
)

// scoreFigures show the scores of the arm none and of the arm that the verdict is
// about.
func scoreFigures(arms []summary, classes []string) []figure {
	of := "a class, over all classes"
	if len(classes) == 2 {
		of = classes[1]
	}
	var found []figure
	main := subject(arms)
	for i := range arms {
		s := &arms[i]
		own, others := s.scores()
		if (s.name != "none" && s != main) || own == nil || others == nil {
			continue
		}
		found = append(found, figure{
			"Scores of " + s.name,
			fmt.Sprintf("Probability of %s, of all runs together. Solid: its own images; dashed: the others.", of),
			scoreChart(s, own, others),
		})
	}
	return found
}

// scores are the shares of the images in every bin of the scores, over all runs; nil
// without any.
func (s *summary) scores() (own, others []float64) {
	var sum ScoreHistogram
	for _, r := range s.runs {
		for i := range ScoreBins {
			sum.Own[i] += r.Scores.Own[i]
			sum.Others[i] += r.Scores.Others[i]
		}
	}
	return shares(sum.Own), shares(sum.Others)
}

func shares(counts [ScoreBins]int) []float64 {
	n := 0
	for _, v := range counts {
		n += v
	}
	if n == 0 {
		return nil
	}
	found := make([]float64, ScoreBins)
	for i, v := range counts {
		found[i] = float64(v) / float64(n)
	}
	return found
}

// scoreChart shows two histograms as outlines.
func scoreChart(s *summary, own, others []float64) template.HTML {
	most := 0.0
	for i := range own {
		most = max(most, own[i], others[i])
	}
	top, base := outline(own), outline(make([]float64, ScoreBins))
	return chart(wide, "scores of "+s.name+" by class", axis{label: "probability", min: 0, max: 1}, axis{label: "share of the images", min: 0, max: most * 1.05},
		band(base, top, bandColour(s.colour)), curve(outline(others), ink, dashed), curve(top, armColour(s.colour), solid))
}

// outline is a histogram over [0, 1] as a line.
func outline(shares []float64) []point {
	var line []point
	for i, v := range shares {
		line = append(line, point{float64(i) / float64(len(shares)), v}, point{float64(i+1) / float64(len(shares)), v})
	}
	return line
}
