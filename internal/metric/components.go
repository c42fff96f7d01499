package metric

import (
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// PrincipalComponents finds the directions in which n vectors of d values differ
// most: at most so many unit vectors of d values, orthogonal to each other, that of
// the largest variance first. Directions in which the vectors do not differ are left
// out, so that there are fewer than n; of values that are not finite there are none.
// Their signs are arbitrary.
func PrincipalComponents(vectors [][]float64, most int) [][]float64 {
	if len(vectors) < 2 {
		return nil
	}
	d := len(vectors[0])
	rows := mat.NewDense(len(vectors), d, nil)
	for i, v := range vectors {
		rows.SetRow(i, v)
	}
	var pc stat.PC
	if !pc.PrincipalComponents(rows, nil) {
		return nil
	}
	var directions mat.Dense
	pc.VectorsTo(&directions)
	variances := pc.VarsTo(nil)
	var found [][]float64
	for k, v := range variances {
		if len(found) == most || v <= rounding*variances[0] {
			break
		}
		found = append(found, mat.Col(nil, k, &directions))
	}
	return found
}

// rounding is the share of the largest variance below which one is but rounding.
const rounding = 1e-12
