"""The arm `none` of configs/coffee.yaml in PyTorch, to hold ours against.

    python bench/coffee/none.py FOLDER [SEEDS] [pad|squash]

FOLDER holds the coffee leaves (docs/data/coffee.md), which are twice as wide as high:
pad, the default, keeps their shape between black bars as our configuration does,
squash makes them square. Needs torch, numpy, pillow and scikit-learn. Prints the test
AUC of the epoch with the best validation AUC.
"""

import csv
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional

SIDE, EPOCHS, BATCH, RATE, DECAY, WARMUP, JITTER = 96, 80, 16, 3e-3, 1e-2, 0.15, 0.1


def square(image, resize):
    """The image on SIDE x SIDE pixels."""
    if resize == "squash":
        return image.resize((SIDE, SIDE), Image.BILINEAR)
    scale = SIDE / max(image.size)
    small = image.resize([round(n * scale) for n in image.size], Image.BILINEAR)
    padded = Image.new("RGB", (SIDE, SIDE))
    padded.paste(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    return padded


def load(folder, resize):
    """Images (N, 3, SIDE, SIDE) in [0, 1] and labels, by split."""
    found = {}
    for row in csv.DictReader(open(folder / "labels.csv")):
        image = square(Image.open(folder / "images" / row["file"]).convert("RGB"), resize)
        images, labels = found.setdefault(row["split"], ([], []))
        images.append(np.asarray(image, np.float32) / 255)
        labels.append(int(row["label"]))
    return {s: (torch.tensor(np.stack(x)).permute(0, 3, 1, 2).contiguous(), torch.tensor(y)) for s, (x, y) in found.items()}


class Block(nn.Module):
    def __init__(self, inner, outer, stride):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer))
        self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x):
        return functional.relu(self.second(self.first(x)) + self.shortcut(x))


def network():
    return nn.Sequential(
        nn.Conv2d(3, 24, 5, 2, 2, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
        Block(24, 32, 1), Block(32, 64, 2), Block(64, 128, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 2),
    )


def augment(x):
    """Flip, transposition, zoom of 0.8 to 1.05 with reflection, colour and brightness."""
    n = len(x)
    transform = torch.zeros(n, 2, 3)
    for i in range(n):
        axes = torch.diag(torch.tensor([1.0 - 2 * (torch.rand(1).item() < 0.5), 1.0]))
        if torch.rand(1) < 0.5:
            axes = axes.flip(0)
        transform[i, :, :2] = axes * (0.8 + 0.25 * torch.rand(1))
    x = functional.grid_sample(x, functional.affine_grid(transform, x.shape, align_corners=False), padding_mode="reflection", align_corners=False)
    gain = (1 + JITTER * (2 * torch.rand(n, 3, 1, 1) - 1)) * (1 + JITTER * (2 * torch.rand(n, 1, 1, 1) - 1))
    return (x * gain).clamp(0, 1)


def normalise(x):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


def auc(model, images, labels):
    model.eval()
    with torch.no_grad():
        return roc_auc_score(labels, model(normalise(images)).softmax(1)[:, 1])


def run(data, seed):
    torch.manual_seed(seed)
    model = network()
    images, labels = data["train"]
    steps = EPOCHS * -(-len(labels) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=WARMUP, cycle_momentum=False)
    best, test = -1.0, 0.0
    for _ in range(EPOCHS):
        model.train()
        for batch in torch.randperm(len(labels)).split(BATCH):
            loss = functional.cross_entropy(model(normalise(augment(images[batch]))), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        val = auc(model, *data["val"])
        if val >= best:
            best, test = val, auc(model, *data["test"])
    return best, test


def main():
    resize = sys.argv[3] if len(sys.argv) > 3 else "pad"
    data = load(pathlib.Path(sys.argv[1]), resize)
    for seed in range(int(sys.argv[2]) if len(sys.argv) > 2 else 3):
        val, test = run(data, seed)
        print(f"none, {resize}, seed {seed}: validation AUC {val:.3f}, test AUC {test:.3f}", flush=True)


if __name__ == "__main__":
    main()
