"""Image files of many kinds as Pillow reads and torchvision prepares them."""
import pathlib
import tempfile

import numpy
import torch
from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms

from references import generator
from table import Found

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# In levels of 255. Pillow rounds twice, which makes one level; weights are of 13 bits
# here.
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
    """Squashed to a smaller and a larger square, as networks see images here; padded,
    where a side is reduced; square images also as torchvision's published networks are
    evaluated, resized and the middle cropped."""
    for path in sorted(p for p in folder.iterdir() if not p.name.endswith(".want.png")):
        for side in (224, 96) if path.name.startswith("large") else (24, 64):
            yield {"name": path.name, "side": side, "crop": 1, "resizing": "squash"}
        if path.name.startswith("large-square"):
            yield {"name": path.name, "side": 224, "crop": 224 / 256, "resizing": ""}
        elif path.name.startswith("large"):
            yield {"name": path.name, "side": 96, "crop": 1, "resizing": "pad"}


def steps(view, width, height):
    """torchvision's of an image of this size."""
    side = view["side"]
    if view["resizing"] == "pad":
        w, h = (round(n * side / max(width, height)) for n in (width, height))
        left, top = (side - w) // 2, (side - h) // 2
        return [transforms.Resize((h, w), antialias=True), transforms.Pad((left, top, side - w - left, side - h - top))]
    resized = round(side / view["crop"])
    return [transforms.Resize((resized, resized), antialias=True), transforms.CenterCrop(side)]


def on_tensors(image, view):
    """torchvision on values that are not rounded."""
    return transforms.Compose([transforms.ToTensor(), *steps(view, *image.size), transforms.Normalize(MEAN, STD)])(image)


def on_images(image, view):
    """torchvision on Pillow's images, which are of 8 bits behind each of the two passes
    of a resizing."""
    return transforms.Compose([*steps(view, *image.size), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])(image)


def levels(found, want):
    return 255 * (found - want).abs() * torch.tensor(STD).view(3, 1, 1)


def compare(comparison):
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = write_files(pathlib.Path(folder))
        for view in views(folder):
            comparison.ours.call("preprocessing", view, folder)
            found = load_file(folder / "out.safetensors")
            image = Image.open(folder / f"{view['name']}.want.png").convert("RGB")
            decoded = torch.from_numpy(numpy.asarray(image).astype(float)).sub(found["decoded"]).abs()
            prepared = [levels(found["prepared"], theirs(image, view)) for theirs in (on_tensors, on_images)]
            rows.setdefault(kind(view["name"]), []).append([decoded, *prepared])
    table = comparison.table("Preprocessing, in levels of 255", "files", "images", "decoded, largest", "mean", "prepared, largest", "mean", "with Pillow's rounding, largest")
    for files, differences in sorted(rows.items()):
        jpeg = files.startswith("jpg")
        decoded, exact, rounded = zip(*differences)
        table.add(files, str(len(exact)), Found(largest(decoded), LARGEST if jpeg else LOSSLESS), Found(mean(decoded), AVERAGE if jpeg else LOSSLESS),
                  Found(largest(exact), LARGEST if jpeg else LOSSLESS), mean(exact), Found(largest(rounded), LARGEST if jpeg else LOSSLESS + ROUNDING))


def largest(differences):
    return max(d.max().item() for d in differences)


def mean(differences):
    """Of the worst image."""
    return max(d.mean().item() for d in differences)
