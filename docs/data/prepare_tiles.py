#!/usr/bin/env python3
"""Prepares the tiles of github.com/abin24/Magnetic-tile-defect-datasets. for a run.

    git clone https://github.com/abin24/Magnetic-tile-defect-datasets. clone
    python3 prepare_tiles.py clone tiles
    surrogaze run tiles/config.yaml --set data.root=tiles

Needs pillow. tiles.md says what comes out, and for what it is good.
"""

import csv
import pathlib
import random
import sys

from PIL import Image, ImageFilter

DEFECTS = ["Blowhole", "Break", "Crack", "Fray", "Uneven"]
FREE = "Free"
SHARE_OF_FREE = 0.42  # about as many as there are defects
SPLITS = {0: "train", 1: "train", 2: "train", 3: "train", 4: "val", 5: "test", 6: "test"}  # by the first number of a file's name
LONGER_SIDE = 256
WIDENED = 9  # pixels of the original; people draw a little around what they mean
CONFIG = """\
name: tiles
data:
  annotated: {human_maps: 60}
  classes: [free, defect]
"""


def main():
    clone, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    for folder in "images", "maps":
        (out / folder).mkdir(parents=True, exist_ok=True)
    draw, rows = random.Random(0), []
    for kind in [*DEFECTS, FREE]:
        for photograph in sorted((clone / f"MT_{kind}" / "Imgs").glob("*.jpg")):
            if kind == FREE and draw.random() > SHARE_OF_FREE:
                continue
            name, split = photograph.stem + ".png", SPLITS[int(photograph.stem[3])]
            image = Image.open(photograph).convert("RGB")
            reduction = max(1, max(image.size) / LONGER_SIDE)
            size = int(image.width / reduction), int(image.height / reduction)
            image.resize(size, Image.LANCZOS).save(out / "images" / name)
            if kind != FREE:
                defect = Image.open(photograph.with_suffix(".png")).convert("L").point(lambda v: 255 if v else 0)
                defect.filter(ImageFilter.MaxFilter(WIDENED)).resize(size, Image.BILINEAR).save(out / "maps" / name)
            rows.append((name, int(kind != FREE), split))
    draw.shuffle(rows)
    with open(out / "labels.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("file", "label", "split"), *rows])
    (out / "config.yaml").write_text(CONFIG)


if __name__ == "__main__":
    main()
