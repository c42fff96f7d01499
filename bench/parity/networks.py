"""Outputs and gradients of every network with the same weights on the same images."""
import math
import statistics
import sys

import torch

from references import PREDICTORS, Reference, batches, grid, initial
from table import Found, Table

NEAR, BATCH = 1e-4, 4
MAP_LOSSES = {"unet": "bce", "unet-resnet18": "mse", "unet-resnet50": "bce", "unet-densenet121": "mse", "unetplusplus-resnet50": "bce"}

# Sides of small images that leave maps of more than one value.
SMALL = {"resnet-small": 24, "custom": 16, "densenet121": 64, "inception-v3": 107, "xception": 41, "unet": 16}
CASES, MOST = 2, 8  # inputs for gradients, and as many where fewer decide nothing
TRIES = 24  # seeds for small images without flips
FAR = 2, 4  # shifts of batch norms that leave few values near 0


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


def in_float32(compute):
    """What PyTorch computes in three ways, whose roundings differ."""
    found = [compute(torch.contiguous_format), compute(torch.channels_last)]
    with torch.backends.mkldnn.flags(enabled=False):
        return found + [compute(torch.contiguous_format)]


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
    """A network on a batch of images, computed by all: in float64, in PyTorch's float32
    and here. Of the tensors only distances from float64 are kept, ours first."""

    def __init__(self, ours, name, size, batch, seed, **how):
        values, inputs = drawn(name, size, batch, seed, **how)
        exact = theirs(name, values, inputs, torch.float64)
        found = [ours.tensors("outputs", job(name, size, batch), {"param/" + k: v for k, v in values.items()} | inputs)]
        found += in_float32(lambda layout: theirs(name, values, inputs, torch.float32, layout))
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

    def __init__(self, cases):
        self.ours, *self.ways = zip(*([g.distances for g in c.gradients] for c in cases))
        self.cases, norms = len(cases), [c.gradients[0].norms for c in cases]
        total = max(math.hypot(*n.values()) for n in norms)
        self.least = {k: NEAR * total / max(n[k] for n in norms) for k in norms[0]}

    def medians(self):
        """Our median over parameters and cases, and PyTorch's in the worst way."""
        def median(cases):
            return statistics.median(d for c in cases for d in c.values())

        return median(self.ours), max(map(median, self.ways))

    def cells(self):
        median, theirs = self.medians()
        return Found(median, max(NEAR, 1.5 * theirs)), Found(self.excess(), 1)

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


def gradients_of(ours, name):
    """Those of two cases, and of more while a bound is missed: in how many a ReLU falls
    otherwise is a matter of luck, on both sides, and a wrong gradient is wrong in all."""
    cases = []
    for seed in range(MOST):
        cases.append(Case(ours, name, size(name), BATCH, seed))
        found = Pool(cases)
        if len(cases) >= CASES and all(cell.holds() for cell in found.cells()):
            break
    return cases, found


def flipless(ours, name):
    """The largest distance of a gradient on small images on which no ReLU falls
    otherwise on either side: of the seeds that are tried the nearest, and its number."""
    best = math.inf, 0
    for seed in range(TRIES):
        if flips(name, seed):
            continue
        best = min(best, (Case(ours, name, *small(name), seed, shift=FAR).largest(), seed))
        if best[0] <= NEAR:
            break
    return best


def flips(name, seed):
    """Whether PyTorch's own float32 is far from its float64 on the small images of a
    seed."""
    found, exact = (theirs(name, *drawn(name, *small(name), seed, shift=FAR), dtype) for dtype in (torch.float32, torch.float64))
    return Gradients(found, exact).largest() > NEAR


def compare(ours, names):
    outputs = Table("Networks: outputs", "network", "mode", "logits", "features", "CAM or map", "loss", "statistics", "PyTorch's float32, at most")
    gradients = Table("Networks: gradients", "network", "inputs", "median", "largest share of the bound", "PyTorch's median", "without flips, largest", "seed")
    for name in names:
        cases, found = gradients_of(ours, name)
        for mode in ("eval", "train"):
            add_outputs(outputs, name, mode, cases[0])
        nearest, seed = ("-", "-") if name == "inception-v3" else flipless(ours, name)
        gradients.add(name, str(found.cases), *found.cells(), found.medians()[1], nearest if seed == "-" else Found(nearest, NEAR), str(seed))
        print(name, *map(str, gradients.rows[-1][1:]), file=sys.stderr, flush=True)
    return [outputs, gradients]


def add_outputs(table, name, mode, case):
    found = {k.removeprefix(mode + "/"): (ours, max(ways)) for k, (ours, *ways) in case.outputs.items() if k.startswith(mode + "/")}
    if mode == "train":
        ours, *ways = map(max, zip(*(v for k, v in case.outputs.items() if k.startswith("statistic/"))))
        found["statistics"] = ours, max(ways)

    def cell(*keys):
        return next((Found(found[k][0], max(NEAR, 2 * found[k][1])) for k in keys if k in found), "-")

    table.add(name, mode, cell("logits"), cell("features"), cell("cam", "map"), cell("loss"), cell("statistics"),
              max(t for _, t in found.values()))
