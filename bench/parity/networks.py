"""Outputs and gradients of every network with the same weights on the same images."""
import math
import statistics
import sys

import torch

from references import PREDICTORS, Reference, batches, grid, initial
from table import Found, with_repetition

NEAR = {"f32": 1e-4, "tf32": 2e-3, "bf16": 1e-2}
BATCH = 4
MAP_LOSSES = {"unet": "bce", "unet-resnet18": "mse", "unet-resnet50": "bce", "unet-densenet121": "mse", "unetplusplus-resnet50": "bce"}

# Sides of small images that leave maps of more than one value.
SMALL = {"resnet-small": 24, "custom": 16, "densenet121": 64, "inception-v3": 107, "xception": 41, "unet": 16}
INPUTS = [0, 1], [2, 3, 4, 5]  # seeds for gradients, and for their repetition
TRIES = 24  # seeds for small images without flips
FAR = 2, 4  # shifts of batch norms that leave few values near 0


def map_loss(name):
    return MAP_LOSSES.get(name, "mse")


def size(name):
    return 107 if name == "inception-v3" else 64


def small(name):
    """Side and number of small images: batch norms want more than two values."""
    return SMALL.get(name, 32 if name in PREDICTORS else 33), 4 if name in PREDICTORS else 2


def job(setting, name, size, batch):
    return {"network": name, "size": size, "batch": batch, "device": setting.device, "precision": setting.precision, "loss": map_loss(name)}


def theirs(setting, name, values, batch, dtype, layout=torch.contiguous_format, autocast=False):
    """Results under the names of the Go program's."""
    reference = Reference(name, values, dtype, map_loss(name), setting.device, autocast)
    reference.net.to(memory_format=layout)
    batch = batch | {"image": batch["image"].to(memory_format=layout)}
    with torch.no_grad():
        reference.net.eval()
        found = {"eval/" + k: v for k, v in reference(batch).items()}
    reference.net.train()
    out = reference(batch)
    out["loss"].backward()
    found |= {"train/" + k: v.detach() for k, v in out.items()}
    found |= {"gradient/" + k: p.grad for k, p in reference.net.named_parameters()}
    found |= {"statistic/" + k: b for k, b in reference.net.named_buffers() if "running" in k}
    return {k: v.cpu() for k, v in found.items()}


class Gradients:
    """How far every gradient is from the exact one, as a share of its norm."""

    def __init__(self, found, exact):
        self.norms = {k: v.norm().item() for k, v in exact.items() if k.startswith("gradient/")}
        self.distances = {k: (found[k].double().reshape(exact[k].shape) - exact[k]).norm().item() / n for k, n in self.norms.items()}

    def largest(self):
        """Of those that do not cancel to nearly nothing."""
        least = 1e-3 * max(self.norms.values())
        return max(d for k, d in self.distances.items() if self.norms[k] > least)


class Case:
    """A network on a batch of images, computed by all: in float64, in PyTorch in the ways
    of a setting, and here. Of the tensors only distances from float64 are kept, ours
    first."""

    def __init__(self, setting, name, size, batch, seed, **how):
        values, inputs = drawn(name, size, batch, seed, **how)
        exact = theirs(setting, name, values, inputs, torch.float64)
        found = [setting.ours.tensors("outputs", job(setting, name, size, batch), {"param/" + k: v for k, v in values.items()} | inputs)]
        found += setting.rounded(lambda layout: theirs(setting, name, values, inputs, torch.float32, layout, setting.autocast))
        self.gradients = [Gradients(f, exact) for f in found]
        self.outputs = {k: [far(f[k], v) for f in found] for k, v in exact.items() if not k.startswith("gradient/")}

    def largest(self):
        """The largest distance of a gradient on either side."""
        return max(g.largest() for g in self.gradients)


def drawn(name, size, batch, seed, **how):
    """A network's values and inputs."""
    return initial(name, size, seed, **how), batches(name, size, batch, grid(name, size), seed + 1)


