package pipeline

import (
	"fmt"
	"testing"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/internal/config"
	"github.com/surrogaze/surrogaze/storage"
)

func TestClassifiersStartFromTheFileOfTheRunsPredictor(t *testing.T) {
	cfg := config.DefaultConfig()
	f := &fitted{artefact: &storage.Artefact{Dir: "fitted"}}
	p := &Pipeline{cfg: cfg}
	for pretrained, want := range map[string]string{"": "", "resnet18.pth": "resnet18.pth", "predictor": f.artefact.Path(modelName)} {
		cfg.Classifier.Pretrained = pretrained
		if got := p.trainingConfig(run{arm: cyborg.None}, f, 1).Pretrained; got != want {
			t.Errorf("classifier.pretrained %q: starts from %q, want %q", pretrained, got, want)
		}
	}
}

func TestOnlyThePredictorsSingleNetworkIsAnEncoder(t *testing.T) {
	for set, allowed := range map[string]bool{"predictor 1": true, "predictor 2": false, "pca 1": false, "teacher-cam 1": false} {
		cfg := config.DefaultConfig()
		cfg.Predictor.Network, cfg.Classifier.Network, cfg.Classifier.Pretrained = "unet-resnet18", "resnet18", "predictor"
		if _, err := fmt.Sscan(set, &cfg.Annotate.Annotator, &cfg.Annotate.Ensemble); err != nil {
			t.Fatal(err)
		}
		if err := (&Pipeline{cfg: cfg}).validateEncoder(); (err == nil) != allowed {
			t.Errorf("%s: found error %v, want one: %v", set, err, !allowed)
		}
	}
}
