#!/usr/bin/env python3
"""Prepares the coffee leaves of github.com/esgario/lara2018 for configs/coffee.yaml.

    git clone https://github.com/esgario/lara2018
    python3 prepare_coffee.py lara2018 coffee

Needs git, numpy and pillow. coffee.md says what comes out and why.
"""

import collections
import csv
import io
import os
import subprocess
import sys
import tarfile

import numpy as np
from PIL import Image

SIZE = (256, 128)  # of images and maps
CLASSES = {1: "miner", 2: "rust"}  # by predominant_stress
DUPLICATES = {1022}  # the same photograph as 813
COLUMNS = ["file", "label", "split", "group", "has_mask", "class", "severity", "miner", "rust", "phoma", "cercospora", "mask_frac"]


def read(clone):
    """The table of the leaves, and by id their images, the uncropped photographs and
    the drawings, as files."""
    folder = "segmentation/dataset/"
    paths = ["classification/dataset/leaf", "classification/dataset/dataset-full.csv", folder + "annotations", folder + "images"]
    archive = subprocess.run(["git", "-C", clone, "archive", "HEAD", *paths], stdout=subprocess.PIPE, check=True).stdout
    table, leaves, photographs, drawings = {}, {}, {}, {}
    tar = tarfile.open(fileobj=io.BytesIO(archive))
    for member in tar:
        if not member.isfile():
            continue
        name, data = os.path.basename(member.name), tar.extractfile(member).read()
        if name == "dataset-full.csv":
            table = {int(row["id"]): row for row in csv.DictReader(io.StringIO(data.decode()))}
        elif name.endswith("_mask.png"):
            drawings[int(name.split("_")[0])] = data
        elif member.name.startswith(folder):
            photographs[int(name.split(".")[0])] = data
        else:
            leaves[int(name.split(".")[0])] = data
    return table, leaves, photographs, drawings


def scaled(image):
    """Brightness of an image as a vector of mean 0 and length 1."""
    a = np.asarray(image, float)
    a = a - a.mean()
    return a / (np.linalg.norm(a) + 1e-9)


def crop_of(leaf, photograph, marked):
    """The box of the 1024x512 photograph that the leaf image shows, and their
    correlation.

    The leaf images are photographs cropped to the leaf and stretched to 2:1. The
    search begins at the box around what is marked and goes downhill.
    """
    columns, rows = np.nonzero(marked.sum(0) > 2)[0], np.nonzero(marked.sum(1) > 2)[0]
    photo = Image.open(io.BytesIO(photograph)).convert("L").resize((1024, 512), Image.BOX)
    want = scaled(leaf.convert("L").resize((128, 64), Image.BOX))

    def correlation(box):
        left, top, right, bottom = box
        if not (0 <= left < right - 50 and 0 <= top < bottom - 30 and right <= 1024 and bottom <= 512):
            return -1.0
        return float((scaled(photo.resize((128, 64), Image.BILINEAR, box=tuple(box))) * want).sum())

    # Drawings are of 2048x1024 pixels.
    box = [max(0, columns[0] / 2), max(0, rows[0] / 2), min(1024, (columns[-1] + 1) / 2), min(512, (rows[-1] + 1) / 2)]
    best = correlation(box)
    moves = [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 1, 0), (0, 1, 0, 1)]
    for step in (24, 12, 6, 3, 1.5, 0.75):
        for _ in range(20):
            better = False
            for move in moves:
                for sign in (step, -step):
                    moved = [side + sign * m for side, m in zip(box, move)]
                    if (found := correlation(moved)) > best + 1e-6:
                        best, box, better = found, moved, True
            if not better:
                break
    return box, best


def map_of(leaf, photograph, drawing):
    """The drawn symptoms as they lie in the leaf image: 0 or 255."""
    pixels = np.array(Image.open(io.BytesIO(drawing)).convert("RGB")).astype(int)
    symptom = (pixels[..., 0] > 200) & (pixels[..., 1] < 60)
    box, correlation = crop_of(leaf, photograph, symptom | (pixels[..., 1] > 100))
    if correlation < 0.95:
        raise SystemExit(f"a drawing fits its leaf with a correlation of {correlation:.3f} only")
    drawn = Image.fromarray((symptom * 255).astype("uint8"))
    drawn = drawn.resize(SIZE, Image.BOX, box=tuple(2 * side for side in box))
    return drawn.point(lambda v: 255 if v >= 96 else 0)


def session_of(number):
    return (number - 1) // 25


def split_of(number):
    if 551 <= number <= 950:
        return "test"
    return "val" if session_of(number) % 6 == 3 else "train"


def main(clone, out):
    table, leaves, photographs, drawings = read(clone)
    for folder in ("images", "masks"):
        os.makedirs(os.path.join(out, folder))
    rows = []
    for number, about in sorted(table.items()):
        stress = int(about["predominant_stress"])
        if number in DUPLICATES or stress not in CLASSES or about["miner"] == about["rust"]:
            continue
        name = f"{number:04d}"
        leaf = Image.open(io.BytesIO(leaves[number])).convert("RGB").resize(SIZE, Image.LANCZOS)
        leaf.save(os.path.join(out, "images", name + ".jpg"), quality=92)
        share = -1
        if number in drawings:
            drawn = map_of(leaf, photographs[number], drawings[number])
            drawn.save(os.path.join(out, "masks", name + ".png"), optimize=True)
            share = float((np.array(drawn) > 0).mean())
        rows.append([name + ".jpg", stress - 1, split_of(number), f"s{session_of(number):02d}", int(share > 0), CLASSES[stress],
                     about["severity"], about["miner"], about["rust"], about["phoma"], about["cercospora"], round(share, 4)])
    with open(os.path.join(out, "labels.csv"), "w", newline="") as f:
        csv.writer(f).writerows([COLUMNS, *rows])
    print(len(rows), "leaves, of them with a map", sum(r[4] for r in rows))
    for key, n in sorted(collections.Counter((r[2], r[5], "map" if r[4] else "no map") for r in rows).items()):
        print(*key, n)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
