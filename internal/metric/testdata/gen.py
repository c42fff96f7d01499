"""Writes goldens.json: what scikit-learn, SciPy and pysaliency's formulas find
for random and degenerate operands.

    python gen.py > goldens.json    (written by scikit-learn 1.9.1, SciPy 1.17.1, NumPy 2.4.6)

Maps and scores are multiples of 1/64, so that float32 holds them exactly and
ties occur. null stands for NaN.
"""
import json
import math
import sys
import warnings

import numpy as np
from scipy import stats
from sklearn import metrics

warnings.simplefilter("ignore")
rng = np.random.default_rng(1)
EPS = 2.2204e-16


def plain(x):
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple, np.ndarray)):
        return [plain(v) for v in x]
    if isinstance(x, (bool, np.bool_)):
        return bool(x)
    if isinstance(x, (int, np.integer)):
        return int(x)
    return float(f"{x:.12g}") if math.isfinite(x) else None


def grid(*shape, low=0, high=65):
    return rng.integers(low, high, shape) / 64


# Maps: the formulas of pysaliency/metrics.py, written for flat arrays.


def density(m):
    m = m - min(m.min(), 0)
    return m / m.sum() if m.sum() else np.full_like(m, 1 / m.size)


def maps(a, b, threshold=0.5):
    p, q = density(a), density(b)
    marked = b >= threshold
    return {
        "a": a, "b": b, "threshold": threshold,
        "cc": np.corrcoef(a, b)[0, 1],
        "sim": np.minimum(p, q).sum(),
        "kl": (q * np.log(EPS + q / (p + EPS))).sum(),
        "mse": metrics.mean_squared_error(a, b),
        "auc": metrics.roc_auc_score(marked, a) if 0 < marked.sum() < marked.size else math.nan,
    }


zeros, ones, half = np.zeros(12), np.ones(12), (np.arange(12) < 6) * 1.0
map_cases = [maps(grid(n), grid(n)) for n in (2, 3, 30, 48)]
map_cases += [maps(grid(20, low=-32), grid(20, low=-64, high=0)), maps(grid(12), half, 1), maps(half, 1 - half)]
map_cases += [maps(a, b) for a in (zeros, ones, half) for b in (zeros, ones, half)]


# Two classes.


def eer(y, s):
    fpr, tpr, _ = metrics.roc_curve(y, s, drop_intermediate=False)
    return np.interp(1, fpr + tpr, fpr)  # FPR = 1 - TPR; the sum rises strictly along the curve


def binary(s, y):
    fpr, tpr, thresholds = metrics.roc_curve(y, s, drop_intermediate=False)
    fired = s >= 0.5
    apcer, bpcer = 1 - fired[y].mean(), fired[~y].mean()
    return {
        "scores": s, "positive": y, "auc": metrics.roc_auc_score(y, s), "eer": eer(y, s),
        "fpr": fpr, "tpr": tpr, "thresholds": thresholds[1:],
        "tpr_at_0.1": tpr[fpr <= 0.1].max(), "tpr_at_0.3": tpr[fpr <= 0.3].max(),
        "apcer": apcer, "bpcer": bpcer, "acer": (apcer + bpcer) / 2,
    }


def classes(n):
    y = rng.random(n) < 0.4
    y[:2] = [True, False]
    return y


binary_cases = []
for n in (2, 7, 40, 60):
    y = classes(n)
    binary_cases += [binary(grid(n), y), binary(np.clip(grid(n, high=33) + y * 0.3125, 0, 1), y)]
binary_cases += [binary(np.full(9, 0.5), classes(9)), binary(half, half == 1), binary(half, half == 0)]


# Several classes. Rows sum to 1, as scikit-learn wants.


def several(n, k):
    y = np.append(np.arange(k), rng.integers(0, k, n - k))
    s = rng.integers(1, 9, (n, k)) + 4 * np.eye(k)[y]
    s = s / s.sum(1, keepdims=True)
    auc = metrics.roc_auc_score(y, s[:, 1]) if k == 2 else metrics.roc_auc_score(y, s, multi_class="ovr", average="macro")
    return {"scores": s, "labels": y, "auc": auc, "accuracy": metrics.accuracy_score(y, s.argmax(1))}


several_cases = [several(n, k) for n, k in ((2, 2), (20, 2), (25, 3), (30, 5))]


# Statistics.


def paired(a, b):
    ci = stats.ttest_rel(a, b).confidence_interval(0.95) if len(a) > 1 else (math.nan, math.nan)
    return {
        "a": a, "b": b, "mean": np.mean(a), "sd": np.std(a, ddof=1) if len(a) > 1 else math.nan,
        "spearman": stats.spearmanr(a, b).statistic if len(a) > 1 else math.nan,
        "difference": np.mean(a - b), "low": ci[0], "high": ci[1],
    }


pair_cases = [paired(grid(n), grid(n)) for n in (1, 2, 3, 10, 30)]
pair_cases += [paired(grid(8, high=4), grid(8, high=4)), paired(ones, grid(12)), paired(grid(12), zeros)]

json.dump(plain({"maps": map_cases, "binary": binary_cases, "several": several_cases, "pairs": pair_cases}), sys.stdout)
sys.stdout.write("\n")
