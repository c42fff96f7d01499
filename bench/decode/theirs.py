"""Pillow's side of the comparison.

    theirs.py generate FOLDER   writes the images to decode
    theirs.py serve             decodes what lines on standard input ask for

A line is {"paths": [...], "reps": n}; the answer is the number of milliseconds that
decoding all files took on average. The first line that is written names the versions.
"""

import io
import json
import os
import platform
import random
import sys
import time

from PIL import Image, __version__, features

SIZES = [(256, 256), (500, 375), (1600, 1200)]
KINDS = {
    "4:2:0": dict(quality=90, subsampling=2),
    "4:4:4": dict(quality=90, subsampling=0),
    "progressive": dict(quality=90, subsampling=2, progressive=True),
}


def scene(w, h):
    """Noise of all scales, the coarsest the strongest, as in photographs."""
    rng = random.Random(1)
    image = Image.new("RGB", (w, h), (128, 128, 128))
    grain = 1
    while grain < w // 4:
        size = w // grain, h // grain
        noise = Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1]))
        image = Image.blend(image, noise.resize((w, h), Image.Resampling.BICUBIC), 0.3)
        grain *= 2
    return image


def generate(folder):
    for w, h in SIZES:
        image = scene(w, h)
        for kind, how in KINDS.items():
            image.save(os.path.join(folder, f"{w:04} x {h}, {kind}.jpg"), format="JPEG", **how)


def answer(request):
    files = []
    for path in request["paths"]:
        with open(path, "rb") as f:
            files.append(f.read())
    begin = time.perf_counter()
    for _ in range(request["reps"]):
        for data in files:
            # The last image lives until the next is there, or the allocator would give
            # its memory back to the system every time.
            image = Image.open(io.BytesIO(data)).convert("RGB")
    return 1e3 * (time.perf_counter() - begin) / request["reps"]


def serve():
    about = f"Pillow {__version__} (libjpeg-turbo {features.version('libjpeg_turbo')}, Python {platform.python_version()})"
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if sys.argv[1] == "generate":
    generate(sys.argv[2])
else:
    serve()
