package pipeline_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/surrogaze/surrogaze/internal/testset"
	"github.com/surrogaze/surrogaze/pipeline"
	"github.com/surrogaze/surrogaze/storage"
)

// cheap makes networks of seconds of a published configuration's, and leaves
// its data, arms, losses and optimisers alone.
var cheap = []string{
	"predictor.network=unet", "predictor.pretrained=", "predictor.widths=4,8", "predictor.stem={kernel: 3, stride: 2}",
	"predictor.size=16", "predictor.steps=6", "predictor.folds=2",
	"classifier.network=custom", "classifier.pretrained=", "classifier.stem={width: 4, kernel: 3, stride: 2, pool: 0}",
	"classifier.widths=6", "classifier.blocks=1", "classifier.strides=2", "classifier.size=16",
	"train.seeds=1", "train.epochs=2", "report.examples=2",
}

// layouts are the published configurations, the public layouts that they are
// documented for, and what of the samples is to be found.
var layouts = []struct {
	name, config string
	write        testset.Layout
	sets         []string
	samples      int
	maps         int // by humans
}{
	{"faces", "faces", testset.Faces, nil, 92, 24},
	{"iris-pad", "iris-pad", testset.IrisPAD, nil, 44, 12},
	{"chest-xray", "chest-xray", testset.EyeGaze, []string{"data.split.val=0.4", "data.split.test=0.2"}, 40, 40},
	{"chest-xray on ChestX-ray14", "chest-xray", testset.ChestXray14, []string{
		"data.split.val=0.3", "data.split.test=0.2", "data.annotated.format=nih-chest-xray",
		"data.annotated.images=.", "data.annotated.labels=Data_Entry_2017.csv", "data.annotated.maps=BBox_List_2017.csv",
	}, 40, 10},
}

// written is a folder with the files of a layout.
func written(t *testing.T, layout testset.Layout) string {
	t.Helper()
	dir := t.TempDir()
	if err := layout(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// published prepares a run of a published configuration.
func published(t *testing.T, config, root string, sets []string) *pipeline.Pipeline {
	t.Helper()
	sets = append([]string{"data.root=" + root, "out=" + filepath.Join(t.TempDir(), "out")}, sets...)
	cfg, err := pipeline.LoadConfig("configs/"+config+".yaml", sets)
	if err != nil {
		t.Fatal(err)
	}
	p, err := pipeline.New(cfg, pipeline.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestThePublishedConfigurationsArePlannedForEachOfTheFourNetworks(t *testing.T) {
	for _, c := range layouts {
		root := written(t, c.write)
		for network, size := range map[string]string{"densenet121": "224", "resnet50": "224", "inception-v3": "299", "xception": "299"} {
			p := published(t, c.config, root, append([]string{
				"predictor.pretrained=", "classifier.pretrained=", "classifier.network=" + network, "classifier.size=" + size,
			}, c.sets...))
			steps, err := p.Plan(context.Background())
			if err != nil {
				t.Errorf("%s: %s: %v", c.name, network, err)
			}
			trainings := 0
			for _, s := range steps {
				if s.Stage == pipeline.StageTrain {
					trainings++
				}
			}
			if trainings < 50 || trainings%10 != 0 { // at least five arms, ten runs each
				t.Errorf("%s: %s: got %d trainings", c.name, network, trainings)
			}
		}
	}
}

func TestThePublishedConfigurationsRunOnThePublicLayouts(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, c := range layouts {
		t.Run(c.name, func(t *testing.T) {
			p := published(t, c.config, written(t, c.write), append(cheap, c.sets...))
			if _, err := p.Run(context.Background(), pipeline.StageReport); err != nil {
				t.Fatal(err)
			}
			set, err := storage.Open(p.Out())
			if err != nil {
				t.Fatal(err)
			}
			maps := 0
			for _, r := range set.Rows() {
				if r.SaliencySource == storage.SourceHuman || r.HasReference {
					maps++
				}
			}
			if n := len(set.Rows()); n != c.samples || maps != c.maps {
				t.Errorf("got %d samples and %d human maps, want %d and %d", n, maps, c.samples, c.maps)
			}
		})
	}
}
