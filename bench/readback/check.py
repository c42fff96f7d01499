"""Reads what main.go wrote with the libraries that it is for, and compares.

    python check.py FOLDER

Ends with 1 and a list of the differences if there are any.
"""

import base64
import glob
import io
import json
import math
import os
import struct
import sys

import datasets
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
from PIL import Image, ImageOps

root = sys.argv[1]
with open(os.path.join(root, "expected.json"), encoding="utf-8") as f:
    expected = json.load(f)
CLASSES = expected["classes"]
ROWS = {r["id"]: r for r in expected["rows"]}
SPLITS = sorted({r["split"] for r in expected["rows"]})
MAPS = {"saliency": "saliency", "saliency_reference": "reference", "saliency_predicted": "predicted"}
problems = []
checks = 0


def same(where, what, got, want):
    """Compares plain values: null is None or NaN, floats are compared exactly."""
    global checks
    checks += 1
    if isinstance(got, float) and math.isnan(got) or got is pd.NA or got is pd.NaT:
        got = None
    if isinstance(got, np.generic):
        got = got.item()
    if isinstance(want, float) and isinstance(got, float) and what in ("half", "saliency_quality"):
        got, want = struct.pack("f", got), struct.pack("f", want)  # float32 columns
    if got != want:
        problems.append(f"{where}: {what}: got {got!r}, want {want!r}")


def pixels(where, what, got, want, near=0):
    """Compares a picture with pixels from main.go."""
    if got is None or want is None:
        same(where, what, got, want)
        return
    a = np.asarray(got)
    b = np.frombuffer(base64.b64decode(want["data"]), np.uint8 if a.ndim == 3 else "<u2")
    b = b.reshape((want["h"], want["w"], -1) if a.ndim == 3 else (want["h"], want["w"]))
    same(where, what + " shape", a.shape, b.shape)
    if a.shape == b.shape:
        off = np.abs(a.astype(np.int64) - b.astype(np.int64)).max()
        same(where, what + f" pixels within {near}", bool(off <= near), True)


def picture(where, what, got, want):
    """Compares a photo. JPEG decoders differ by a few levels."""
    if got.mode == "I;16":  # Pillow's conversion clips 16 bits instead of scaling them
        got = Image.fromarray((np.asarray(got, np.uint16) >> 8).astype(np.uint8))
    near = 8 if base64.b64decode(want["file"])[:2] == b"\xff\xd8" else 0
    pixels(where, what, ImageOps.exif_transpose(got).convert("RGB"), want["image"], near)


def levels16(image):
    """A map as 16-bit levels."""
    if image is None:
        return None
    a = np.asarray(image)
    if image.mode == "L":
        return a.astype(np.uint16) * 257
    assert image.mode == "I;16", image.mode
    return a


def light(where, row, want, label):
    for name in ("saliency_source", "saliency_model", "group"):
        same(where, name, row[name], want[name])
    same(where, "label", row["label"], want[label])
    same(where, "saliency_quality", row["saliency_quality"], want["saliency_quality"])


def extras(where, row, want, names=lambda name: name):
    for name, value in want["extra"].items():
        if name == "raw" and value is not None:
            value = base64.b64decode(value)
        got = row[names(name)]
        same(where, name, bytes(got) if isinstance(got, (bytes, bytearray)) else got, value)


def all_rows(where, ids):
    same(where, "ids", sorted(ids), sorted(ROWS))


def encoded(where, row):
    """Checks a row whose pictures are dicts of bytes and path."""
    want = ROWS[row["id"]]
    where = f"{where}: {row['id']}"
    same(where, "split", row["split"], want["split"])
    light(where, row, want, "label")
    extras(where, row, want)
    same(where, "image bytes", bytes(row["image"]["bytes"]), base64.b64decode(want["file"]))
    same(where, "image path", row["image"]["path"], want["path"])
    for column, name in MAPS.items():
        value = row[column]
        value = None if value is None or isinstance(value, float) or value is pd.NA or value["bytes"] is None else Image.open(io.BytesIO(bytes(value["bytes"])))
        pixels(where, column, levels16(value), want["maps"][name])


