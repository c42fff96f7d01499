package predictor

import (
	"slices"
	"strings"

	"github.com/surrogaze/surrogaze/internal/op"
)

// distances are those whose sum the loss is: of "bce+cc", BCE and CC.
func (c Config) distances() ([]op.MapLossKind, error) {
	var kinds []op.MapLossKind
	for name := range strings.SplitSeq(c.Loss, "+") {
		kind, err := op.ParseMapLoss(name)
		if err != nil {
			return nil, err
		}
		kinds = append(kinds, kind)
	}
	return kinds, nil
}

// comparesShapes reports whether the loss says nothing of a blank map.
func (c Config) comparesShapes() bool {
	names := strings.Split(c.Loss, "+")
	return slices.Contains(names, op.KL.String()) || slices.Contains(names, op.CC.String())
}
