"""Compares everything and prints the tables; ends with 1 if a bound is missed.

    python compare.py --ours PROGRAM [--parts networks,training,...] [--networks resnet18,...] [--out FILE]
"""
import argparse
import pathlib
import platform
import sys
import time
import warnings

import numpy
import PIL
import scipy
import segmentation_models_pytorch
import sklearn
import timm
import torch
import torchvision

import bfloat16
import files
import metrics
import networks
import preprocessing
import training
from ours import Ours
from references import CLASSIFIERS, PREDICTORS

# What a part compares with networks takes their names.
PARTS = {
    "networks": networks.compare,
    "training": training.compare,
    "bfloat16": bfloat16.compare,
    "files": lambda ours, _: files.compare(ours),
    "preprocessing": lambda ours, _: preprocessing.compare(ours),
    "metrics": lambda ours, _: metrics.compare(ours),
}


def versions():
    libraries = [torch, torchvision, timm, segmentation_models_pytorch, PIL, sklearn, scipy, numpy]
    return ", ".join([f"Python {platform.python_version()}"] + [f"{m.__name__} {m.__version__}" for m in libraries])


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--ours", required=True, help="our program")
    p.add_argument("--parts", default=",".join(PARTS), type=lambda s: s.split(","), help="of the comparison")
    p.add_argument("--networks", default=",".join(CLASSIFIERS + PREDICTORS), type=lambda s: s.split(","))
    p.add_argument("--out", type=pathlib.Path, help="file to write the tables to as well")
    a = p.parse_args()
    for found, known in ((a.parts, PARTS), (a.networks, CLASSIFIERS + PREDICTORS)):
        if unknown := set(found) - set(known):
            p.error(f"{', '.join(unknown)}: want some of {', '.join(known)}")
    return a


def main():
    warnings.simplefilter("ignore", UserWarning)  # Pillow's and timm's of old files and names
    a = arguments()
    text = [f"{versions()}; {torch.backends.cpu.get_cpu_capability()}.\n"]
    missed = []
    for part in a.parts:
        began = time.monotonic()
        for table in PARTS[part](Ours(a.ours), a.networks):
            text.append(str(table))
            missed += table.missed()
        print(f"{part}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    text = "\n".join(text)
    print(text)
    if a.out:
        a.out.write_text(text)
    for line in missed:
        print(f"beyond its bound: {line}", file=sys.stderr)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
