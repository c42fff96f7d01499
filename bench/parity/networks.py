"""Outputs and gradients of every network with the same weights on the same images."""
import math
import statistics
import sys

import torch

from references import CLASSIFIERS, PREDICTORS, Reference, batches, grid, initial
from table import Found, Table

NEAR, BATCH = 1e-4, 4
MAP_LOSSES = {"unet": "bce", "unet-resnet18": "mse", "unet-resnet50": "bce", "unet-densenet121": "mse", "unetplusplus-resnet50": "bce"}

# Sides of small images that leave maps of more than one value.
SMALL = {"resnet-small": 24, "custom": 16, "densenet121": 64, "inception-v3": 107, "xception": 41, "unet": 16}
CASES, TRIES = 3, 8


def map_loss(name):
    return MAP_LOSSES.get(name, "mse")


def size(name):
    return 107 if name == "inception-v3" else 64


def small(name):
    """Side and number of small images: batch norms want more than two values."""
    return SMALL.get(name, 32 if name in PREDICTORS else 33), 4 if name in PREDICTORS else 2


def job(name, size, batch):
    return {"network": name, "size": size, "batch": batch, "precision": "f32", "loss": map_loss(name)}


def theirs(name, values, batch, dtype, layout=torch.contiguous_format):
    """Results under the names of the Go program's."""
    reference = Reference(name, values, dtype, map_loss(name))
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
    return found | {"statistic/" + k: b for k, b in reference.net.named_buffers() if "running" in k}


class Case:
    """A network on a batch of images, computed by all: in float64, in PyTorch's float32
    in three ways, whose roundings differ, and here."""

    def __init__(self, ours, name, size, batch, seed):
        values = initial(name, size, seed)
        inputs = batches(name, size, batch, grid(name, size), seed + 1)
        self.exact = theirs(name, values, inputs, torch.float64)
        self.torch = [theirs(name, values, inputs, torch.float32), theirs(name, values, inputs, torch.float32, torch.channels_last)]
        with torch.backends.mkldnn.flags(enabled=False):
            self.torch.append(theirs(name, values, inputs, torch.float32))
        self.ours = ours.tensors("outputs", job(name, size, batch), {"param/" + k: v for k, v in values.items()} | inputs)

    def outputs(self, prefix):
        """How far everything under a prefix is from float64, as a share of the largest
        magnitude: ours, and PyTorch's at most."""
        return {k.removeprefix(prefix): (far(self.ours[k], v), max(far(t[k], v) for t in self.torch))
                for k, v in self.exact.items() if k.startswith(prefix)}

    def norms(self):
        return {k: v.norm().item() for k, v in self.exact.items() if k.startswith("gradient/")}

    def gradients(self, found):
        """How far every gradient is from float64, as a share of its norm."""
        return {k: (found[k].double().reshape(self.exact[k].shape) - self.exact[k]).norm().item() / n for k, n in self.norms().items()}

    def largest(self):
        """The largest distance on either side of a gradient that does not cancel to
        nearly nothing."""
        norms = self.norms()
        counts = [k for k, n in norms.items() if n > 1e-3 * max(norms.values())]
        return max(g[k] for g in map(self.gradients, (self.ours, *self.torch)) for k in counts)


class Gradients:
    """Distances of gradients over several cases. Which ReLUs fall otherwise is a matter
    of luck in each."""

    def __init__(self, cases):
        self.ours = [c.gradients(c.ours) for c in cases]
        self.ways = [[c.gradients(c.torch[way]) for c in cases] for way in range(len(cases[0].torch))]
        norms = [c.norms() for c in cases]
        total = max(math.hypot(*n.values()) for n in norms)
        self.least = {k: NEAR * total / max(n[k] for n in norms) for k in norms[0]}

    def medians(self):
        """Our median over parameters and cases, and PyTorch's in the worst way."""
        def median(cases):
            return statistics.median(d for c in cases for d in c.values())

        return median(self.ours), max(map(median, self.ways))

    def excess(self):
        """The largest distance of ours as a share of what is allowed: four times
        PyTorch's of that parameter, or a ten thousandth of the norm of all gradients."""
        def most(k, cases):
            return max(c[k] for c in cases)

        return max(most(k, self.ours) / max(4 * max(most(k, w) for w in self.ways), least) for k, least in self.least.items())


def far(a, b):
    """The largest difference as a share of the largest magnitude of b."""
    a, b = a.double().flatten(), b.double().flatten()
    return ((a - b).abs().max() / b.abs().max()).item()


def flipless(ours, name):
    """The largest distance of a gradient on small images on which no ReLU falls
    otherwise on either side: of the seeds that are tried the nearest, and its number."""
    best = math.inf, 0
    for seed in range(TRIES):
        best = min(best, (Case(ours, name, *small(name), seed).largest(), seed))
        if best[0] <= NEAR:
            break
    return best


def compare(ours, names):
    outputs = Table("Networks: outputs", "network", "mode", "logits", "features", "CAM or map", "loss", "statistics", "PyTorch's float32, at most")
    gradients = Table("Networks: gradients", "network", "median", "PyTorch's", "largest share of the bound", "without flips, largest", "seed")
    for name in names:
        cases = [Case(ours, name, size(name), BATCH, seed) for seed in range(CASES)]
        for mode in ("eval", "train"):
            add_outputs(outputs, name, mode, cases[0])
        found = Gradients(cases)
        median, their_median = found.medians()
        row = name, Found(median, max(NEAR, 1.5 * their_median)), their_median, Found(found.excess(), 1)
        nearest, seed = ("-", "-") if name == "inception-v3" else flipless(ours, name)
        gradients.add(*row, nearest if seed == "-" else Found(nearest, NEAR), str(seed))
        print(name, *map(str, gradients.rows[-1][1:]), file=sys.stderr, flush=True)
    return [outputs, gradients]


def add_outputs(table, name, mode, case):
    found = case.outputs(mode + "/")
    if mode == "train":
        statistic = case.outputs("statistic/").values()
        found["statistics"] = tuple(max(s[i] for s in statistic) for i in (0, 1))

    def cell(*keys):
        return next((Found(found[k][0], max(NEAR, 2 * found[k][1])) for k in keys if k in found), "-")

    table.add(name, mode, cell("logits"), cell("features"), cell("cam", "map"), cell("loss"), cell("statistics"),
              max(t for _, t in found.values()))
