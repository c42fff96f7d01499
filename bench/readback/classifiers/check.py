"""Loads the classifiers that main.go wrote in torchvision and timm, and in
onnxruntime, and compares.

    python check.py FOLDER

Every file must be a state_dict that the network takes strictly. Ends with 1 if a
logarithm of a probability differs by more than 1e-4 of the largest logit, or a class
activation map, which lies in [0, 1], by more than 1e-4.
"""

import json
import pathlib
import sys

import onnxruntime
import timm
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision.transforms.functional import normalize, to_tensor

NEAR = 1e-4


def inception_v3(num_classes):
    return torchvision.models.inception_v3(num_classes=num_classes, aux_logits=False, init_weights=False)


def xception(num_classes):
    return timm.create_model("legacy_xception", num_classes=num_classes)


# What builds a network, its layer whose ReLU feeds the global average pool, and the
# layer behind that.
NETWORKS = {
    "resnet18": (torchvision.models.resnet18, "layer4", "fc"),
    "resnet50": (torchvision.models.resnet50, "layer4", "fc"),
    "densenet121": (torchvision.models.densenet121, "features", "classifier"),
    "inception-v3": (inception_v3, "Mixed_7c", "fc"),
    "xception": (xception, "bn4", "fc"),
}


def description(file):
    """What the file says of itself: classes, configuration, preprocessing."""
    with safe_open(file, "pt") as f:
        return json.loads(f.metadata()["model"])


def judge(net, last, images):
    """Logits, and the features that feed the global average pool."""
    held = {}
    net.get_submodule(last).register_forward_hook(lambda module, x, y: held.update(y=y.relu()))
    with torch.no_grad():
        return net.eval()(images).double(), held["y"].double()


def activation_maps(features, weights):
    """The class activation maps of classes with the rows weights, from 0 to 1."""
    maps = torch.einsum("nkhw,nk->nhw", features, weights.double()).flatten(1)
    low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    return (maps - low) / (high - low)


def by_torch(folder, name, about, images):
    """Logits and maps of the network in Python."""
    build, last, head = NETWORKS[name]
    net = build(num_classes=len(about["classes"]))
    net.load_state_dict(load_file(folder / f"{name}.safetensors"), strict=True)
    logits, features = judge(net, last, images)
    return logits, activation_maps(features, net.get_submodule(head).weight[logits.argmax(1)].detach())


def by_onnx(folder, name, images):
    """The same of the ONNX file, image by image: the number of images is free."""
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
    results = [session.run(["logits", "cam"], {"image": image[None].numpy()}) for image in images]
    logits, maps = (torch.cat([torch.from_numpy(r[i]).double() for r in results]) for i in range(2))
    return logits, maps.flatten(1)


def differences(logits, maps, verdicts):
    """The largest ones, of scores as a share of the largest logit."""
    our_scores = torch.tensor([v["scores"] for v in verdicts.values()], dtype=torch.float64)
    our_maps = torch.tensor([v["cam"] for v in verdicts.values()], dtype=torch.float64)
    scores = (logits.log_softmax(1) - our_scores.log()).abs().max() / logits.abs().max()
    return scores.item(), (maps - our_maps).abs().max().item()


def check(folder):
    """Yields the differences of every network, by its name and where it was loaded."""
    verdicts = json.loads((folder / "verdicts.json").read_text())
    assert verdicts.keys() == NETWORKS.keys(), list(verdicts)
    for name in verdicts:
        about = description(folder / f"{name}.safetensors")
        images = torch.stack([to_tensor(Image.open(folder / f"{id}.png").convert("RGB")) for id in verdicts[name]])
        images = normalize(images, **about["preprocessing"])
        yield f"{name} in PyTorch", differences(*by_torch(folder, name, about, images), verdicts[name])
        yield f"{name} in onnxruntime", differences(*by_onnx(folder, name, images), verdicts[name])


def main():
    close = True
    for name, (scores, maps) in check(pathlib.Path(sys.argv[1])):
        print(f"{name}: scores differ by {scores:.1e} of the largest logit, maps by {maps:.1e}")
        close = close and scores <= NEAR and maps <= NEAR
    sys.exit(0 if close else 1)


if __name__ == "__main__":
    main()
