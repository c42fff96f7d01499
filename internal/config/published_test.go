package config

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/surrogaze/surrogaze/configs"
)

var published = []string{"faces", "iris-pad", "chest-xray"}

// The values are those of CVRL/CYBORG (train_cam.py), which CVRL/GrainsOfSaliency
// and CVRL/MENTOR (train.py) repeat, but for the class of the CAM.
func TestThePublishedConfigurationsTrainAsPublished(t *testing.T) {
	camClass := map[string]string{"faces": "predicted", "iris-pad": "true", "chest-xray": "true"}
	for _, name := range published {
		c, err := Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := Train{
			Arms: c.Train.Arms, Seeds: 10, Alpha: 0.5, AlphaSchedule: "fixed", AlphaEnd: 1, Trust: "auto", Guidance: "mse",
			Epochs: 50, Batch: 20, Select: "accuracy",
			Optimizer: Optimizer{Name: "sgd", LR: 0.005, Momentum: 0.9, WeightDecay: 1e-6, Schedule: "step", StepEpochs: 12, Gamma: 0.1},
		}
		if diff := cmp.Diff(want, c.Train); diff != "" {
			t.Errorf("%s: train: %s", name, diff)
		}
		if c.Classifier.Size != 224 || c.Classifier.Resize != "squash" || c.Classifier.Pretrained != c.Classifier.Network+".pth" {
			t.Errorf("%s: classifier: %+v", name, c.Classifier)
		}
		if want := camClass[name]; c.Classifier.CAM.Class != want {
			t.Errorf("%s: CAM of the %s class, want that of the %s", name, c.Classifier.CAM.Class, want)
		}
	}
}

// value is a line of a configuration that holds one.
var value = regexp.MustCompile(`^ *[a-z_]+: *[^ #]`)

// source is a comment that says where a value is from.
var source = regexp.MustCompile(`# ([A-Z]\b|- ?)`)

func TestEveryPublishedValueNamesItsSource(t *testing.T) {
	for _, name := range published {
		text, err := fs.ReadFile(configs.FS, name+".yaml")
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if value.MatchString(line) && !source.MatchString(line) {
				t.Errorf("%s.yaml:%d: %q has no source", name, i+1, line)
			}
		}
	}
}

// The comment of each file holds the lines for the networks that it does not have.
func TestTheLinesForTheOtherNetworksAreTakenByTheFile(t *testing.T) {
	for _, name := range published {
		text, err := fs.ReadFile(configs.FS, name+".yaml")
		if err != nil {
			t.Fatal(err)
		}
		c, err := Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		networks := map[string]int{c.Classifier.Network: c.Classifier.Size}
		for _, line := range strings.Split(string(text), "\n") {
			sets := strings.Split(line, "--set ")[1:]
			if !strings.HasPrefix(line, "#     --set ") {
				continue
			}
			for i := range sets {
				sets[i] = strings.TrimSpace(sets[i])
			}
			c, err := Load(name, sets)
			if err != nil {
				t.Errorf("%s: %q: %v", name, sets, err)
				continue
			}
			networks[c.Classifier.Network] = c.Classifier.Size
		}
		if diff := cmp.Diff(map[string]int{"densenet121": 224, "resnet50": 224, "inception-v3": 299, "xception": 299}, networks); diff != "" {
			t.Errorf("%s: networks and sizes: %s", name, diff)
		}
	}
}
