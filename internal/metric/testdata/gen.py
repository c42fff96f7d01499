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
DIGITS = 12


def plain(x):
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple, np.ndarray)):
        return [plain(v) for v in x]
    if isinstance(x, (bool, np.bool_)):
        return bool(x)
    if isinstance(x, (int, np.integer)):
        return int(x)
    return float(f"{x:.{DIGITS}g}") if math.isfinite(x) else None


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
        "iou": metrics.jaccard_score(b >= threshold, a >= threshold) if (np.maximum(a, b) >= threshold).any() else math.nan,
        "nss": stats.zscore(a)[marked].mean() if marked.any() else math.nan,
        "entropy": stats.entropy(p),
    }


zeros, ones, half = np.zeros(12), np.ones(12), (np.arange(12) < 6) * 1.0


def map_cases():
    found = [maps(grid(n), grid(n)) for n in (2, 3, 30, 48)]
    found += [maps(grid(20, low=-32), grid(20, low=-64, high=0)), maps(grid(12), half, 1), maps(half, 1 - half)]
    return found + [maps(a, b) for a in (zeros, ones, half) for b in (zeros, ones, half)]


# Two classes.


def eer(y, s):
    fpr, tpr, _ = metrics.roc_curve(y, s, drop_intermediate=False)
    return np.interp(1, fpr + tpr, fpr)  # FPR = 1 - TPR; the sum rises strictly along the curve


def eer_threshold(y, s):
    """Of the scores as thresholds, by counting, so that equal rates are equal; then
    halfway to the next lower one."""
    positives, negatives = int(y.sum()), int((~y).sum())

    def gap(t):
        return abs(int((s[~y] >= t).sum()) * positives - int((s[y] < t).sum()) * negatives)

    best = min(np.unique(s)[::-1], key=gap)
    return (best + max(s[s < best], default=best)) / 2


def d_prime(y, s):
    if min(y.sum(), (~y).sum()) < 2 or np.ptp(s[y]) == np.ptp(s[~y]) == 0:
        return math.nan
    return (s[y].mean() - s[~y].mean()) / np.sqrt((s[y].var(ddof=1) + s[~y].var(ddof=1)) / 2)


def binary(s, y):
    fpr, tpr, thresholds = metrics.roc_curve(y, s, drop_intermediate=False)
    fired = s >= 0.5
    apcer, bpcer = 1 - fired[y].mean(), fired[~y].mean()
    return {
        "scores": s, "positive": y, "auc": metrics.roc_auc_score(y, s), "eer": eer(y, s),
        "eer_threshold": eer_threshold(y, s), "dprime": d_prime(y, s),
        "fpr": fpr, "tpr": tpr, "thresholds": thresholds[1:],
        "tpr_at_0.1": tpr[fpr <= 0.1].max(), "tpr_at_0.3": tpr[fpr <= 0.3].max(),
        "apcer": apcer, "bpcer": bpcer, "acer": (apcer + bpcer) / 2,
    }


def classes(n):
    y = rng.random(n) < 0.4
    y[:2] = [True, False]
    return y


def binary_cases():
    found = []
    for n in (2, 7, 40, 60):
        y = classes(n)
        found += [binary(grid(n), y), binary(np.clip(grid(n, high=33) + y * 0.3125, 0, 1), y)]
    found += [binary(np.full(9, 0.5), classes(9)), binary(half, half == 1), binary(half, half == 0)]
    return found


# Several classes. Rows sum to 1, as scikit-learn wants.


def soft(y, k):
    s = rng.integers(1, 9, (len(y), k)) + 4 * np.eye(k)[y]
    return s / s.sum(1, keepdims=True)


def ece(s, y, bins=15):
    """Guo et al.'s sum over bins, as written there."""
    confidence, hit, sum_ = s.max(1), s.argmax(1) == y, 0
    for m in range(bins):
        inside = (confidence * bins > m) & (confidence * bins <= m + 1)
        if inside.any():
            sum_ += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    return sum_


def class_auc(s, y, c):
    return metrics.roc_auc_score(y == c, s[:, c]) if 0 < (y == c).sum() < len(y) else math.nan


def macro_roc(s, y):
    """The mean over the classes that occur of the highest TPR at every FPR."""
    curves = [metrics.roc_curve(y == c, s[:, c], drop_intermediate=False)[:2] for c in np.unique(y)]
    rates = np.unique(np.concatenate([fpr for fpr, _ in curves]))
    return rates, [np.mean([tpr[fpr <= x].max() for fpr, tpr in curves]) for x in rates]


def several(s, y):
    k = s.shape[1]
    predicted = s.argmax(1)
    fpr, tpr = macro_roc(s, y) if k > 2 else ([], [])
    occurring = range(k) if k > 2 else [1]
    return {
        "scores": s, "labels": y,
        "auc": metrics.roc_auc_score(y, s[:, 1]) if k == 2 else metrics.roc_auc_score(y, s, multi_class="ovr", average="macro"),
        "eer": np.mean([eer(y == c, s[:, c]) for c in occurring]),
        "accuracy": metrics.accuracy_score(y, s.argmax(1)),
        "balanced": metrics.balanced_accuracy_score(y, s.argmax(1)),
        "brier": metrics.brier_score_loss(y, s if k > 2 else s[:, 1]),
        "ece": ece(s, y),
        "f1": metrics.f1_score(y, predicted, average="macro"),
        "confusion": metrics.confusion_matrix(y, predicted, labels=range(k)),
        "classes": [class_auc(s, y, c) for c in range(k)],
        "fpr": fpr, "tpr": tpr,
    }


