"""Trains on the data set that main.go wrote by the code of docs/models.md, from the same
weights, and compares the losses.

    python check.py FOLDER

Ends with 1 if one differs by more than 1e-4 of itself.
"""

import json
import pathlib
import re
import sys

import datasets
from safetensors.torch import load_file

NEAR = 1e-4
folder = pathlib.Path(sys.argv[1])
page = (pathlib.Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
documented = {}
exec(re.search(r"## Training in PyTorch\n.*?```python\n(.*?)```", page, re.DOTALL).group(1), documented)
documented |= {"SIZE": 40, "augmented": lambda *views: views}  # as main.go has it

datasets.disable_progress_bars()
network = documented["resnet18"](num_classes=2)
network.load_state_dict(load_file(folder / "start.safetensors"), strict=True)
want = json.loads((folder / "losses.json").read_text())
found = documented["train"](network, str(folder / "set/data/train-*.parquet"), epochs=len(want))
assert len(found) == len(want), (found, want)
off = [abs(f - w) / w for f, w in zip(found, want)]
print("losses of", len(want), "steps differ by", ", ".join(f"{d:.1e}" for d in off))
sys.exit(0 if max(off) <= NEAR else 1)
