package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/surrogaze/surrogaze/configs"
)

var update = flag.Bool("update", false, "write configs/schema.json anew")

// minimal is the least that a configuration has to say.
const minimal = "data: {classes: [a, b]}\n"

func problemsOf(t *testing.T, err error) []Problem {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want a *config.Error", err, err)
	}
	return e.Problems
}

func mustDecode(t *testing.T, text string, sets ...string) *Config {
	t.Helper()
	c, err := decode("test.yaml", text, sets)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBuiltInConfigurationsLoadByNameFromAnyFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("coffee", 0o777); err != nil { // the data's folder
		t.Fatal(err)
	}
	for _, name := range []string{"coffee", "quickstart", "quickstart.yaml", "configs/quickstart.yaml", "configs/coffee.yaml"} {
		if _, err := Load(name, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFileHidesTheBuiltInConfigurationOfItsName(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("quickstart.yaml", []byte("name: mine\n"+minimal), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := Load("quickstart.yaml", nil)
	if err != nil || c.Name != "mine" {
		t.Errorf("found name %v, error %v, want the file's", c, err)
	}
}

func TestAMissingFileIsAProblemThatNamesTheNearestBuiltIn(t *testing.T) {
	_, err := Load("configs/quikstart.yaml", nil)
	if p := problemsOf(t, err); !strings.Contains(p[0].Text, `did you mean "quickstart"?`) {
		t.Errorf("found %q", p[0].Text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is no fs.ErrNotExist", err)
	}
}

func TestAByteOrderMarkIsNoPartOfAKey(t *testing.T) {
	plain, err := decode("test.yaml", minimal, nil)
	if err != nil {
		t.Fatal(err)
	}
	marked, err := decode("test.yaml", "\ufeff"+minimal, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(plain, marked); d != "" {
		t.Errorf("the configuration differs: %s", d)
	}
}

func TestANameThatIsTheFilesIsSaidToBe(t *testing.T) {
	_, err := decode("my leaves.yaml", minimal, nil)
	const want = `my leaves.yaml: name: want letters, digits, '.', '_' and '-', found "my leaves", the file's name: rename it or give the key name`
	if err == nil || err.Error() != want {
		t.Errorf("found %v, want %s", err, want)
	}
}

func TestFurtherProblemsAreLocatedLikeTheOthers(t *testing.T) {
	_, err := decode("test.yaml", minimal+"classifier:\n  size: 64\n", nil, func(*Config) []Problem {
		return []Problem{{Path: "classifier.size", Text: "too small"}}
	})
	if want := "test.yaml:3:9: classifier.size: too small"; err == nil || err.Error() != want {
		t.Errorf("found %v, want %s", err, want)
	}
}

func TestAFolderInPlaceOfAFileIsOneProblem(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(dir, nil)
	if p := problemsOf(t, err); len(p) != 1 || !strings.Contains(p[0].Text, dir) {
		t.Errorf("found %v, want one problem that names the folder", p)
	}
}

func TestProblemsSayWhereWhatAndWhatWasWanted(t *testing.T) {
	for _, test := range []struct {
		name, text string
		sets       []string
		want       []string
	}{
		{"unknown key with a near one", "trian: {}\n" + minimal, nil,
			[]string{`test.yaml:1:1: unknown key "trian"; did you mean "train"?`}},
		{"unknown key in a section", minimal + "train:\n  epoch: 3\n", nil,
			[]string{`test.yaml:3:3: train: unknown key "epoch"; did you mean "epochs"?`}},
		{"key of another section", minimal + "epochs: 3\n", nil,
			[]string{`test.yaml:2:1: unknown key "epochs"; it belongs in "train.epochs"`}},
		{"key twice", minimal + "train:\n  seeds: 3\n  seeds: 4\n", nil,
			[]string{`test.yaml:4:3: no valid YAML: mapping key "seeds" already defined at [3:3]`}},
		{"range", minimal + "train: {alpha: 1.5, epochs: -1}\n", nil,
			[]string{"test.yaml:2:16: train.alpha: want at most 1, found 1.5", "test.yaml:2:29: train.epochs: want at least 0, found -1"}},
		{"exclusive range", minimal + "train: {optimizer: {lr: 0}}\n", nil,
			[]string{"test.yaml:2:25: train.optimizer.lr: want more than 0, found 0"}},
		{"zoom", minimal + "train: {augment: {zoom: 0.97}}\n", nil,
			[]string{"test.yaml:2:25: train.augment.zoom: want at most 0.95, found 0.97"}},
		{"word outside the list", minimal + "predictor: {loss: bec}\n", nil,
			[]string{`test.yaml:2:19: predictor.loss: want one of mse, bce, kl, cc, bce+cc, found "bec"; did you mean "bce"?`}},
		{"trust", minimal + "train: {trust: ful}\n", nil,
			[]string{`test.yaml:2:16: train.trust: want one of auto, full, found "ful"; did you mean "full"?`}},
		{"word in a list", minimal + "train: {arms: [none, combine]}\n", nil,
			[]string{`test.yaml:2:22: train.arms.1: want one of none, human, predicted, combined, full, human_small, none_small, shuffled, mean, inverted, found "combine"; did you mean "combined"?`}},
		{"number for a word", minimal + "train: {epochs: many}\n", nil,
			[]string{`test.yaml:2:17: train.epochs: want a whole number, found "many"`}},
		{"fraction for a whole number", minimal + "train: {epochs: 1.5}\n", nil,
			[]string{`test.yaml:2:17: train.epochs: want a whole number, found 1.5`}},
		{"infinite number", minimal + "train: {alpha: .inf}\n", nil,
			[]string{`test.yaml:2:16: train.alpha: want a number, found .inf`}},
		{"yes for true", minimal + "annotate: {mirror: yes}\n", nil,
			[]string{`test.yaml:2:20: annotate.mirror: want true or false, found "yes"`}},
		{"one for many", minimal + "predictor: {widths: 16}\n", nil,
			[]string{"test.yaml:2:21: predictor.widths: want a list, found 16"}},
		{"nothing for a value", minimal + "train: {seeds: }\n", nil,
			[]string{"test.yaml:2:15: train.seeds: want a whole number, found nothing"}},
		{"scalar for a section", minimal + "train: 3\n", nil,
			[]string{"test.yaml:2:8: train: want keys and values, found 3"}},
		{"device", minimal + "device: gpu\n", nil,
			[]string{`test.yaml:2:9: device: want auto, cpu, cuda or cuda:<number>, found "gpu"`}},
		{"column of a source", "data: {classes: [a, b], unannotated: [{format: parquet, path: x, columns: {imag: i}}]}\n", nil,
			[]string{`test.yaml:1:76: data.unannotated.0.columns: unknown key "imag"; did you mean "image"?`}},
		{"source without format and path", "data: {classes: [a, b], unannotated: [{path: x}]}\n", nil,
			[]string{`test.yaml:1:39: data.unannotated.0.format: want one of parquet, arrow, huggingface, found ""`}},
		{"no classes", "", nil, []string{"data.classes: want the names of at least 2 classes, found 0"}},
		{"class twice", "data: {classes: [a, a]}\n", nil, []string{`test.yaml:1:17: data.classes: "a" comes twice`}},
		{"nothing left to train", "data: {classes: [a, b], split: {val: 0.5, test: 0.5}}\n", nil,
			[]string{"test.yaml:1:32: data.split: want val + test below 1 so that some rows train, found 1"}},
		{"built-in data set", "data: {classes: [a, b], root: 'embed:quickstrt'}\n", nil,
			[]string{`test.yaml:1:31: data.root: want a folder or a built-in data set (quickstart), found "quickstrt"; did you mean "quickstart"?`}},
		{"size of the predictor", minimal + "predictor: {size: 100}\n", nil,
			[]string{"test.yaml:2:19: predictor.size: want a multiple of 16 (stem stride 2, halved 3 times), found 100"}},
		{"even kernel", minimal + "predictor: {stem: {kernel: 4}}\n", nil,
			[]string{"test.yaml:2:28: predictor.stem.kernel: want an odd number, found 4"}},
		{"empty stem", minimal + "predictor: {stem: {kernel: 0, stride: 0}}\n", nil,
			[]string{"test.yaml:2:19: predictor.stem: want kernel and stride for network: unet, found nothing"}},
		{"size of an encoder", minimal + "predictor: {network: unet-resnet18, size: 48}\n", nil,
			[]string{"test.yaml:2:43: predictor.size: want a multiple of 32 for network: unet-resnet18, found 48"}},
		{"widths of an encoder", minimal + "predictor: {network: unet-resnet18, widths: [16, 32, 64, 96]}\n", nil,
			[]string{"test.yaml:2:12: predictor: widths and stem belong to network: unet, found network: unet-resnet18"}},
		{"stem of an encoder", minimal + "predictor: {network: unetplusplus-resnet50}\n", []string{"predictor.stem.kernel=5"},
			[]string{"test.yaml:2:12: predictor: widths and stem belong to network: unet, found network: unetplusplus-resnet50"}},
		{"weights of a plain unet", minimal + "predictor: {pretrained: x.pth}\n", nil,
			[]string{`test.yaml:2:25: predictor.pretrained: want none for network: unet, whose encoder is no classifier, found "x.pth"`}},
		{"custom without layers", minimal + "classifier: {network: custom, stem: {width: 8, kernel: 3, stride: 2}, widths: [8, 8], blocks: [1], strides: [1, 1]}\n", nil,
			[]string{"test.yaml:2:13: classifier: want as many widths as blocks and strides, at least one, found 2, 1 and 2"}},
		{"layers of a known network", minimal + "classifier: {widths: [8]}\n", nil,
			[]string{"test.yaml:2:13: classifier: stem, widths, blocks and strides belong to network: custom, found network: resnet-small"}},
		{"ensemble of a baseline", minimal + "annotate: {annotator: pca, ensemble: 3}\n", nil,
			[]string{"test.yaml:2:38: annotate.ensemble: want 1 for annotator: pca, which is the same for every seed, found 3"}},
		{"ensemble of none", minimal + "annotate: {ensemble: 0}\n", nil,
			[]string{"test.yaml:2:22: annotate.ensemble: want at least 1, found 0"}},
		{"annotator", minimal + "annotate: {annotator: teacher}\n", nil,
			[]string{`test.yaml:2:23: annotate.annotator: want one of predictor, teacher-cam, teacher-rise, mean, centre, pca, found "teacher"`}},
		{"cells without pixels", minimal + "annotate: {annotator: teacher-rise, rise: {cells: 97}}\n", nil,
			[]string{"test.yaml:2:51: annotate.rise.cells: want at most classifier.size, 96, found 97"}},
		{"masks that hide nothing", minimal + "annotate: {rise: {masks: 0, keep: 1}}\n", nil,
			[]string{"test.yaml:2:26: annotate.rise.masks: want at least 1, found 0", "test.yaml:2:35: annotate.rise.keep: want less than 1, found 1"}},
		{"small map", minimal + "classifier: {network: custom, size: 8, stem: {width: 8, kernel: 3, stride: 2, pool: 2}, widths: [8], blocks: [1], strides: [2]}\n", nil,
			[]string{"test.yaml:2:37: classifier.size: want a class activation map of at least 2x2 cells, found 1x1 for size 8"}},
		{"map of another class", minimal + "classifier: {cam: {class: diference, features: last}}\n", nil, []string{
			`test.yaml:2:27: classifier.cam.class: want one of true, predicted, difference, found "diference"; did you mean "difference"?`,
			`test.yaml:2:48: classifier.cam.features: want one of pool_input, reference, found "last"`}},
		{"loss", minimal + "train: {alpha_schedule: adaptiv, entropy: -1, blur: 101}\n", nil, []string{
			`test.yaml:2:25: train.alpha_schedule: want one of fixed, linear, cosine, adaptive, found "adaptiv"; did you mean "adaptive"?`,
			"test.yaml:2:43: train.entropy: want at least 0, found -1", "test.yaml:2:53: train.blur: want at most 100, found 101"}},
		{"layout", "data: {classes: [a, b], annotated: {format: cyborg}}\n", nil,
			[]string{`test.yaml:1:45: data.annotated.format: want one of folder, cyborg-csv, egd-cxr, nih-chest-xray, found "cyborg"`}},
		{"test lists of another layout", "data: {classes: [a, b], annotated: {tests: [x.csv]}}\n", nil,
			[]string{"test.yaml:1:36: data.annotated: tests and map_suffix belong to format: cyborg-csv, found format: folder"}},
		{"suffix of another layout", "data: {classes: [a, b], annotated: {format: egd-cxr, map_suffix: _x}}\n", nil,
			[]string{"test.yaml:1:36: data.annotated: tests and map_suffix belong to format: cyborg-csv, found format: egd-cxr"}},
		{"test list twice", "data: {classes: [a, b], annotated: {format: cyborg-csv, tests: [x.csv, x.csv, '']}}\n", nil, []string{
			"test.yaml:1:79: data.annotated.tests.2: want a name, found nothing", `test.yaml:1:64: data.annotated.tests: "x.csv" comes twice`}},
		{"momentum of adamw", minimal + "train: {optimizer: {momentum: 0.9}}\n", nil,
			[]string{"test.yaml:2:20: train.optimizer: momentum and nesterov belong to sgd, found name: adamw"}},
		{"step without epochs", minimal + "train: {optimizer: {schedule: step}}\n", nil,
			[]string{"test.yaml:2:20: train.optimizer.step_epochs: want at least 1 for schedule: step, found 0"}},
		{"name with a path", minimal + "name: ../x\n", nil,
			[]string{`test.yaml:2:7: name: want letters, digits, '.', '_' and '-', found "../x"`}},
		{"two documents", minimal + "---\n" + minimal, nil, []string{"test.yaml:3:5: want one YAML document, found another"}},
		{"broken YAML", "data: [\n", nil, []string{"test.yaml:1:7: no valid YAML: sequence end token ']' not found"}},
		{"tag", minimal + "seed: !!int 3\n", nil, []string{"test.yaml:2:7: seed: want a plain value, found the tag !!int"}},
		{"alias without anchor", minimal + "seed: *x\n", nil, []string{`test.yaml:2:7: seed: alias "x" has no anchor before it`}},
		{"merge key", "x: &x {seed: 1}\n" + minimal, nil, []string{`test.yaml:1:1: unknown key "x"`}},
		{"override of an unknown key", minimal, []string{"train.aplha=1"},
			[]string{`--set train.aplha=1: train: unknown key "aplha"; did you mean "alpha"?`}},
		{"override without value", minimal, []string{"train.alpha"}, []string{"--set train.alpha: want key=value"}},
		{"override out of range", minimal, []string{"train.alpha=2"}, []string{"--set train.alpha=2: train.alpha: want at most 1, found 2"}},
		{"override past the end of a list", minimal, []string{"predictor.widths.7=2"},
			[]string{`--set predictor.widths.7=2: predictor.widths: want an index from 0 to 4, found "7"`}},
		{"override inside a value", minimal, []string{"seed.x=2"}, []string{`--set seed.x=2: seed: holds one value, has no key "x"`}},
		{"every problem at once", "sed: 1\ntrain: {alpha: 2, seeds: x}\ndevice: gpu\n", []string{"workers=-1"}, []string{
			`test.yaml:1:1: unknown key "sed"; did you mean "seed"?`,
			`test.yaml:2:26: train.seeds: want a whole number, found "x"`,
			`test.yaml:3:9: device: want auto, cpu, cuda or cuda:<number>, found "gpu"`,
			`--set workers=-1: workers: want at least 0, found -1`,
			`test.yaml:2:16: train.alpha: want at most 1, found 2`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := decode("test.yaml", test.text, test.sets)
			var found []string
			for _, p := range problemsOf(t, err) {
				found = append(found, p.String())
			}
			if !reflect.DeepEqual(found, test.want) {
				t.Errorf("found\n  %s\nwant\n  %s", strings.Join(found, "\n  "), strings.Join(test.want, "\n  "))
			}
		})
	}
}

func TestValuesOfAFileLieOverTheDefaults(t *testing.T) {
	c := mustDecode(t, minimal+"train:\n  optimizer: {lr: 1e-4}\n  epochs: 1e1\n  arms: [none]\nclassifier: {cam: {class: true}}\nreport:\n")
	want := DefaultConfig()
	want.Name = "test"
	want.Data.Classes = []string{"a", "b"}
	want.Train.Optimizer.LR = 1e-4
	want.Train.Epochs = 10
	want.Train.Arms = []string{"none"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("found %+v, want %+v", c, want)
	}
}

func TestTheDefaultsOfAUNetAreLeftOutOfOtherNetworks(t *testing.T) {
	c := mustDecode(t, minimal+"predictor: {network: unet-resnet50}\n")
	if c.Predictor.Widths != nil || c.Predictor.Stem != (Stem{}) {
		t.Errorf("found widths %v and stem %+v, want none", c.Predictor.Widths, c.Predictor.Stem)
	}
}

func TestNetworksWithPublishedWeightsGetTheSizeThatThoseComeFrom(t *testing.T) {
	for network, want := range map[string]int{"resnet-small": 96, "resnet18": 224, "resnet50": 224, "densenet121": 224, "inception-v3": 299, "xception": 299} {
		if c := mustDecode(t, minimal, "classifier.network="+network); c.Classifier.Size != want {
			t.Errorf("%s: found size %d, want %d", network, c.Classifier.Size, want)
		}
	}
	if c := mustDecode(t, minimal, "predictor.network=unet-resnet18"); c.Predictor.Size != 224 {
		t.Errorf("unet-resnet18: found size %d, want 224", c.Predictor.Size)
	}
}

func TestPretrainedWeightsAreFineTunedAtALowerRateAndThePublishedAlpha(t *testing.T) {
	c := mustDecode(t, minimal+"predictor: {network: unet-resnet18, pretrained: a.pth}\nclassifier: {network: resnet18, pretrained: a.pth}\n")
	if c.Predictor.Optimizer.LR != 3e-4 || c.Train.Optimizer.LR != 3e-4 {
		t.Errorf("found rates %v and %v, want 3e-4", c.Predictor.Optimizer.LR, c.Train.Optimizer.LR)
	}
	if c.Train.Alpha != 0.5 {
		t.Errorf("found alpha %v, want 0.5", c.Train.Alpha)
	}
}

func TestWhatAFileSaysIsNotAdapted(t *testing.T) {
	c := mustDecode(t, minimal+"classifier: {network: resnet18, pretrained: a.pth, size: 96}\n", "train.optimizer.lr=0.01", "train.alpha=0.2")
	if c.Classifier.Size != 96 || c.Train.Optimizer.LR != 0.01 || c.Train.Alpha != 0.2 {
		t.Errorf("found size %d, rate %v and alpha %v, want 96, 0.01 and 0.2", c.Classifier.Size, c.Train.Optimizer.LR, c.Train.Alpha)
	}
}

func TestOverridesReachEveryKindOfValueInTheirOrder(t *testing.T) {
	c := mustDecode(t, minimal,
		"train.alpha=0.3", "train.alpha=0.4", "train.arms=[none, human]", "predictor.widths=8,16",
		"predictor.widths.1=32", "data.unannotated.0.path=x.parquet", "data.unannotated[0].format=parquet",
		"data.unannotated.0.columns.image=img", "data.root=../data", "classifier.pretrained=", "export=[]",
		"train.optimizer={lr: 1}", "name=a=b"[:6])
	if c.Train.Alpha != 0.4 || !reflect.DeepEqual(c.Train.Arms, []string{"none", "human"}) ||
		!reflect.DeepEqual(c.Predictor.Widths, []int{8, 32}) || c.Data.Root != "../data" ||
		c.Classifier.Pretrained != "" || len(c.Export) != 0 || c.Train.Optimizer.LR != 1 ||
		c.Train.Optimizer.Name != "adamw" || c.Name != "a" {
		t.Errorf("found %+v", c)
	}
	want := []Source{{Format: "parquet", Path: "x.parquet", Columns: map[string]string{"image": "img"}}}
	if !reflect.DeepEqual(c.Data.Unannotated, want) {
		t.Errorf("found sources %+v, want %+v", c.Data.Unannotated, want)
	}
}

func TestAliasesStandForTheirAnchors(t *testing.T) {
	c := mustDecode(t, minimal+"predictor: {optimizer: &o {name: sgd, momentum: 0.5}}\ntrain: {optimizer: *o}\n")
	if c.Train.Optimizer.Name != "sgd" || c.Train.Optimizer.Momentum != 0.5 {
		t.Errorf("found %+v, want the predictor's", c.Train.Optimizer)
	}
}

func TestAnAliasOfItselfIsRefused(t *testing.T) {
	_, err := decode("test.yaml", "train: &a {optimizer: *a}\n", nil)
	problemsOf(t, err)
}

func TestDeeplyNestedTextIsRefused(t *testing.T) {
	for _, text := range []string{strings.Repeat("[", 100_000), strings.Repeat("{a: ", 50_000), strings.Repeat("x", maxFile+1)} {
		_, err := decode("test.yaml", text, nil)
		problemsOf(t, err)
	}
}

func TestTheDefaultsAreValidBesideAMissingDataSet(t *testing.T) {
	c := DefaultConfig()
	c.Name, c.Data.Classes = "x", []string{"a", "b"}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateWantsAName(t *testing.T) {
	c := DefaultConfig()
	if p := problemsOf(t, c.Validate()); p[0].Path != "name" {
		t.Errorf("found %v, want a problem of name", p)
	}
}

func TestFoldersFollowFromTheName(t *testing.T) {
	c := mustDecode(t, minimal)
	if got, want := c.OutDir(), filepath.Join("runs", "test"); got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	if got, want := c.StoreDir(), filepath.Join("runs", "test", ".store"); got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	c = mustDecode(t, minimal+"out: o\nstore: s\n")
	if c.OutDir() != "o" || c.StoreDir() != "s" {
		t.Errorf("found %q and %q, want o and s", c.OutDir(), c.StoreDir())
	}
}

func TestResolvedConfigurationsLoadAgainAsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := draw(t)
		text, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode("other.yaml", string(text), nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if !reflect.DeepEqual(again, c) {
			t.Fatalf("found %+v, want %+v from\n%s", again, c, text)
		}
	})
}

// draw makes a valid configuration with awkward words and numbers.
func draw(t *rapid.T) *Config {
	c := DefaultConfig()
	word := rapid.StringN(1, 12, -1)
	c.Name = rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,8}`).Draw(t, "name")
	c.Seed = rapid.Int64Range(0, 1<<52).Draw(t, "seed")
	c.Data.Classes = rapid.SliceOfNDistinct(word, 2, 4, rapid.ID).Draw(t, "classes")
	c.Data.Annotated.Images = word.Draw(t, "images")
	c.Classifier.Pretrained = rapid.SampledFrom([]string{"", "true", "null", "~", "1", "1e3", "- x", "a: b", "# c", "'", `"`, "\\", "*a", "&a", "!a", " a ", "é\n"}).Draw(t, "pretrained")
	c.Classifier.AllowMissing = rapid.SliceOfN(rapid.SampledFrom([]string{"*", "layer4.*", "fc.?"}), 0, 3).Draw(t, "allow missing")
	c.Train.Alpha = rapid.Float64Range(0, 1).Draw(t, "alpha")
	c.Train.Optimizer.LR = rapid.Float64Range(1e-12, 1e12).Draw(t, "lr")
	c.Train.Arms = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"none", "human", "mean", "full"}), 1, 4, rapid.ID).Draw(t, "arms")
	c.Classifier.CAM.Class = rapid.SampledFrom([]string{"true", "predicted"}).Draw(t, "class")
	if rapid.Bool().Draw(t, "custom") {
		c.Classifier.Network = "custom"
		c.Classifier.Stem = ClassifierStem{Width: 8, Kernel: 3, Stride: 2}
		c.Classifier.Widths, c.Classifier.Blocks, c.Classifier.Strides = []int{8, 16}, []int{1, 2}, []int{1, 2}
	}
	if rapid.Bool().Draw(t, "encoder") {
		c.Predictor.Network, c.Predictor.Widths, c.Predictor.Stem = "unet-densenet121", nil, Stem{}
		c.Predictor.Pretrained = c.Classifier.Pretrained
	}
	if rapid.Bool().Draw(t, "sources") {
		c.Data.Unannotated = []Source{{Format: "arrow", Path: word.Draw(t, "path"), Columns: map[string]string{"image": word.Draw(t, "column")}}, {Format: "parquet", Path: "x"}}
	}
	return c
}

func TestTheCommittedSchemaIsThatOfTheTypes(t *testing.T) {
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("../../configs/schema.json", want, 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	found, err := fs.ReadFile(configs.FS, "schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(found, want) {
		t.Error("configs/schema.json is stale; go test ./internal/config -run Schema -update writes it anew")
	}
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance reads YAML as a schema validator of an editor would.
func instance(t *testing.T, text []byte) any {
	t.Helper()
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTheSchemaAcceptsBuiltInAndResolvedConfigurations(t *testing.T) {
	s := compiledSchema(t)
	for _, name := range configs.Names() {
		text, err := fs.ReadFile(configs.FS, name+".yaml")
		if err != nil {
			t.Fatal(err)
		}
		c, err := Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		resolved, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range [][]byte{text, resolved} {
			if err := s.Validate(instance(t, text)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestTheSchemaRefusesWhatLoadRefuses(t *testing.T) {
	s := compiledSchema(t)
	for _, text := range []string{
		"trian: {}", "train: {alpha: 2}", "train: {arms: [nobody]}", "train: {optimizer: {lr: 0}}", "device: gpu",
		"predictor: {widths: [0]}", "data: {unannotated: [{columns: {imag: x}}]}", "train: {seeds: many}",
	} {
		if _, err := decode("x.yaml", text+"\n", nil); err == nil {
			t.Errorf("Load accepts %s", text)
		}
		if err := s.Validate(instance(t, []byte(text))); err == nil {
			t.Errorf("the schema accepts %s", text)
		}
	}
}

func TestEveryKeyIsDescribed(t *testing.T) {
	visitTypes(reflect.TypeFor[Config](), func(f reflect.StructField) {
		if fieldName(f) == "" || f.Tag.Get("doc") == "" {
			t.Errorf("%s: want the tags json and doc", f.Name)
		}
	})
}

func visitTypes(t reflect.Type, visit func(reflect.StructField)) {
	switch t.Kind() {
	case reflect.Slice:
		visitTypes(t.Elem(), visit)
	case reflect.Struct:
		for f := range t.Fields() {
			visit(f)
			visitTypes(f.Type, visit)
		}
	}
}

// FuzzLoad looks for panics and for configurations that change when they are
// written and read again.
func FuzzLoad(f *testing.F) {
	for _, name := range configs.Names() {
		text, err := fs.ReadFile(configs.FS, name+".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "train.alpha=0.5")
	}
	f.Add("a: &a [*a]\n<<: *a\n? b\n: !!str c\n", "data.unannotated.0.columns.image=[")
	f.Add("--- |\n x\n...\n", "x[=")
	f.Fuzz(func(t *testing.T, text, set string) {
		c, err := decode("fuzz.yaml", text, []string{set})
		if err != nil {
			problemsOf(t, err)
			return
		}
		resolved, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode("again.yaml", string(resolved), nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, resolved)
		}
		a, _ := json.Marshal(c)
		b, _ := json.Marshal(again)
		if !bytes.Equal(a, b) {
			t.Fatalf("found %s, want %s", b, a)
		}
	})
}

func TestNearestNames(t *testing.T) {
	known := []string{"alpha", "epochs", "seeds", "select"}
	for _, test := range []struct{ name, want string }{
		{"alhpa", `; did you mean "alpha"?`},    // two neighbours swapped
		{"epoch", `; did you mean "epochs"?`},   // one letter missing
		{"selects", `; did you mean "select"?`}, // one letter more
		{"momentum", ""},
		{"", ""},
	} {
		if got := didYouMean(test.name, known); got != test.want {
			t.Errorf("%q: found %q, want %q", test.name, got, test.want)
		}
	}
}
