"""Twenty steps of training on the same batches, each side with its own optimiser, schedule
and statistics."""
import sys

import torch
from torch.optim import lr_scheduler

from networks import in_turn, job, map_loss, small
from references import Reference, batches, grid, initial, parameters
from table import Found, with_repetition

NEAR = {"f32": 1e-3, "tf32": 2e-3, "bf16": 1e-2}
STEPS, BATCH = 20, 8
SEEDS = 1, 2  # of a training, and of its repetition


class Recipe:
    """An optimiser and a schedule in PyTorch's words and in ours."""

    def __init__(self, name, optimizer, schedule, our_optimizer, our_schedule):
        self.name, self.optimizer, self.schedule = name, optimizer, schedule
        self.ours = {"steps": STEPS, "optimizer": our_optimizer, "schedule": our_schedule}


RECIPES = [
    Recipe("SGD, step", lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9, weight_decay=1e-2),
           lambda o: lr_scheduler.StepLR(o, 8, 0.5),
           {"Name": "sgd", "LR": 1e-3, "Momentum": 0.9, "WeightDecay": 1e-2}, {"Kind": "step", "Every": 8, "Gamma": 0.5}),
    Recipe("Adam, one-cycle", lambda p: torch.optim.Adam(p, 1e-4, weight_decay=1e-2),
           lambda o: lr_scheduler.OneCycleLR(o, 1e-4, STEPS, pct_start=0.3, cycle_momentum=False),
           {"Name": "adam", "LR": 1e-4, "WeightDecay": 1e-2}, {"Kind": "one-cycle", "Warmup": 0.3}),
]


class Task:
    """A network, where it begins, and its batches."""

    def __init__(self, setting, name, recipe, seed):
        self.setting, self.name, self.recipe, (self.size, _) = setting, name, recipe, small(name)
        self.values = initial(name, self.size, seed)
        self.batches = batches(name, self.size, STEPS * BATCH, grid(name, self.size), seed + 1)

    def theirs(self, dtype, layout=torch.contiguous_format, autocast=False, reverse=False):
        """The losses of PyTorch's steps, and the one of the network as it then is used. The
        images of a batch may be added up in reverse."""
        reference = Reference(self.name, self.values, dtype, map_loss(self.name), self.setting.device, autocast)
        reference.net.train().to(memory_format=layout)
        optimizer = self.recipe.optimizer(reference.net.parameters())
        schedule, losses = self.recipe.schedule(optimizer), []
        for step in range(STEPS):
            batch = {k: v[step * BATCH:(step + 1) * BATCH] for k, v in self.batches.items()}
            loss = reference({k: v.flip(0) for k, v in batch.items()} if reverse else batch)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        return torch.tensor(losses + [self.used(parameters(reference.net))], dtype=torch.float64)

    def ours(self, precision):
        """Those of ours. What is left is loaded strictly."""
        task = job(self.setting, self.name, self.size, BATCH) | {"precision": precision, "training": self.recipe.ours}
        found = self.setting.ours.tensors("training", task, {"param/" + k: v for k, v in self.values.items()} | self.batches)
        end = {k.removeprefix("param/"): v for k, v in found.items() if k.startswith("param/")}
        return torch.cat([found["loss"].double(), torch.tensor([self.used(end)], dtype=torch.float64)])

    def used(self, values):
        """The loss in evaluation, which takes the batch norms' statistics, in float64."""
        reference = Reference(self.name, values, torch.float64, map_loss(self.name))
        reference.net.eval()
        with torch.no_grad():
            return reference({k: v[:BATCH] for k, v in self.batches.items()})["loss"].item()

    def strays(self):
        """How far our losses are from the exact ones, and PyTorch's at most of some orders
        of adding up, by steps. Exact are float64's; of a lower precision each side's own
        float32."""
        if self.setting.precision == "f32":
            theirs = ours = self.theirs(torch.float64)
        else:
            theirs, ours = self.theirs(torch.float32), self.ours("f32")
        found = []
        for reverse in (False, True):
            found += self.setting.rounded(lambda layout: self.theirs(torch.float32, layout, self.setting.autocast, reverse))
        return strays(self.ours(self.setting.precision), ours), torch.stack([strays(f, theirs) for f in found]).amax(0), theirs

    def cells(self):
        """First and last loss, our difference where it is nearest to its bound or past it
        and PyTorch's there, ours and PyTorch's at last."""
        ours, theirs, exact = self.strays()
        bound = torch.clamp(2 * theirs, min=NEAR[self.setting.precision])
        worst = (ours / bound).argmax()
        return [f"{exact[0]:.3f}", f"{exact[-2]:.3f}", Found(ours[worst], bound[worst], theirs[worst]), theirs[worst].item(), ours[-1].item(), theirs[-1].item()]


def strays(losses, exact):
    """The largest relative difference up to every step."""
    return ((losses - exact) / exact).abs().cummax(0).values


class Rows:
    """The table of one setting."""

    def __init__(self, comparison, setting):
        self.setting = setting
        self.table = comparison.table(f"{STEPS} steps, {setting}", "network", "recipe", "first loss", "last", "difference nearest to its bound", "PyTorch's there", "at last", "PyTorch's at last")

    def add(self, name):
        for recipe in RECIPES:
            cells = with_repetition(lambda repetition: Task(self.setting, name, recipe, SEEDS[repetition]).cells())
            self.table.add(name, recipe.name, *cells)
            print(self.setting, *map(str, self.table.rows[-1]), file=sys.stderr, flush=True)


def compare(comparison):
    for name, rows in in_turn(comparison, Rows):
        rows.add(name)