def by_table(where, folder):
    """pyarrow, pandas, polars and DuckDB see the columns as they are."""
    files = sorted(glob.glob(os.path.join(folder, "data", "*.parquet")))
    readers = {
        "pyarrow": lambda: [r for f in files for r in pq.read_table(f).to_pylist()],
        "pandas": lambda: [r for f in files for r in pd.read_parquet(f).astype(object).to_dict("records")],
        "polars": lambda: pl.read_parquet(os.path.join(folder, "data", "*.parquet")).to_dicts(),
        "duckdb": lambda: duckdb.sql(f"select * from '{folder}/data/*.parquet'").to_arrow_table().to_pylist(),
    }
    for name, read in readers.items():
        rows = read()
        all_rows(f"{where}: {name}", [r["id"] for r in rows])
        for row in rows:
            encoded(f"{where}: {name}", row)


def by_datasets(where, folder):
    """Hugging Face datasets sees pictures and class names."""
    loaded = datasets.load_dataset(folder)
    same(where, "splits", sorted(loaded), SPLITS)
    ids = []
    for split, part in loaded.items():
        same(where, "classes", part.features["label"].names, CLASSES)
        for column in ("image", *MAPS):
            same(where, column, type(part.features[column]).__name__, "Image")
        for row in part:
            ids.append(row["id"])
            want = ROWS[row["id"]]
            here = f"{where}: {row['id']}"
            same(here, "split", split, want["split"])
            light(here, row, want, "label")
            extras(here, row, want)
            picture(here, "image", row["image"], want)
            for column, name in MAPS.items():
                pixels(here, column, levels16(row[column]), want["maps"][name])
    all_rows(where, ids)


# How the ImageFolder calls the columns whose names the loader would take for its own.
RENAMED = {"mask": "mask_", "file_name": "file_name_"}
FOLDER_MAPS = {"mask": "saliency", "reference": "reference", "predicted": "predicted"}


def levels8(image):
    """An 8-bit map as 16-bit levels; the map may have lost half of an 8-bit level."""
    if image is None:
        return None
    assert image.mode == "L", image.mode
    return np.asarray(image).astype(np.uint16) * 257


def folder_row(where, row, split, opened):
    want = ROWS[row["id"]]
    where = f"{where}: {row['id']}"
    same(where, "split", split, want["split"])
    light(where, row, want, "class")
    extras(where, row, want, lambda name: RENAMED.get(name, name))
    same(where, "original_name", row["original_name"], want["path"])
    picture(where, "image", opened("image"), want)
    for column, name in FOLDER_MAPS.items():
        pixels(where, column, levels8(opened(column)), want["maps"][name], near=129)


def by_imagefolder(where, folder):
    loaded = datasets.load_dataset(folder)
    same(where, "splits", sorted(loaded), SPLITS)
    ids = []
    for split, part in loaded.items():
        for row in part:
            ids.append(row["id"])
            folder_row(where, row, split, lambda column: row[column])
    all_rows(where, ids)


def by_files(where, folder):
    """The same without a loader: the metadata by pandas, the pictures by Pillow."""
    ids, names = [], []
    for split in SPLITS:
        rows = pd.read_parquet(os.path.join(folder, split, "metadata.parquet")).astype(object).to_dict("records")
        for row in rows:
            def opened(column):
                name = row["file_name" if column == "image" else column + "_file_name"]
                return None if name is None or isinstance(name, float) else Image.open(os.path.join(folder, split, name))

            ids.append(row["id"])
            names.append(f"{split}/{row['file_name']}".lower())
            folder_row(where, row, split, opened)
    all_rows(where, ids)
    same(where, "distinct file names", len(set(names)), len(ROWS))


datasets.disable_progress_bars()
for name in ("set", "hf-parquet"):
    by_table(name, os.path.join(root, name))
    by_datasets(f"{name}: datasets", os.path.join(root, name))
by_imagefolder("imagefolder: datasets", os.path.join(root, "imagefolder"))
by_files("imagefolder: files", os.path.join(root, "imagefolder"))

for p in problems:
    print(p)
print(f"{checks} comparisons, {len(problems)} differences")
sys.exit(1 if problems else 0)
