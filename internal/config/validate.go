package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/surrogaze/surrogaze/configs"
)

// Validate checks every value and how the values go together. The error is an
// [*Error] with all problems.
func (c *Config) Validate() error { return asError(check(c)) }

func check(c *Config) []Problem {
	k := &checker{}
	k.tags(reflect.ValueOf(*c), "", rule{})
	if len(k.problems) == 0 {
		// Rules between values make sense only where each value does.
		k.data(c.Data)
		k.predictor(c.Predictor)
		k.annotate(c)
		k.classifier(c.Classifier)
		k.train(c.Train)
		k.exports(c.Export)
	}
	return k.problems
}

type checker struct{ problems []Problem }

func (k *checker) problem(path, format string, args ...any) {
	k.problems = append(k.problems, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

// tags holds every value against the rule in its field's tags.
func (k *checker) tags(v reflect.Value, path string, r rule) {
	text := ""
	switch v.Kind() {
	case reflect.Struct:
		for f, fv := range v.Fields() {
			if !(strings.HasSuffix(f.Tag.Get("json"), ",omitzero") && fv.IsZero()) {
				k.tags(fv, join(path, fieldName(f)), ruleOf(f.Tag))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			k.tags(v.Index(i), join(path, strconv.Itoa(i)), r)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if !slices.Contains(r.keys, key.String()) {
				text = fmt.Sprintf("unknown key %q%s", key, didYouMean(key.String(), r.keys))
			}
		}
	case reflect.Int, reflect.Int64:
		text = r.checkNumber(float64(v.Int()))
	case reflect.Float64:
		text = r.checkNumber(v.Float())
	case reflect.String:
		text = r.checkString(v.String())
	}
	if text != "" {
		k.problem(path, "%s", text)
	}
}

func (k *checker) data(d Data) {
	if name, ok := strings.CutPrefix(d.Root, configs.Embedded); ok && !slices.Contains(configs.DataSets(), name) {
		k.problem("data.root", "want a folder or a built-in data set (%s), found %q%s",
			strings.Join(configs.DataSets(), ", "), name, didYouMean(name, configs.DataSets()))
	}
	k.given("data.root", d.Root)
	k.annotated(d.Annotated)
	for i, s := range d.Unannotated {
		k.given(fmt.Sprintf("data.unannotated.%d.path", i), s.Path)
	}
	if len(d.Classes) < 2 {
		k.problem("data.classes", "want the names of at least 2 classes, found %d", len(d.Classes))
	}
	for i, c := range d.Classes {
		k.given(fmt.Sprintf("data.classes.%d", i), c)
	}
	k.unique("data.classes", d.Classes)
	if sum := d.Split.Val + d.Split.Test; sum >= 1 {
		k.problem("data.split", "want val + test below 1 so that some rows train, found %g", sum)
	}
}

func (k *checker) annotated(a Annotated) {
	k.given("data.annotated.images", a.Images)
	k.given("data.annotated.labels", a.Labels)
	k.given("data.annotated.maps", a.Maps)
	for i, t := range a.Tests {
		k.given(fmt.Sprintf("data.annotated.tests.%d", i), t)
	}
	k.unique("data.annotated.tests", a.Tests)
	if a.Format != "cyborg-csv" && (len(a.Tests) > 0 || a.MapSuffix != "") {
		k.problem("data.annotated", "tests and map_suffix belong to format: cyborg-csv, found format: %s", a.Format)
	}
}

func (k *checker) predictor(p Predictor) {
	k.optimizer("predictor.optimizer", p.Optimizer)
	if p.Network == "unet" {
		k.unet(p)
		return
	}
	if len(p.Widths) > 0 || p.Stem != (Stem{}) {
		k.problem("predictor", "widths and stem belong to network: unet, found network: %s", p.Network)
	}
	if p.Size%encoderStride != 0 {
		k.problem("predictor.size", "want a multiple of %d for network: %s, found %d", encoderStride, p.Network, p.Size)
	}
}

// encoderStride is how many pixels of the image's side a classifier's last features
// stand for.
const encoderStride = 32

func (k *checker) unet(p Predictor) {
	if p.Stem == (Stem{}) {
		k.problem("predictor.stem", "want kernel and stride for network: unet, found nothing")
		return
	}
	k.odd("predictor.stem.kernel", p.Stem.Kernel)
	if p.Pretrained != "" {
		k.problem("predictor.pretrained", "want none for network: unet, whose encoder is no classifier, found %q", p.Pretrained)
	}
	if len(p.Widths) < 2 {
		k.problem("predictor.widths", "want at least 2 levels, found %d", len(p.Widths))
		return
	}
	// Each level halves the side, and the decoder doubles it again.
	if levels := len(p.Widths); levels > 8 {
		k.problem("predictor.widths", "want at most 8 levels, found %d", levels)
	} else if unit := p.Stem.Stride << (levels - 1); p.Size%unit != 0 {
		k.problem("predictor.size", "want a multiple of %d (stem stride %d, halved %d times), found %d",
			unit, p.Stem.Stride, levels-1, p.Size)
	}
}

func (k *checker) annotate(c *Config) {
	a := c.Annotate
	if a.Ensemble > 1 && a.Annotator != "predictor" && !a.Teaches() {
		k.problem("annotate.ensemble", "want 1 for annotator: %s, which is the same for every seed, found %d", a.Annotator, a.Ensemble)
	}
	if a.Annotator == "teacher-rise" && a.RISE.Cells > c.Classifier.Size {
		k.problem("annotate.rise.cells", "want at most classifier.size, %d, found %d", c.Classifier.Size, a.RISE.Cells)
	}
}

func (k *checker) classifier(c Classifier) {
	if c.Network != "custom" {
		if !reflect.DeepEqual(c.Stem, ClassifierStem{}) || len(c.Widths)+len(c.Blocks)+len(c.Strides) > 0 {
			k.problem("classifier", "stem, widths, blocks and strides belong to network: custom, found network: %s", c.Network)
		}
		return
	}
	if c.Stem == (ClassifierStem{}) {
		k.problem("classifier.stem", "want width, kernel and stride for network: custom, found nothing")
		return
	}
	k.odd("classifier.stem.kernel", c.Stem.Kernel)
	if c.Stem.Pool == 1 {
		k.problem("classifier.stem.pool", "want 0, 2 or 3, found 1")
	}
	if n := len(c.Widths); n == 0 || len(c.Blocks) != n || len(c.Strides) != n {
		k.problem("classifier", "want as many widths as blocks and strides, at least one, found %d, %d and %d",
			n, len(c.Blocks), len(c.Strides))
		return
	}
	if side := c.grid(); side < 2 {
		k.problem("classifier.size", "want a class activation map of at least 2x2 cells, found %dx%d for size %d", side, side, c.Size)
	}
}

// grid is the side of a custom network's class activation map. Every stride
// rounds up, as convolutions padded by half their kernel do.
func (c Classifier) grid() int {
	side := ceilDiv(c.Size, c.Stem.Stride)
	if c.Stem.Pool > 0 {
		side = ceilDiv(side, 2)
	}
	for _, s := range c.Strides {
		side = ceilDiv(side, s)
	}
	return side
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func (k *checker) train(t Train) {
	if len(t.Arms) == 0 {
		k.problem("train.arms", "want at least one arm, found none")
	}
	k.unique("train.arms", t.Arms)
	k.optimizer("train.optimizer", t.Optimizer)
}

func (k *checker) optimizer(path string, o Optimizer) {
	if o.Name != "sgd" && (o.Momentum != 0 || o.Nesterov) {
		k.problem(path, "momentum and nesterov belong to sgd, found name: %s", o.Name)
	}
	if o.Nesterov && o.Name == "sgd" && o.Momentum == 0 {
		k.problem(path+".nesterov", "want momentum above 0, found 0")
	}
	if o.Schedule == "step" && o.StepEpochs == 0 {
		k.problem(path+".step_epochs", "want at least 1 for schedule: step, found 0")
	}
	if o.Schedule == "step" && o.Gamma == 0 {
		k.problem(path+".gamma", "want more than 0 for schedule: step, found 0")
	}
}

func (k *checker) exports(exports []Export) {
	names := make([]string, len(exports))
	for i, e := range exports {
		names[i] = e.To
	}
	k.unique("export", names)
}

func (k *checker) given(path, s string) {
	if s == "" {
		k.problem(path, "want a name, found nothing")
	}
}

func (k *checker) odd(path string, n int) {
	if n%2 == 0 {
		k.problem(path, "want an odd number, found %d", n)
	}
}

func (k *checker) unique(path string, names []string) {
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] {
			k.problem(path, "%q comes twice", name)
		}
		seen[name] = true
	}
}
