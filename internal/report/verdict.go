package report

import (
	"fmt"
	"strings"
)

// subject is the arm that the verdict is about: combined, or else the best that
// is no control. It is nil if no arm has an AUC.
func subject(arms []summary) *summary {
	if s := find(arms, "combined"); s != nil && s.auc.n > 0 {
		return s
	}
	var best *summary
	for i := range arms {
		s := &arms[i]
		if s.auc.n > 0 && !s.control && (best == nil || s.auc.mean > best.auc.mean) {
			best = s
		}
	}
	return best
}

// verdict is the run in one sentence.
func verdict(arms []summary, split string) string {
	s := subject(arms)
	switch {
	case len(arms) == 0:
		return "No classifier was trained."
	case s == nil:
		return "There is no AUC to compare: it needs evaluated images of at least two classes."
	}
	value := strings.TrimSpace(meanSD(s.auc) + " " + s.interval())
	text := fmt.Sprintf("%s: %sAUC %s over %s", s.name, before(split), value, counted(s.auc.n, "seed"))
	d := s.difference
	switch {
	case s.pairs == 0:
		return text + "."
	case s.pairs == 1:
		return fmt.Sprintf("%s, %s against none in one pair of runs.", text, signed(d.Mean))
	case d.Low > 0:
		return fmt.Sprintf("%s, %s %s above none.", text, signed(d.Mean), bounds(d.Interval))
	case d.High < 0:
		return fmt.Sprintf("%s, %s %s below none.", text, signed(d.Mean), bounds(d.Interval))
	default:
		return fmt.Sprintf("%s, not clearly different from none (%s %s).", text, signed(d.Mean), bounds(d.Interval))
	}
}

func before(word string) string {
	if word == "" {
		return ""
	}
	return word + " "
}

// fewSeeds is the number of runs below which the page warns.
const fewSeeds = 3

// warnings are what a reader should know before believing the verdict.
func warnings(r *Report, arms []summary) []string {
	var found []string
	warn := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if s := subject(arms); s != nil {
		if s.auc.n < fewSeeds {
			warn("%s has only %s: differences of this size may be chance. Five or more seeds show the spread.", s.name, counted(s.auc.n, "run"))
		}
		if s.pairs > 1 && s.difference.Low <= 0 && s.difference.High >= 0 {
			warn("The 95 %% interval of the difference between %s and none includes 0: these runs do not show that maps helped.", s.name)
		}
		found = append(found, controlWarnings(arms, s)...)
	}
	if p := r.Predictor; p != nil {
		for _, c := range p.Checks {
			switch {
			case c.BeatsMean:
			case c.Doubt != "":
				found = append(found, sentence(c.Doubt))
			case c.N > 0:
				warn("%s does not clearly beat the mean map (%s: CC %s against %s): do not expect predicted maps to help.", p.subject(), c.HeldOut, three(c.Predictor.CC), three(c.MeanMap.CC))
			}
		}
	}
	found = append(found, dataWarnings(r.Data)...)
	return append(found, r.Warnings...)
}

// subject is the annotator at the beginning of a sentence.
func (p *Predictor) subject() string {
	if p.Annotator == "predictor" {
		return "The predictor"
	}
	return "The annotator " + p.Annotator
}

// controlWarnings compare an arm with the controls whose maps carry no
// information.
func controlWarnings(arms []summary, s *summary) []string {
	var found []string
	for _, name := range []string{"shuffled", "mean"} {
		control := find(arms, name)
		if control == nil {
			continue
		}
		d, pairs := paired(s, control)
		difference := fmt.Sprintf("%s is %s %s above it", s.name, signed(d.Mean), bounds(d.Interval))
		switch {
		case pairs == 0:
		case d.Mean <= 0:
			found = append(found, fmt.Sprintf("The control %s does as well as %s (%s): a gain over none does not come from where the maps point.", name, s.name, difference))
		case d.Low <= 0:
			found = append(found, fmt.Sprintf("The control %s is not clearly worse than %s (%s): a gain over none may not come from where the maps point.", name, s.name, difference))
		}
	}
	return found
}

func dataWarnings(d Data) []string {
	var found []string
	rows := 0
	var reasons []string
	for _, e := range d.Excluded {
		if e.N > 0 {
			rows += e.N
			reasons = append(reasons, fmt.Sprintf("%s: %s", e.Reason, count(e.N)))
		}
	}
	if rows > 0 {
		found = append(found, fmt.Sprintf("%s left out (%s).", counted(rows, "row"), strings.Join(reasons, "; ")))
	}
	unlabelled := 0
	for _, c := range d.Counts {
		if c.Class == "" {
			unlabelled += c.N
		}
	}
	if unlabelled > 0 {
		found = append(found, fmt.Sprintf("%s without a label: annotated and exported, but neither trained nor evaluated on.", counted(unlabelled, "row")))
	}
	return found
}
