package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/surrogaze/surrogaze/pipeline"
)

// printResult prints what a run up to a stage has found.
func printResult(w io.Writer, r *pipeline.Result, last pipeline.Stage) error {
	if r.Predictor != nil {
		printPredictor(w, r.Predictor)
		fmt.Fprintln(w, r.Trust)
	}
	if r.Table != nil {
		fmt.Fprintln(w)
		if err := r.Table.Write(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	what := r.Out
	if last == pipeline.StageReport {
		what = filepath.Join(r.Out, "report.html")
	}
	_, err := fmt.Fprintf(w, "results: %s\n", what)
	return err
}

func printPredictor(w io.Writer, s *pipeline.PredictorScores) {
	held := s.HeldOut()
	how := "out of fold"
	if s.Reference != nil {
		how = "kept from training"
	}
	fmt.Fprintf(w, "%s on %d human maps %s: CC %.3f, SIM %.3f, KL %.3f, AUC %.3f (CC of the mean map %.3f, of the centre %.3f)\n",
		s.Annotator, held.Predictor.CC.N, how, held.Predictor.CC.Mean, held.Predictor.SIM.Mean, held.Predictor.KL.Mean, held.Predictor.AUC.Mean,
		held.MeanMap.CC.Mean, held.Centre.CC.Mean)
	fmt.Fprintf(w, "estimated quality of a map: rank correlation %.2f with the true CC\n", held.QualityRank)
}