def absent(s, y):
    """A class without a sample, which scikit-learn's macro average of AUC refuses."""
    occurring, predicted = np.unique(y), s.argmax(1)
    fpr, tpr = macro_roc(s, y)
    return {
        "scores": s, "labels": y,
        "auc": np.mean([class_auc(s, y, c) for c in occurring]), "eer": np.mean([eer(y == c, s[:, c]) for c in occurring]),
        "accuracy": metrics.accuracy_score(y, predicted), "balanced": np.mean([(predicted[y == c] == c).mean() for c in occurring]),
        "brier": ((s - np.eye(s.shape[1])[y]) ** 2).sum(1).mean(), "ece": ece(s, y),
        "f1": metrics.f1_score(y, predicted, average="macro"),
        "confusion": metrics.confusion_matrix(y, predicted, labels=range(s.shape[1])),
        "classes": [class_auc(s, y, c) for c in range(s.shape[1])],
        "fpr": fpr, "tpr": tpr,
    }


def labels(n, k):
    return np.append(np.arange(k), rng.integers(0, k, n - k))


def several_cases():
    found = []
    for n, k in ((2, 2), (20, 2), (25, 3), (30, 5)):
        y = labels(n, k)
        found.append(several(soft(y, k), y))
    y = labels(12, 3)
    found += [several(np.full((12, 3), 1 / 3), y), several(np.eye(3)[y], y), several(np.eye(3)[(y + 1) % 3], y)]
    found += [several(np.eye(2)[[0, 1, 1, 0]], np.array([0, 1, 0, 1])), several(np.full((6, 2), 0.5), labels(6, 2))]
    scores = np.array([[5, 1, 2], [1, 2, 5], [4, 1, 3], [3, 3, 2], [2, 4, 2], [6, 1, 1], [1, 1, 6]]) / 8
    return [*found, absent(scores, np.array([0, 2, 2, 0, 2, 0, 2]))]


# DeLong, from the comparison of every positive with every negative instead of ranks.


def placements(s, y):
    kernel = (s[y][:, None] > s[~y]) + 0.5 * (s[y][:, None] == s[~y])
    return kernel.mean(1), kernel.mean(0)


def delong(a, b, y):
    """Two classes: the paper's 2 x 2 covariance matrices S10 and S01."""
    v10, v01 = zip(*[placements(s[:, 1], y == 1) for s in (a, b)])
    s = np.cov(v10) / len(v10[0]) + np.cov(v01) / len(v01[0])
    return [np.mean(v) for v in v10], s


def delong_macro(a, b, y):
    """More classes: the covariance of all one-versus-rest AUCs of both, and their mean."""
    k = a.shape[1]
    h, aucs = np.zeros((2 * k, len(y))), []
    for row, (s, c) in enumerate((s, c) for s in (a, b) for c in range(k)):
        v10, v01 = placements(s[:, c], y == c)
        h[row, y == c], h[row, y != c] = v10 / len(v10), v01 / len(v01)
        aucs.append(metrics.roc_auc_score(y == c, s[:, c]))
    covariance = sum((y == c).sum() * np.cov(h[:, y == c]) for c in range(k))
    mean = np.kron(np.eye(2), np.full(k, 1 / k))
    return mean @ aucs, mean @ covariance @ mean.T


def compared(a, b, y):
    (auc, other), s = (delong if a.shape[1] == 2 else delong_macro)(a, b, y)
    q, contrast = stats.norm.ppf(0.975), np.array([1, -1])
    half, sd = q * np.sqrt(s[0, 0]), np.sqrt(contrast @ s @ contrast)
    return {
        "a": a, "b": b, "labels": y, "auc": auc, "low": np.clip(auc - half, 0, 1), "high": np.clip(auc + half, 0, 1),
        "difference": auc - other, "difference_low": auc - other - q * sd, "difference_high": auc - other + q * sd,
        "p": 2 * stats.norm.sf(abs(np.divide(auc - other, sd))),
    }


def compared_cases():
    found = []
    for n, k in ((6, 2), (12, 2), (40, 2), (60, 2), (24, 3), (50, 4)):
        y = np.append(np.arange(k), labels(n - k, k))
        found.append(compared(soft(y, k), soft(y, k), y))
    y = np.append(np.arange(2), labels(10, 2))
    found += [compared(np.eye(2)[y], soft(y, 2), y), compared(soft(y, 2), np.full((12, 2), 0.5), y)]
    found += [compared(np.eye(2)[y], np.full((12, 2), 0.5), y), compared(np.eye(2)[y], np.eye(2)[y], y)]
    found += [compared(soft(np.arange(2), 2), soft(np.arange(2), 2), np.arange(2))]
    return found


# Statistics.


def paired(a, b):
    ci = stats.ttest_rel(a, b).confidence_interval(0.95) if len(a) > 1 else (math.nan, math.nan)
    return {
        "a": a, "b": b, "mean": np.mean(a), "sd": np.std(a, ddof=1) if len(a) > 1 else math.nan,
        "spearman": stats.spearmanr(a, b).statistic if len(a) > 1 else math.nan,
        "p": stats.ttest_rel(a, b).pvalue if len(a) > 1 else math.nan,
        "difference": np.mean(a - b), "low": ci[0], "high": ci[1],
    }


def pair_cases():
    found = [paired(grid(n), grid(n)) for n in (1, 2, 3, 10, 30)]
    found += [paired(grid(8, high=4), grid(8, high=4)), paired(ones, grid(12)), paired(grid(12), zeros)]
    found += [paired(half, half), paired(half + 0.25, half)]
    return found


def cases():
    """All of them, drawn in this order."""
    return plain({
        "maps": map_cases(), "binary": binary_cases(), "several": several_cases(), "compared": compared_cases(),
        "pairs": pair_cases(),
    })


if __name__ == "__main__":
    json.dump(cases(), sys.stdout)
    sys.stdout.write("\n")
