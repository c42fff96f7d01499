"""Weights that go back and forth: torchvision's and timm's files read here, and files of
trained classifiers loaded strictly there."""
import pathlib
import subprocess
import tempfile

import torch
from safetensors.torch import load_file, save_file

from comparison import Setting
from networks import NEAR, far, job, size
from references import ROOT, Reference, batches, grid, initial, loaded, module
from table import Found

check = module("bench/readback/classifiers/check.py").check
PUBLISHED = ["resnet18", "resnet50", "densenet121", "inception-v3", "xception"]
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def as_published(name, image):
    """Images as the network's weights were trained on, from those of ImageNet's mean and
    deviation."""
    if name in ("inception-v3", "xception"):
        return (image * STD + MEAN - 0.5) / 0.5
    return image


def judged(name, values, inputs, dtype, layout=torch.contiguous_format):
    reference = Reference(name, values, dtype, "mse")
    reference.net.eval().to(memory_format=layout)
    with torch.no_grad():
        return reference(inputs | {"image": as_published(name, inputs["image"])})


def compare(comparison):
    read_here(comparison)
    read_there(comparison)


def read_there(comparison):
    table = comparison.table("Our files, loaded strictly in PyTorch, and as ONNX in onnxruntime", "network", "scores, as a share of the largest logit", "CAM")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["go", "run", "./bench/readback/classifiers", folder], check=True, cwd=ROOT)
        for name, differences in check(pathlib.Path(folder)):
            table.add(name, *(Found(d, NEAR["f32"]) for d in differences))


def read_here(comparison):
    setting = Setting(comparison.ours, "cpu", "f32")
    table = comparison.table("PyTorch's files (.pth)", "network", "logits", "features", "CAM")
    for name in PUBLISHED:
        values, side = initial(name, size(name), 5), size(name)
        inputs = batches(name, side, 2, grid(name, side), 6)
        want = judged(name, values, inputs, torch.float64)
        theirs = setting.rounded(lambda layout: judged(name, values, inputs, torch.float32, layout))
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            torch.save(loaded(name, values, torch.float32).state_dict(), folder / "published.pth")
            save_file(inputs, folder / "in.safetensors")
            setting.ours.call("published", job(setting, name, side, 2), folder)
            found = load_file(folder / "out.safetensors")
        table.add(name, *(Found(far(found["eval/" + k], want[k]), max(NEAR[setting.precision], 2 * max(far(t[k], want[k]) for t in theirs))) for k in ("logits", "features", "cam")))
