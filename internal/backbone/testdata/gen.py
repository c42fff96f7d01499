"""Writes what PyTorch computes for small networks, and the names of ResNet-18.

    python gen.py .        (written by PyTorch 2.15.0 and torchvision 0.29.2, float64)

networks.json holds results of evaluation and of one training step; of every
gradient its norm and its product with a fixed vector. resnet18.txt lists
torchvision's parameters and buffers. Values are drawn by a hash, which the test
draws again.
"""
import json
import math
import pathlib
import sys

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

torch.set_default_dtype(torch.float64)
MASK = 0xFFFFFFFF


def mix(x):
    """The finaliser of MurmurHash3 (Appleby)."""
    x ^= x >> 16
    x = x * 0x85EBCA6B & MASK
    x ^= x >> 13
    x = x * 0xC2B2AE35 & MASK
    return x ^ x >> 16


def draw(name, shape, low, high):
    """Values in [low, high) that depend on name and index alone."""
    seed = 0x811C9DC5
    for b in name.encode():
        seed = (seed ^ b) * 0x01000193 & MASK  # FNV-1a
    n = math.prod(shape)
    values = [low + (high - low) * mix(seed + i & MASK) / 2**32 for i in range(n)]
    return torch.tensor(values).float().double().reshape(shape)


def fill(net):
    for name, p in net.state_dict().items():
        if p.dim() > 1:
            bound = 2 / math.sqrt(p[0].numel())
            p.copy_(draw(name, p.shape, -bound, bound))
        elif name.endswith(("weight", "running_var")):
            p.copy_(draw(name, p.shape, 0.5, 1.5))
        elif p.dim() == 1:
            p.copy_(draw(name, p.shape, -0.5, 0.5))
    return net


def double_conv(channels, width, kernel=3, stride=1):
    def layer(c, k, s):
        return [nn.Conv2d(c, width, k, s, k // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layer(channels, kernel, stride), *layer(width, 3, 1))


class UNet(nn.Module):
    def __init__(self, widths, stem_kernel, stem_stride):
        super().__init__()
        self.stride = stem_stride
        self.down = nn.ModuleList([double_conv(3, widths[0], stem_kernel, stem_stride)])
        self.down.extend(double_conv(a, b) for a, b in zip(widths, widths[1:]))
        self.up = nn.ModuleList(double_conv(a + b, a) for a, b in reversed(list(zip(widths, widths[1:]))))
        self.head = nn.Conv2d(widths[0], 1, 1)

    def enlarge(self, x, scale):
        return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)

    def forward(self, x):
        x = self.down[0](x)
        skips = []
        for layer in self.down[1:]:
            skips.append(x)
            x = layer(F.max_pool2d(x, 2))
        for layer in self.up:
            x = layer(torch.cat([skips.pop(), self.enlarge(x, 2)], 1))
        x = self.head(x)
        return self.enlarge(x, self.stride) if self.stride > 1 else x


class ResNet(nn.Module):
    """torchvision's basic blocks behind a stem of another size."""

    def __init__(self, stem, widths, strides, blocks, classes):
        super().__init__()
        kernel, stride, width, self.pool = stem
        self.conv1 = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layers = len(widths)
        for i, (w, s, n) in enumerate(zip(widths, strides, blocks)):
            stage = []
            for b in range(n):
                s = s if b == 0 else 1
                adapt = None
                if s != 1 or w != width:
                    adapt = nn.Sequential(nn.Conv2d(width, w, 1, s, bias=False), nn.BatchNorm2d(w))
                stage.append(torchvision.models.resnet.BasicBlock(width, w, s, adapt))
                width = w
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if self.pool == 2:
            x = F.max_pool2d(x, 2)
        if self.pool == 3:
            x = F.max_pool2d(x, 3, 2, 1)
        for i in range(self.layers):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(x.mean((2, 3)))


def flat(t):
    return [float(f"{v:.8g}") for v in t.detach().flatten().tolist()]


def case(net, side, loss):
    net = fill(net)
    x = draw("image", (2, 3, side, side + 8), 0, 1)
    out = {"eval": flat(net.eval()(x))}
    y = net.train()(x)
    out["train"] = flat(y)
    total = loss(y)
    total.backward()
    out["loss"] = total.item()
    out["gradients"] = {
        name: flat(torch.stack([p.grad.norm(), (p.grad * draw("probe " + name, p.shape, -1, 1)).sum()]))
        for name, p in net.named_parameters()}
    out["statistics"] = {name: flat(b) for name, b in net.named_buffers() if "running" in name}
    return out


WEIGHT = torch.tensor([1.0, 0.25])


def cross_entropy(y):
    return (F.cross_entropy(y, torch.tensor([2, 0]), reduction="none") * WEIGHT).mean()


def map_loss(y):
    target = draw("map", y.shape, 0, 1)
    return (F.binary_cross_entropy_with_logits(y, target, reduction="none").mean((1, 2, 3)) * WEIGHT).mean()


folder = pathlib.Path(sys.argv[1])
names = torchvision.models.resnet18().state_dict()
folder.joinpath("resnet18.txt").write_text("".join(
    f"{name} {'x'.join(map(str, t.shape))}\n" for name, t in names.items() if t.dim() > 0))
nets = {
    "resnet": case(ResNet((7, 2, 12, 3), [12, 20], [1, 2], [2, 1], 3), 24, cross_entropy),
    "resnet with another stem": case(ResNet((5, 2, 6, 2), [17], [2], [1], 3), 16, cross_entropy),
    "unet": case(UNet([16, 20, 24], 3, 1), 8, map_loss),
    "unet with a strided stem": case(UNet([6, 16], 5, 2), 8, map_loss),
}
folder.joinpath("networks.json").write_text(json.dumps(nets, separators=(",", ":")))
