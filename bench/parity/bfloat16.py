"""Twenty steps in bfloat16 here and under PyTorch's autocast, each beside its own
float32."""
import json
import pathlib
import sys
import tempfile

import torch

from table import Found, Table
from training import RECIPES, Task, strays

NEAR = 1e-2


def available(ours):
    """Whether the machine has instructions for it."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        ours.call("target", {"precision": "auto"}, folder)
        return json.loads((folder / "out.json").read_text())["Precision"] == "bf16"


def compare(ours, names):
    table = Table("20 steps in bfloat16", "network", "recipe", "largest difference from float32", "autocast's")
    if not available(ours):
        table.add("no instructions for it here", "-", "-", "-")
        return [table]
    for name in names:
        task = Task(name)
        for recipe in RECIPES:
            exact = task.theirs(recipe, torch.float32)
            autocast = strays(task.theirs(recipe, torch.float32, autocast=True), exact)[-1].item()
            found = strays(task.ours(ours, recipe, "bf16"), task.ours(ours, recipe, "f32"))[-1].item()
            table.add(name, recipe.name, Found(found, max(NEAR, 2 * autocast)), autocast)
            print("bf16", *map(str, table.rows[-1]), file=sys.stderr, flush=True)
    return [table]
