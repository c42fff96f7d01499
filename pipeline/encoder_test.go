package pipeline

import (
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
