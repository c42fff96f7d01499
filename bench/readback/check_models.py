"""Runs the models that models.go wrote in onnxruntime, and compares.

    python check_models.py FOLDER

Images are prepared by the code of docs/models.md. Ends with 1 if a value differs from
ours by more than 1e-4 of the largest.
"""

import io
import json
import pathlib
import re
import sys

import datasets
import duckdb
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
from PIL import Image

NEAR = 1e-4
folder = pathlib.Path(sys.argv[1])
page = pathlib.Path(__file__).parents[2] / "docs" / "models.md"
documented = {}
exec(re.search(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL).group(1), documented)
worst = {}


def compare(what, got, want):
    """Notes the largest difference as a share of the largest value."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, (what, got.shape, want.shape)
    worst[what] = max(worst.get(what, 0), np.abs(got - want).max() / np.abs(want).max())


def operators():
    values = json.loads((folder / "operators.json").read_text())
    session = onnxruntime.InferenceSession(folder / "operators.onnx")
    image = np.float32(values["image"]).reshape(-1, *session.get_inputs()[0].shape[1:])
    for batch in (image, image[:1]):  # any number of images
        for output, got in zip(session.get_outputs(), session.run(None, {"image": batch})):
            want = np.float32(values[output.name]).reshape(len(image), *got.shape[1:])
            compare(f"operators: {output.name}", got, want[: len(batch)])


def levels(picture):
    """A map of a Parquet file."""
    return np.asarray(Image.open(io.BytesIO(picture["bytes"])), np.float64) / 65535


def tables(name):
    """Other readers see the same rows."""
    file = str(folder / f"{name}.parquet")
    want = pq.read_table(file).to_pylist()
    loaded = datasets.Dataset.from_parquet(file, cache_dir=folder / "cache", keep_in_memory=True)
    drawn = "cam" if "cam" in want[0] else "saliency"
    assert isinstance(loaded.features[drawn], datasets.Image), loaded.features
    assert pl.read_parquet(file).to_dicts() == want, name
    assert duckdb.sql(f"select * from '{file}'").to_arrow_table().to_pylist() == want, name
    assert loaded.cast_column(drawn, datasets.Image(decode=False)).to_list() == want, name


def judged(name):
    rows = pd.read_parquet(folder / f"{name}.parquet")
    got = documented["predict"](folder / f"{name}.onnx", [folder / "photos" / id for id in rows["id"]])
    if "logits" in got:
        compare(f"{name}: logits", got["logits"], np.stack(rows["logits"]))
        odds = np.exp(got["logits"].astype(np.float64))
        compare(f"{name}: score", odds / odds.sum(1, keepdims=True), np.stack(rows["score"]))
        assert (rows["prediction"] == got["logits"].argmax(1)).all(), name
    column = "cam" if "cam" in got else "saliency"
    for id, square, picture in zip(rows["id"], got[column], rows[column]):
        width, height = Image.open(folder / "photos" / id).size
        if width == height:  # otherwise the map has the image's shape
            compare(f"{name}: {column}", square[0], levels(picture))


datasets.disable_progress_bars()
for file in sorted(folder.glob("*.onnx")):
    onnx.checker.check_model(onnx.load(file), full_check=True)
operators()
for file in sorted(folder.glob("*.parquet")):
    tables(file.stem)
    judged(file.stem)
far = {what: off for what, off in worst.items() if not off <= NEAR}
for what, off in worst.items():
    print(f"{what}: differs by {off:.1e} of the largest value")
print(f"{len(worst)} comparisons, {len(far)} differences above {NEAR}")
sys.exit(1 if far else 0)
