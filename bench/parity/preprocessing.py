"""Image files of many kinds as Pillow reads and torchvision prepares them."""
import pathlib
import tempfile

import numpy
import torch
from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms

from references import generator
from table import Found, Table

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# In levels of 255. Two roundings make one level, and weights are of 13 bits here.
LOSSLESS, LARGEST, AVERAGE, ROUNDING = 1, 4, 0.1, 0.05
raster = generator("internal/raster")


def kind(name):
    """What a file is called in the table: its format, and what is special about it."""
    stem, _, suffix = name.partition(".")
    for word, what in [("exif", "orientation"), ("16", "16 bits"), ("palette", "palette"), ("cmyk", "CMYK"), ("ycck", "CMYK"),
                       ("alpha", "alpha"), ("rgba", "alpha"), ("progressive", "progressive"), ("large", "photograph's size")]:
        if word in stem:
            return f"{suffix}, {what}"
    return suffix


def write_files(folder):
    """NAME.EXT beside NAME.EXT.want.png, what Pillow reads: every kind that the tests
    have, in another draw, and larger ones."""
    raster.here, raster.rng = folder, numpy.random.default_rng(2024)
    raster.decode()
    raster.more()
    large = raster.scene(640, 480)
    raster.case("large.png", raster.saved(large, format="PNG"))
    raster.case("large.jpg", raster.saved(large, format="JPEG", quality=90, subsampling=2))
    raster.case("large-square.png", raster.saved(raster.scene(512, 512), format="PNG"))
    raster.case("large-square.jpg", raster.saved(raster.scene(512, 512), format="JPEG", quality=85, subsampling=2))
    return folder / "decode"


def views(folder):
    """Squashed to a smaller and a larger square; square images also as torchvision's
    published networks are evaluated, resized and the middle cropped."""
    for path in sorted(p for p in folder.iterdir() if not p.name.endswith(".want.png")):
        sides = (224, 96) if path.name.startswith("large") else (24, 64)
        for side in sides:
            yield path.name, side, side, 1
        if path.name.startswith("large-square"):
            yield path.name, 224, 224, 224 / 256


def steps(height, width, crop):
    return [transforms.Resize((round(height / crop), round(width / crop)), antialias=True), transforms.CenterCrop((height, width))]


def on_tensors(image, *view):
    """torchvision on values that are not rounded."""
    return transforms.Compose([transforms.ToTensor(), *steps(*view), transforms.Normalize(MEAN, STD)])(image)


def on_images(image, *view):
    """torchvision on Pillow's images, which are of 8 bits behind each of the two passes
    of a resizing."""
    return transforms.Compose([*steps(*view), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])(image)


def levels(found, want):
    return 255 * (found - want).abs() * torch.tensor(STD).view(3, 1, 1)


def compare(ours):
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = write_files(pathlib.Path(folder))
        for name, *view in views(folder):
            ours.call("preprocessing", {"name": name, "height": view[0], "width": view[1], "crop": view[2]}, folder)
            found = load_file(folder / "out.safetensors")["image"]
            image = Image.open(folder / f"{name}.want.png").convert("RGB")
            rows.setdefault(kind(name), []).append([levels(found, theirs(image, *view)) for theirs in (on_tensors, on_images)])
    table = Table("Preprocessing, in levels of 255", "files", "images", "torchvision's, largest", "mean", "with Pillow's rounding, largest")
    for files, differences in sorted(rows.items()):
        lossy = files.startswith(("jpg", "webp"))
        exact, rounded = zip(*differences)
        table.add(files, str(len(exact)), Found(max(d.max() for d in exact), LARGEST if lossy else LOSSLESS),
                  Found(max(d.mean() for d in exact), AVERAGE), Found(max(d.max() for d in rounded), LARGEST if lossy else LOSSLESS + ROUNDING))
    return [table]
