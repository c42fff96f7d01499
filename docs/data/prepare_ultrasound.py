#!/usr/bin/env python3
"""Prepares the breast ultrasound images of github.com/yirutsai/Breast-ultrasound-dataset for a run.

    git clone https://github.com/yirutsai/Breast-ultrasound-dataset clone
    python3 prepare_ultrasound.py clone ultrasound
    surrogaze run ultrasound/config.yaml --set data.root=ultrasound

Needs pillow. ultrasound.md says what comes out, and for what it is good.
"""

import csv
import pathlib
import random
import re
import sys

from PIL import Image, ImageChops

CLASSES = ["benign", "malignant"]
BLOCK = 8  # images of neighbouring numbers, which may be of one patient
TRAIN, VAL = 0.55, 0.15  # shares of the blocks; the others are for the test
LONGER_SIDE = 256
CONFIG = """\
name: ultrasound
data:
  annotated: {human_maps: 60}
  classes: [benign, malignant]
"""


def main():
    data, out = pathlib.Path(sys.argv[1]) / "data", pathlib.Path(sys.argv[2])
    for folder in "images", "maps":
        (out / folder).mkdir(parents=True, exist_ok=True)
    draw, rows = random.Random(0), []
    for label, kind in enumerate(CLASSES):
        splits = {}
        for path in sorted((data / kind / "images").glob("*.png")):
            number = int(re.search(r"\((\d+)\)", path.name).group(1))
            block = number // BLOCK
            if block not in splits:
                splits[block] = split_of(draw.random())
            image = Image.open(path).convert("RGB")
            reduction = max(1, max(image.size) / LONGER_SIDE)
            size = int(image.width / reduction), int(image.height / reduction)
            name = f"{kind}{number:03d}.png"
            image.resize(size, Image.LANCZOS).save(out / "images" / name)
            lesions(data / kind / "mask", path.stem).resize(size, Image.BILINEAR).save(out / "maps" / name)
            rows.append((name, label, splits[block], f"{kind}{block}"))
    draw.shuffle(rows)
    with open(out / "labels.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("file", "label", "split", "group"), *rows])
    (out / "config.yaml").write_text(CONFIG)


def split_of(u):
    return "train" if u < TRAIN else "val" if u < TRAIN + VAL else "test"


def lesions(folder, stem):
    """All outlined lesions of an image, of which most have one."""
    union = None
    for path in sorted(folder.glob(f"{stem}_mask*.png")):
        mask = Image.open(path).convert("L")
        union = mask if union is None else ImageChops.lighter(union, mask)
    return union


if __name__ == "__main__":
    main()
