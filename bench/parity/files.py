"""Weights that go back and forth: torchvision's and timm's files read here. Files of ours
are loaded strictly by training.py and by bench/readback/classifiers."""
import pathlib
import tempfile

import torch
from safetensors.torch import load_file, save_file

from networks import NEAR, far, job, size
from references import Reference, batches, grid, initial, loaded
from table import Found, Table

PUBLISHED = ["resnet18", "resnet50", "densenet121", "inception-v3", "xception"]
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def as_published(name, image):
    """Images as the network's weights were trained on, from those of ImageNet's mean and
    deviation."""
    if name in ("inception-v3", "xception"):
        return (image * STD + MEAN - 0.5) / 0.5
    return image


def judged(name, values, inputs, dtype):
    reference = Reference(name, values, dtype, "mse")
    reference.net.eval()
    with torch.no_grad():
        return reference(inputs | {"image": as_published(name, inputs["image"])})


def compare(ours):
    table = Table("Files of PyTorch (.pth)", "network", "logits", "features", "CAM")
    for name in PUBLISHED:
        values, side = initial(name, size(name), 5), size(name)
        inputs = batches(name, side, 2, grid(name, side), 6)
        want, theirs = (judged(name, values, inputs, dtype) for dtype in (torch.float64, torch.float32))
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            torch.save(loaded(name, values, torch.float32).state_dict(), folder / "published.pth")
            save_file(inputs, folder / "in.safetensors")
            ours.call("published", job(name, side, 2), folder)
            found = load_file(folder / "out.safetensors")
        table.add(name, *(Found(far(found["eval/" + k], want[k]), max(NEAR, 2 * far(theirs[k], want[k]))) for k in ("logits", "features", "cam")))
    return [table]
