package report

import "math"

// mostShown is the number of classes up to which the page shows each of them.
const mostShown = 20

// confusion is the confusion matrix of an arm.
type confusion struct {
	arm
	Rows []confusionRow
}

// confusionRow are the images of a class.
type confusionRow struct {
	Class string
	Cells []confusionCell // by the class that they are taken for
}

// confusionCell is the share of the images of a class that are taken for one, the
// mean over the runs. Shade is how much of the arm's colour shows it, in percent.
type confusionCell struct {
	Share string
	Shade int
	Right bool
}

// shade is that of a share of 1, through which text can be read.
const shade = 60

func newConfusion(a arm, classes []string) confusion {
	c := confusion{arm: a}
	for label, class := range classes {
		row := confusionRow{Class: class}
		for predicted := range classes {
			share := statOf(a.Runs, func(r Run) float64 { return shareOf(r.Confusion, label, predicted) }).mean
			cell := confusionCell{Share: number(share, 2), Right: label == predicted}
			if finite(share) {
				cell.Shade = int(math.Round(share * shade))
			}
			row.Cells = append(row.Cells, cell)
		}
		c.Rows = append(c.Rows, row)
	}
	return c
}

// shareOf is the share of a class's images that are taken for another; NaN without
// any.
func shareOf(confusion [][]int, label, predicted int) float64 {
	if label >= len(confusion) || predicted >= len(confusion[label]) {
		return nan
	}
	n := 0
	for _, v := range confusion[label] {
		n += v
	}
	if n == 0 {
		return nan
	}
	return float64(confusion[label][predicted]) / float64(n)
}

// classColumns are the AUCs of the classes.
func classColumns(classes []string) []column {
	var columns []column
	for k, name := range classes {
		columns = append(columns, column{name, "", func(r Run) float64 {
			if k >= len(r.ClassAUC) {
				return nan
			}
			return r.ClassAUC[k]
		}})
	}
	return columns
}

// addClasses fills in what the page says of single classes.
func (p *page) addClasses() {
	known := false
	for _, r := range p.Runs {
		known = known || r.Confusion != nil
	}
	if !known {
		return
	}
	if p.Hidden = len(p.Classes) > mostShown; p.Hidden {
		return
	}
	for _, a := range p.Arms {
		p.Confusions = append(p.Confusions, newConfusion(a, p.Classes))
	}
	if !p.Several {
		return
	}
	p.ClassAUC = classColumns(p.Classes)
	for i := range p.Arms {
		p.Arms[i].ClassAUC = cells(p.Arms[i].Runs, p.ClassAUC)
	}
}
