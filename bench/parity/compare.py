"""Compares everything and prints the tables; ends with 1 if a bound is missed.

    python compare.py --ours PROGRAM [--parts networks,training,...] [--networks resnet18,...]
                      [--device cuda] [--precision f32,bf16] [--out FILE]

Where it is interrupted it prints what it has.
"""
import argparse
import importlib
import importlib.metadata
import pathlib
import platform
import signal
import sys
import time
import warnings

import torch

from comparison import Comparison
from ours import Ours
from references import CLASSIFIERS, PREDICTORS

ON_GPUS = ["networks", "training"]
PARTS = ON_GPUS + ["files", "preprocessing", "metrics"]
NETWORKS = CLASSIFIERS + PREDICTORS
LIBRARIES = ["torch", "torchvision", "timm", "segmentation_models_pytorch", "onnxruntime", "pillow", "scikit-learn", "scipy", "numpy"]


def versions(device):
    found = [f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            pass
    where = torch.backends.cpu.get_cpu_capability() if device == "cpu" else torch.cuda.get_device_name()
    return f"{', '.join(found)}; {where}.\n"


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--ours", required=True, help="our program")
    p.add_argument("--parts", type=lambda s: s.split(","), help="of the comparison")
    p.add_argument("--networks", default=NETWORKS, type=lambda s: s.split(","))
    p.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="of both sides, for " + " and ".join(ON_GPUS))
    p.add_argument("--precision", default=["f32", "bf16"], type=lambda s: s.split(","), help="of both sides: f32, tf32, bf16")
    p.add_argument("--out", type=pathlib.Path, help="file to write the tables to as well")
    a = p.parse_args()
    known = PARTS if a.device == "cpu" else ON_GPUS
    a.parts = a.parts or known
    for found, known in ((a.parts, known), (a.networks, NETWORKS), (a.precision, ["f32", "tf32", "bf16"])):
        if unknown := set(found) - set(known):
            p.error(f"{', '.join(unknown)}: want some of {', '.join(known)}")
    return a


def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process inherits that it is ignored
    warnings.simplefilter("ignore", UserWarning)  # Pillow's and timm's of old files and names
    torch.backends.cudnn.allow_tf32 = False
    a = arguments()
    parts = {name: importlib.import_module(name) for name in a.parts}  # what is not installed shows at once
    comparison = Comparison(Ours(a.ours), a.device, a.precision, a.networks)
    try:
        for name, part in parts.items():
            began = time.monotonic()
            part.compare(comparison)
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    except KeyboardInterrupt:
        comparison.left_out.append("what had not been computed when this was interrupted")
    text = f"{versions(a.device)}\n{comparison}"
    print(text)
    if a.out:
        a.out.write_text(text)
    for line in comparison.missed():
        print(f"beyond its bound: {line}", file=sys.stderr)
    sys.exit(1 if comparison.missed() else 0)


if __name__ == "__main__":
    main()
