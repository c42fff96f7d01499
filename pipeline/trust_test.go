package pipeline

import (
	"testing"

	"github.com/surrogaze/surrogaze/predictor"
)

// outOfFold is a report on n maps with the gains in turn over a mean map's CC of 0.2.
func outOfFold(n int, gains ...float64) *predictor.Report {
	r := &predictor.Report{}
	for i := range n {
		gain := gains[i%len(gains)]
		r.Images = append(r.Images, predictor.ImageScore{CC: 0.2 + gain, MeanMap: 0.2})
		r.Predictor.CC.Mean += (0.2 + gain) / float64(n)
	}
	r.Predictor.CC.N, r.MeanMap.CC = n, predictor.Average{Mean: 0.2, N: n}
	return r
}

func TestTheTrustInAPredictorIsSaidInPlainWords(t *testing.T) {
	beaten, poor := outOfFold(12, 0.2, 0.36), outOfFold(12, 0.1, 0.12)
	beaten.BeatsMean, poor.BeatsMean = true, true
	for _, c := range []struct {
		report *predictor.Report
		full   bool
		want   string
	}{
		{beaten, false, "the predicted maps beat the mean map on 12 human maps out of fold (CC 0.480 against 0.200) and go 35 % of the way to human maps: their weight in the loss is 0.50"},
		{poor, false, "the predicted maps beat the mean map on 12 human maps out of fold (CC 0.310 against 0.200) but go only 14 % of the way to human maps, too little to guide by: their weight in the loss is 0.00"},
		{outOfFold(12, -0.1, 0.1), false, "the predicted maps are no better than the mean map on 12 human maps out of fold (CC 0.200 against 0.200): their weight in the loss is 0.00"},
		{outOfFold(12, -0.2, 0.6), false, "the predicted maps are hardly better than the mean map on 12 human maps out of fold (CC 0.400 against 0.200), no more than chance may give: their weight in the loss is 0.13"},
		{outOfFold(4, -0.2, 0.6), false, "4 human maps out of fold are too few to tell whether the predicted maps beat the mean map (CC 0.400 against 0.200): their weight in the loss is 0.05"},
		{outOfFold(12, -0.1, 0.1), true, "the predicted maps are no better than the mean map on 12 human maps out of fold (CC 0.200 against 0.200): their weight in the loss is 1.00, as train.trust has it"},
	} {
		if got := newTrust(c.report, c.full).String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
