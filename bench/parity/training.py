"""Twenty steps of training on the same batches, each side with its own optimiser, schedule
and statistics."""
import sys

import torch
from torch.optim import lr_scheduler

from networks import job, map_loss, small
from references import Reference, batches, grid, initial, parameters
from table import Found, Table

NEAR, STEPS, BATCH = 1e-3, 20, 8
MOST = 4  # trainings where one decides nothing
LAYOUTS = torch.contiguous_format, torch.channels_last  # in which roundings differ


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

    def __init__(self, name, seed=1):
        self.name, (self.size, _) = name, small(name)
        self.values = initial(name, self.size, seed)
        self.batches = batches(name, self.size, STEPS * BATCH, grid(name, self.size), seed + 1)

    def batch(self, step):
        return {k: v[step * BATCH:(step + 1) * BATCH] for k, v in self.batches.items()}

    def theirs(self, recipe, dtype, autocast=False, layout=torch.contiguous_format):
        """The losses of PyTorch's steps, and the one of the network as it then is used."""
        reference = Reference(self.name, self.values, dtype, map_loss(self.name))
        reference.net.train().to(memory_format=layout)
        optimizer = recipe.optimizer(reference.net.parameters())
        schedule, losses = recipe.schedule(optimizer), []
        for step in range(STEPS):
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss = reference(self.batch(step))["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        return torch.tensor(losses + [self.used(parameters(reference.net))], dtype=torch.float64)

    def ours(self, ours, recipe, precision):
        """Those of ours. What is left is loaded strictly."""
        task = job(self.name, self.size, BATCH) | {"precision": precision, "training": recipe.ours}
        found = ours.tensors("training", task, {"param/" + k: v for k, v in self.values.items()} | self.batches)
        end = {k.removeprefix("param/"): v for k, v in found.items() if k.startswith("param/")}
        return torch.cat([found["loss"].double(), torch.tensor([self.used(end)], dtype=torch.float64)])

    def used(self, values):
        """The loss in evaluation, which takes the batch norms' statistics, in float64."""
        reference = Reference(self.name, values, torch.float64, map_loss(self.name))
        reference.net.eval()
        with torch.no_grad():
            return reference(self.batch(0))["loss"].item()


def strays(losses, exact):
    """The largest relative difference up to every step."""
    return ((losses - exact) / exact).abs().cummax(0).values


def nearest(ours, theirs, least):
    """Our difference where it is nearest to its bound or past it."""
    bound = torch.clamp(2 * theirs, min=least)
    worst = (ours / bound).argmax()
    return Found(ours[worst], bound[worst])


def trainings(ours, name, recipe):
    """The largest differences of ours and of PyTorch's float32 so far at every step. More
    trainings are taken while the bound is missed: what one ReLU changes grows from step
    to step, and when the first falls otherwise is a matter of luck on both sides."""
    found = theirs = torch.zeros(STEPS + 1, dtype=torch.float64)
    for count in range(1, MOST + 1):
        task = Task(name, seed=count)
        exact = task.theirs(recipe, torch.float64)
        for layout in LAYOUTS:
            theirs = torch.maximum(theirs, strays(task.theirs(recipe, torch.float32, layout=layout), exact))
        found = torch.maximum(found, strays(task.ours(ours, recipe, "f32"), exact))
        if nearest(found, theirs, NEAR).holds():
            break
    return count, exact, found, theirs


def compare(ours, names):
    table = Table(f"{STEPS} steps", "network", "recipe", "trainings", "first loss", "last", "difference nearest to its bound", "at last", "PyTorch's float32 at last")
    for name in names:
        for recipe in RECIPES:
            count, exact, found, theirs = trainings(ours, name, recipe)
            table.add(name, recipe.name, str(count), f"{exact[0]:.3f}", f"{exact[-2]:.3f}", nearest(found, theirs, NEAR), found[-1].item(), theirs[-1].item())
            print(*map(str, table.rows[-1]), file=sys.stderr, flush=True)
    return [table]
