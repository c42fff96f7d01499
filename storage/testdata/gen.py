"""Writes the foreign data sets that the tests read, with the libraries that such sets come from.

Needs pyarrow, pandas, datasets, polars, pillow, numpy. Run in this folder: python gen.py
"""

import io
import os
import shutil

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def png(i):
    """The image of row i: 6 x 4 pixels, the first of which is (i, 2i, 255 - i)."""
    a = np.zeros((4, 6, 3), np.uint8)
    a[0, 0] = (i, 2 * i, 255 - i)
    out = io.BytesIO()
    Image.fromarray(a).save(out, "PNG")
    return out.getvalue()


N = 7
IMAGES = [png(i) for i in range(N)]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# Row 3 has no label, row 4 no group and no extra values, row 5 a broken image.
LABELS = [0, 1, 0, None, 1, 0, 1]
GROUPS = ["g1", "g1", "g2", "g2", None, "g3", "g3"]
SCORES = [0.5, 1.5, -2.0, 3.25, None, 5.0, 6.0]
BLOBS = IMAGES[:5] + [b"no image"] + IMAGES[6:]
CLASSES = ["live", "spoof"]


def table(image=STRUCT, label=pa.int64(), **more):
    images = [{"bytes": b, "path": f"{i}.png"} for i, b in enumerate(BLOBS)]
    if not pa.types.is_struct(image):
        images = BLOBS
    labels = LABELS
    if not pa.types.is_integer(label) and not pa.types.is_floating(label):
        labels = [None if v is None else CLASSES[v] for v in LABELS]
    columns = {
        "id": pa.array([f"ä {i}" for i in range(N)]),
        "image": pa.array(images, image),
        "label": pa.array(labels, pa.string()).dictionary_encode() if pa.types.is_dictionary(label) else pa.array(labels, label),
        "group": pa.array(GROUPS),
        "score": pa.array(SCORES, pa.float32()),
        "when": pa.array([0] * N, pa.timestamp("ms")),
        "boxes": pa.array([[1.0]] * N, pa.list_(pa.float32())),
        "saliency": pa.array([None] * N, pa.string()),
    }
    columns.update(more)
    return pa.table(columns)


def main():
    for name in ("parquet", "arrow", "saved"):
        shutil.rmtree(name, ignore_errors=True)
    os.makedirs("parquet/paths")
    os.makedirs("arrow")

    # Every compression that is in use, small row groups and pages, both page versions.
    for codec in ("none", "snappy", "gzip", "brotli", "zstd", "lz4"):
        pq.write_table(table(), f"parquet/{codec}.parquet", compression=codec, row_group_size=3)
    pq.write_table(table(), "parquet/v2.parquet", data_page_version="2.0", data_page_size=64, version="2.6")
    pq.write_table(table(), "parquet/plain.parquet", use_dictionary=False, write_statistics=False, store_schema=False)
    pq.write_table(table(), "parquet/delta.parquet", use_dictionary=False, column_encoding={"id": "DELTA_BYTE_ARRAY", "label": "DELTA_BINARY_PACKED", "group": "DELTA_LENGTH_BYTE_ARRAY"})
    # Every type of image and label column.
    pq.write_table(table(image=pa.binary()), "parquet/binary.parquet")
    pq.write_table(table(image=pa.large_binary(), group=pa.array(GROUPS, pa.large_string())), "parquet/large.parquet")
    pq.write_table(table(image=pa.struct([("path", pa.string()), ("bytes", pa.binary())])), "parquet/swapped.parquet")
    for t in ("int8", "uint8", "int32", "uint32", "float32", "float64", "string"):
        pq.write_table(table(label=getattr(pa, t)()), f"parquet/label-{t}.parquet")
    pq.write_table(table(label=pa.dictionary(pa.int8(), pa.string())), "parquet/label-dictionary.parquet")
    required = table()
    fields = [f.with_nullable(f.name != "id") for f in required.schema]
    pq.write_table(required.cast(pa.schema(fields)), "parquet/required.parquet")
    # Paths beside the file.
    for i, b in enumerate(BLOBS):
        with open(f"parquet/paths/{i}.png", "wb") as f:
            f.write(b)
    paths = table(image=pa.binary())
    paths = paths.set_column(1, "image", pa.array([f"{i}.png" for i in range(N)]))
    pq.write_table(paths, "parquet/paths/t.parquet")
    # Other writers.
    rows = table().drop_columns(["when", "boxes", "saliency"]).to_pandas()
    rows.to_parquet("parquet/pandas.parquet")
    pl.from_arrow(table().drop_columns(["boxes"])).write_parquet("parquet/polars.parquet")

    features = datasets.Features({
        "id": datasets.Value("string"), "image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES[::-1]),
        "group": datasets.Value("string"), "score": datasets.Value("float32"),
    })
    good = table().drop_columns(["when", "boxes", "saliency"])
    flipped = [None if v is None else 1 - v for v in LABELS]
    good = good.set_column(2, "label", pa.array(flipped, pa.int64()))
    saved = datasets.Dataset(good.cast(features.arrow_schema), fingerprint="0")
    saved.to_parquet("parquet/datasets.parquet")
    saved.save_to_disk("saved/one", max_shard_size=400)
    datasets.DatasetDict({"train": saved.select(range(5)), "validation": saved.select(range(5, N))}).save_to_disk("saved/dict")

    def arrow(name, t, new=pa.ipc.new_file, batch=3, **options):
        with new(f"arrow/{name}", t.schema, options=pa.ipc.IpcWriteOptions(**options)) as w:
            w.write_table(t, max_chunksize=batch)

    arrow("file.arrow", table())
    arrow("stream.arrows", table(), pa.ipc.new_stream)
    arrow("zstd.arrow", table(), compression="zstd")
    arrow("lz4.arrows", table(), pa.ipc.new_stream, compression="lz4")
    arrow("large.arrow", table(image=pa.large_binary(), group=pa.array(GROUPS, pa.large_string())))
    arrow("dictionary.arrow", table(label=pa.dictionary(pa.int8(), pa.string())))
    arrow("dictionary.arrows", table(label=pa.dictionary(pa.int8(), pa.string())), pa.ipc.new_stream)
    arrow("uint16.arrow", table(label=pa.uint16()))
    arrow("legacy.arrows", table(), pa.ipc.new_stream, use_legacy_format=True)
    pl.from_arrow(table().drop_columns(["boxes"])).write_ipc("arrow/polars.arrow", compat_level=pl.CompatLevel.oldest())
    pl.from_arrow(table().drop_columns(["boxes"])).write_ipc("arrow/view.arrow", compat_level=pl.CompatLevel.newest())


if __name__ == "__main__":
    main()
