"""Measures of random and degenerate operands by scikit-learn, SciPy and pysaliency's
formulas."""
import math

import numpy

from references import generator
from table import Found

NEAR, SEEDS = 1e-6, 20
metric = generator("internal/metric")
metric.DIGITS = 17  # a rounded operand may fall into another bin
TITLES = {"maps": "two maps", "binary": "two classes", "several": "several classes",
          "compared": "two classifiers", "pairs": "paired samples"}
NAMES = {"classes": "AUC of each class", "confusion": "confusion matrix"}


def difference(found, want):
    """Where one alone is not a number, there is no end to it. Large values count
    relatively; of lists the largest difference does."""
    if isinstance(want, list):
        return max((difference(f, w) for f, w in zip(found, want, strict=True)), default=0)
    if found is None or want is None:
        return 0 if found is want else math.inf
    return abs(found - want) / max(1, abs(want))


def differences(ours, cases):
    """The largest one by group and measure."""
    found = ours.json("metrics", cases)
    return {(group, name): max(difference(m[name], case[name]) for m, case in zip(found[group], cases[group]))
            for group in cases for name in found[group][0]}


def compare(comparison):
    largest, count = {}, {}
    for seed in range(SEEDS):
        metric.rng = numpy.random.default_rng(1000 + seed)
        cases = metric.cases()
        for key, d in differences(comparison.ours, cases).items():
            largest[key] = max(largest.get(key, 0), d)
            count[key] = count.get(key, 0) + len(cases[key[0]])
    table = comparison.table("Measures", "of", "measure", "cases", "largest difference")
    for (group, name), d in largest.items():
        table.add(TITLES[group], NAMES.get(name, name), str(count[group, name]), Found(d, NEAR))
