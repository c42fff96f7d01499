package backbone

import (
	"os"
	"strings"
	"testing"
)

func TestPublishedNamesBecomeTheNetworks(t *testing.T) {
	for _, c := range []struct {
		net        interface{ Published() Published }
		name, want string
	}{
		{ResNet18(), "layer1.0.bn1.num_batches_tracked", ""},
		{ResNet18(), "module.layer1.0.bn1.weight", "layer1.0.bn1.weight"},
		{ResNet18(), "last_linear.weight", "fc.weight"},
		{DenseNet121(), "features.denseblock1.denselayer2.norm.1.running_mean", "features.denseblock1.denselayer2.norm1.running_mean"},
		{DenseNet121(), "module.features.denseblock4.denselayer16.conv.2.weight", "features.denseblock4.denselayer16.conv2.weight"},
		{DenseNet121(), "features.transition1.norm.weight", "features.transition1.norm.weight"},
		{DenseNet121(), "last_linear.bias", "classifier.bias"},
		{InceptionV3(), "AuxLogits.fc.weight", ""},
		{InceptionV3(), "module.AuxLogits.conv0.bn.running_var", ""},
		{UNetOf(ResNet18()), "module.layer1.0.bn1.weight", "encoder.layer1.0.bn1.weight"},
		{UNetOf(ResNet18()), "fc.weight", "encoder.fc.weight"},
		{UNetPlusPlusOf(DenseNet121()), "features.denseblock1.denselayer2.norm.1.running_mean", "encoder.features.denseblock1.denselayer2.norm1.running_mean"},
		{LegacyXception(), "last_linear.weight", "fc.weight"},
		{LegacyXception(), "block1.rep.0.pointwise.weight", "block1.rep.0.pointwise.weight"},
	} {
		if got := c.net.Published().Name(c.name); got != c.want {
			t.Errorf("%T: %q becomes %q, want %q", c.net, c.name, got, c.want)
		}
	}
}

func TestReferencesOwnNamesStay(t *testing.T) {
	for file, net := range map[string]Network{
		"resnet18": ResNet18(), "resnet50": ResNet50(), "densenet121": DenseNet121(), "inception-v3": InceptionV3(), "xception": LegacyXception(),
	} {
		b, err := os.ReadFile("testdata/" + file + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		heads := 0
		for line := range strings.Lines(string(b)) {
			name, _, _ := strings.Cut(line, " ")
			if got := net.Published().Name(name); got != name {
				t.Errorf("%s: %q becomes %q", file, name, got)
			}
			if net.Published().IsHead(name) {
				heads++
			}
		}
		if heads != 2 {
			t.Errorf("%s: found %d parameters of the last layer, want 2", file, heads)
		}
	}
}