class Pool:
    """The gradients of several cases."""

    def __init__(self, cases, near):
        self.ours, *self.ways = zip(*([g.distances for g in c.gradients] for c in cases))
        self.cases, self.near, norms = len(cases), near, [c.gradients[0].norms for c in cases]
        total = max(math.hypot(*n.values()) for n in norms)
        self.least = {k: near * total / max(n[k] for n in norms) for k in norms[0]}

    def medians(self):
        """Our median over parameters and cases, and PyTorch's in the worst way."""
        def median(cases):
            return statistics.median(d for c in cases for d in c.values())

        return median(self.ours), max(map(median, self.ways))

    def cells(self):
        """Inputs, median, the largest share of what is allowed to one gradient, PyTorch's
        median."""
        median, theirs = self.medians()
        share, their_share = max(self.shares())
        return [str(self.cases), Found(median, max(self.near, 1.5 * theirs), theirs), Found(share, 1, their_share), theirs]

    def shares(self):
        """The largest distance of every gradient, ours and PyTorch's, as a share of what is
        allowed: four times PyTorch's, or a small part of the norm of all gradients."""
        def most(k, cases):
            return max(c[k] for c in cases)

        for k, least in self.least.items():
            theirs = max(most(k, w) for w in self.ways)
            bound = max(4 * theirs, least)
            yield most(k, self.ours) / bound, theirs / bound


def far(a, b):
    """The largest difference as a share of the largest magnitude of b."""
    a, b = a.double().flatten(), b.double().flatten()
    return ((a - b).abs().max() / b.abs().max()).item()


def flipless(setting, name):
    """The largest distance of a gradient on small images on which no ReLU falls
    otherwise on either side: of the seeds that are tried the nearest, and its number."""
    best = math.inf, 0
    for seed in range(TRIES):
        if flips(setting, name, seed):
            continue
        best = min(best, (Case(setting, name, *small(name), seed, shift=FAR).largest(), seed))
        if best[0] <= NEAR["f32"]:
            break
    return Found(best[0], NEAR["f32"]), str(best[1])


def flips(setting, name, seed):
    """Whether PyTorch's own float32 is far from its float64 on the small images of a
    seed."""
    found, exact = (theirs(setting, name, *drawn(name, *small(name), seed, shift=FAR), dtype) for dtype in (torch.float32, torch.float64))
    return Gradients(found, exact).largest() > NEAR["f32"]


def compare(comparison):
    for name, rows in in_turn(comparison, Rows):
        rows.add(name)


def in_turn(comparison, make):
    """Every network with what is made for every setting, in the order in which to go on
    as long as there is time."""
    made = [make(comparison, s) for s in comparison.settings]
    for name in comparison.networks:
        for m in made:
            yield name, m


class Rows:
    """The tables of one setting."""

    def __init__(self, comparison, setting):
        self.setting = setting
        self.outputs = comparison.table(f"Networks: outputs, {setting}", "network", "mode", "logits", "features", "CAM or map", "loss", "statistics", "PyTorch's, at most")
        self.gradients = comparison.table(f"Networks: gradients, {setting}", "network", "inputs", "median", "largest share of the bound", "PyTorch's median", "without flips, largest", "seed")

    def add(self, name):
        cases = []

        def measure(repetition):
            found = [Case(self.setting, name, size(name), BATCH, seed) for seed in INPUTS[repetition]]
            cases.extend(found)
            return Pool(found, NEAR[self.setting.precision]).cells()

        cells = with_repetition(measure)
        for mode in ("eval", "train"):
            self.add_outputs(name, mode, cases[0])
        if self.setting.precision == "f32" and name != "inception-v3":
            self.gradients.add(name, *cells, *flipless(self.setting, name))
        else:
            self.gradients.add(name, *cells, "-", "-")
        print(self.setting, *map(str, self.gradients.rows[-1]), file=sys.stderr, flush=True)

    def add_outputs(self, name, mode, case):
        found = {k.removeprefix(mode + "/"): (ours, max(ways)) for k, (ours, *ways) in case.outputs.items() if k.startswith(mode + "/")}
        if mode == "train":
            ours, *ways = map(max, zip(*(v for k, v in case.outputs.items() if k.startswith("statistic/"))))
            found["statistics"] = ours, max(ways)

        def cell(*keys):
            return next((Found(found[k][0], max(NEAR[self.setting.precision], 2 * found[k][1])) for k in keys if k in found), "-")

        self.outputs.add(name, mode, cell("logits"), cell("features"), cell("cam", "map"), cell("loss"), cell("statistics"),
                         max(t for _, t in found.values()))
