"""What people write in PyTorch to draw maps for a data set, to race with surrogaze annotate.

    annotate.py draw FOLDER --count N         Parquet files of N JPEG images of 500 x 375
    annotate.py run FOLDER OUT [--device D] [--batch N] [--workers N] [--widths N,...]

run reads the columns id and image, decodes and resizes with Pillow in worker processes,
lets a U-Net (of 32 to 256 channels) draw maps, on a GPU in bfloat16, brings them back to the
images' shape, and writes Parquet files with the images and 16-bit PNG maps. It prints
the rate from the first row that is read to the end of the last file.
"""
import argparse
import collections
import concurrent.futures
import io
import os
import pathlib
import sys
import time

import numpy
import pyarrow
import pyarrow.parquet
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms import v2

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "pytorch"))
from networks import UNet

SIZE, WIDTH, HEIGHT = 256, 500, 375
DISTINCT, GROUP, FILE = 256, 256, 4096  # images drawn, rows of a group, rows of a file
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def scene(rng):
    """Noise of several octaves, the coarsest the strongest, as in photographs."""
    total = numpy.zeros((HEIGHT, WIDTH, 3), numpy.float32)
    for grain in (2**i for i in range(8)):
        noise = rng.integers(0, 256, (HEIGHT // grain + 1, WIDTH // grain + 1, 3), numpy.uint8)
        total += numpy.sqrt(grain) * numpy.asarray(Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    low, high = total.min(), total.max()
    return Image.fromarray(numpy.uint8(255 * (total - low) / (high - low)))


def encoded(image, kind, **how):
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def draw(a):
    rng = numpy.random.default_rng(1)
    images = [encoded(scene(rng), "JPEG", quality=90) for _ in range(min(DISTINCT, a.count))]
    a.folder.mkdir(parents=True)
    for begin in range(0, a.count, FILE):
        rows = range(begin, min(begin + FILE, a.count))
        table = pyarrow.table({"id": [f"{i:08}" for i in rows], "image": [images[i % len(images)] for i in rows]})
        pyarrow.parquet.write_table(table, a.folder / f"{begin:08}.parquet", row_group_size=GROUP, compression="none")


class Rows(torch.utils.data.IterableDataset):
    """Id, encoded image and tensor of each row. Workers share the row groups."""

    def __init__(self, folder):
        self.groups = [(path, g) for path in sorted(folder.glob("*.parquet"))
                       for g in range(pyarrow.parquet.ParquetFile(path).num_row_groups)]
        self.prepare = v2.Compose([
            v2.Resize((SIZE, SIZE), antialias=True), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for path, group in self.groups[first::step]:
            table = pyarrow.parquet.ParquetFile(path).read_row_group(group, columns=["id", "image"])
            for row in table.to_pylist():
                image = Image.open(io.BytesIO(row["image"])).convert("RGB")
                yield row["id"], row["image"], image.size, self.prepare(image)


def collate(rows):
    ids, images, sizes, tensors = zip(*rows)
    return ids, images, sizes, torch.stack(tensors)


def shape(size):
    """Height and width of the map of an image, the longer side that of the network."""
    width, height = size
    scale = SIZE / max(size)
    return max(1, round(scale * height)), max(1, round(scale * width))


def pngs(maps, sizes):
    """Maps (N, 1, H, W) as PNG files in the images' shapes; zlib runs without Python's lock."""
    shapes = [shape(s) for s in sizes]
    if len(set(shapes)) == 1:
        resized = F.interpolate(maps, shapes[0], mode="bilinear", antialias=True).cpu()
    else:
        resized = [F.interpolate(m[None], s, mode="bilinear", antialias=True)[0].cpu() for m, s in zip(maps, shapes)]
    return [encoded(Image.fromarray((65535 * m[0]).round().numpy().astype(numpy.uint16)), "PNG", compress_level=1) for m in resized]


class Writer:
    """A Parquet file a few thousand rows."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self.folder, self.rows, self.files = folder, [], 0

    def add(self, rows):
        self.rows.extend(rows)
        if len(self.rows) >= FILE:
            self.flush()

    def flush(self):
        if self.rows:
            columns = zip(("id", "image", "saliency"), zip(*self.rows))
            table = pyarrow.table({name: list(values) for name, values in columns})
            pyarrow.parquet.write_table(table, self.folder / f"{self.files:05}.parquet", row_group_size=GROUP, compression="none")
            self.rows, self.files = [], self.files + 1


def run(a):
    torch.backends.cudnn.benchmark = True
    net = UNet(*a.widths).eval().to(a.device, memory_format=torch.channels_last)
    kind = torch.device(a.device).type
    if kind == "cpu":
        torch.set_num_threads(1)  # the workers have the cores

    @torch.inference_mode()
    def maps(x):
        x = x.to(a.device, non_blocking=True, memory_format=torch.channels_last)
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            y = net(x)
        return y.float().sigmoid()

    maps(torch.zeros(a.batch, 3, SIZE, SIZE))
    loader = torch.utils.data.DataLoader(
        Rows(a.folder), a.batch, num_workers=a.workers, collate_fn=collate, pin_memory=kind == "cuda", prefetch_factor=4 if a.workers else None)
    writer, count, began = Writer(a.out), 0, time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(max(1, a.workers)) as pool:
        waiting = collections.deque()

        def write():
            ids, images, future = waiting.popleft()
            writer.add(zip(ids, images, future.result()))

        for ids, images, sizes, x in loader:
            count += len(ids)
            waiting.append((ids, images, pool.submit(pngs, maps(x), sizes)))
            if len(waiting) > 2 * max(1, a.workers):
                write()
        while waiting:
            write()
    writer.flush()
    took = time.perf_counter() - began
    print(f"{count} images in {took:.2f} s: {count / took:.0f} images/s without starting and warming up")


def main():
    p = argparse.ArgumentParser()
    commands = p.add_subparsers(required=True)
    c = commands.add_parser("draw")
    c.add_argument("folder", type=pathlib.Path)
    c.add_argument("--count", type=int, default=16384)
    c.set_defaults(do=draw)
    c = commands.add_parser("run")
    c.add_argument("folder", type=pathlib.Path)
    c.add_argument("out", type=pathlib.Path)
    c.add_argument("--device", default="cuda")
    c.add_argument("--batch", type=int, default=64)
    c.add_argument("--workers", type=int, default=os.cpu_count())
    c.add_argument("--widths", type=lambda s: [int(n) for n in s.split(",")], default=[32, 64, 128, 256])
    c.set_defaults(do=run)
    a = p.parse_args()
    a.do(a)


if __name__ == "__main__":
    main()
