"""PyTorch's side of the comparison: one network, one task, one mode.

usage: theirs.py --case CASE --task step|inference --mode MODE --threads N --precision f32|bf16 --reps N

Builds the network, warms up and prints a line of JSON about itself. For every line
on standard input it then measures so many repetitions and prints their times in
milliseconds; at the end of the input it prints the memory they took.
"""
import argparse
import json
import pathlib
import sys
import time

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

BATCH, CLASSES, ALPHA, WARM = 8, 1000, 0.5, 3


class UNet(nn.Module):
    """The U-Net of internal/backbone."""

    def __init__(self, *widths):
        super().__init__()

        def block(i, o):
            return nn.Sequential(
                nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(True),
                nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(True))

        self.down = nn.ModuleList(block(i, o) for i, o in zip((3, *widths), widths))
        self.up = nn.ModuleList(block(a + b, a) for a, b in zip(widths[-2::-1], widths[:0:-1]))
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x):
        skips = []
        for i, down in enumerate(self.down):
            x = down(x if i == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = up(torch.cat([skips.pop(), x], 1))
        return self.head(x)


class Guided(nn.Module):
    """A classifier that also returns the class activation maps of the labels."""

    def __init__(self, net, features, head):
        super().__init__()
        self.net, self.features, self.head = net, features(net), head(net)

    def forward(self, x, labels):
        f = self.features(x)
        raw = torch.einsum("nchw,nc->nhw", f, self.head.weight[labels])
        low, high = raw.amin((1, 2), keepdim=True), raw.amax((1, 2), keepdim=True)
        return self.head(f.mean((2, 3))), (raw - low) / (high - low)


def resnet_features(net):
    return nn.Sequential(*list(net.children())[:-2])


# What builds a network, the side of its images, and for a classifier what feeds the
# global average pool and the layer behind it.
NETWORKS = {
    "unet64": (lambda: UNet(16, 32, 64), 64),
    "unet128": (lambda: UNet(32, 64, 128, 256), 128),
    "resnet18": (torchvision.models.resnet18, 224, resnet_features, lambda m: m.fc),
    "resnet50": (torchvision.models.resnet50, 224, resnet_features, lambda m: m.fc),
    "densenet121": (torchvision.models.densenet121, 224, lambda m: nn.Sequential(m.features, nn.ReLU()), lambda m: m.classifier),
    "inception_v3": (lambda: torchvision.models.inception_v3(aux_logits=False, init_weights=False), 299),
    "xception": (lambda: timm.create_model("legacy_xception"), 299),
}


def status(field):
    """A size in bytes from the kernel's account of this process, 0 where there is none."""
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def reset_peak():
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def build(a):
    """The network, the function that is measured, and the number of parameters."""
    name, _, guided = a.case.partition("+")
    make, size, *parts = NETWORKS[name]
    net = make()
    if guided:
        net = Guided(net, *parts)
    x = torch.randn(BATCH, 3, size, size)
    if a.mode != "eager":
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    run = torch.compile(net) if a.mode == "compile" else net
    labels = torch.randint(0, CLASSES, (BATCH,))
    cast = torch.autocast("cpu", torch.bfloat16, enabled=a.precision == "bf16")

    if guided:
        with torch.no_grad():
            maps = torch.rand_like(net(x, labels)[1])

        def loss():
            logits, cam = run(x, labels)
            return ALPHA * F.cross_entropy(logits.float(), labels) + (1 - ALPHA) * F.mse_loss(cam.float(), maps)
    elif name.startswith("unet"):
        maps = torch.rand(BATCH, 1, size, size)

        def loss():
            return F.mse_loss(run(x).float().sigmoid(), maps)
    else:

        def loss():
            return F.cross_entropy(run(x).float(), labels)

    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def step():
        with cast:
            value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    def inference():
        with torch.inference_mode(), cast:
            run(x)

    net.train(a.task == "step")
    return {"step": step, "inference": inference}[a.task], sum(p.numel() for p in net.parameters())


def say(**message):
    print(json.dumps(message), flush=True)


def main():
    p = argparse.ArgumentParser()
    for name in ("case", "task", "mode", "precision"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--reps", type=int, required=True)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    reset_peak()
    before = status("VmRSS")
    once, parameters = build(a)
    for _ in range(WARM):
        once()
    say(parameters=parameters, about=f"PyTorch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()})")
    for _ in sys.stdin:
        times = []
        for _ in range(a.reps):
            began = time.perf_counter()
            once()
            times.append(1e3 * (time.perf_counter() - began))
        say(times=times)
    say(memory=max(status("VmHWM") - before, 0))


if __name__ == "__main__":
    main()
