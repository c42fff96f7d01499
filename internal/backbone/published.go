package backbone

import (
	"regexp"
	"strings"
)

// Published says how files of a network's published weights differ from the network
// here.
type Published struct {
	// Prefix begins the names of the parameters that files have, under names without
	// it; other parameters are no part of the published network.
	Prefix string
	// Head is the path of the last layer.
	Head string
	// Centred names the first convolution, which pads nothing, and the batch norm
	// behind it, of networks whose published weights were trained on images less 0.5,
	// divided by 0.5. It is nil where these were ImageNet's mean and deviation.
	Centred *InputLayers
}

// InputLayers are the paths of the layers that see the image first.
type InputLayers struct{ Conv, Norm string }

// denseLayer is how DenseNet's files name its layers: torchvision renames them as
// it reads them.
var denseLayer = regexp.MustCompile(`(\.denselayer\d+\.(?:norm|conv))\.([12]\.)`)

// Name is the network's name of a file's tensor, "" of one that no network here has:
// the auxiliary classifier of Inception, and counts of batches. It knows the names of
// torchvision, timm, and Cadene's pretrained-models.pytorch, and those that
// torch.nn.DataParallel puts a prefix to.
func (p Published) Name(tensor string) string {
	tensor = strings.TrimPrefix(tensor, "module.")
	if strings.HasSuffix(tensor, ".num_batches_tracked") || strings.HasPrefix(tensor, "AuxLogits.") {
		return ""
	}
	if rest, ok := strings.CutPrefix(tensor, "last_linear."); ok {
		return p.Prefix + p.Head + "." + rest
	}
	return p.Prefix + denseLayer.ReplaceAllString(tensor, "$1$2")
}

// EncoderName is the same of a tensor of a predictor's file, "" of one that is not its
// encoder's.
func (p Published) EncoderName(tensor string) string {
	rest, ok := strings.CutPrefix(tensor, encoderPrefix)
	if !ok {
		return ""
	}
	return p.Name(rest)
}

// IsHead reports whether a parameter is the last layer's.
func (p Published) IsHead(param string) bool {
	return param == p.Prefix+p.Head+".weight" || param == p.Prefix+p.Head+".bias"
}

// Covers reports whether a parameter is one of the published network's.
func (p Published) Covers(param string) bool { return strings.HasPrefix(param, p.Prefix) }

// Published tells of torchvision's weights.
func (ResNet) Published() Published { return Published{Head: "fc"} }

// Published tells of torchvision's weights.
func (DenseNet) Published() Published { return Published{Head: "classifier"} }

// Published tells of torchvision's weights, which it loads with transform_input: the
// network itself brings an image that was normalised with ImageNet's mean and
// deviation to what the weights were trained on.
func (Inception) Published() Published {
	return Published{Head: "fc", Centred: &InputLayers{"Conv2d_1a_3x3.conv", "Conv2d_1a_3x3.bn"}}
}

// Published tells of the weights of timm's legacy_xception, and of Cadene's, which
// are the same.
func (Xception) Published() Published {
	return Published{Head: "fc", Centred: &InputLayers{"conv1", "bn1"}}
}
