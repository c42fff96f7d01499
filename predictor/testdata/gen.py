"""Writes pca.json: what scikit-learn's PCA and Ridge predict for random images and
maps, the penalty being the mean squared distance of the images from their mean.

    python gen.py > pca.json    (written by scikit-learn 1.9.1, NumPy 2.4.6)

Images and maps are multiples of 1/64, so that float32 holds them exactly.
"""
import json
import sys

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

SIDE, COMPONENTS, SIZE = 5, 16, 3
rng = np.random.default_rng(1)


def case(n):
    shades = rng.integers(0, 4, (n, 3)) @ rng.integers(0, 6, (3, SIDE * SIDE))
    images = (shades + rng.integers(0, 9, (n, SIDE * SIDE))) / 64
    maps = rng.integers(0, 65, (n, SIZE * SIZE)) / 64
    new = images[0] + rng.integers(-4, 5, SIDE * SIDE) / 64
    penalty = ((images - images.mean(0)) ** 2).sum() / n
    pca = PCA(min(COMPONENTS, n - 1), svd_solver="full").fit(images)
    ridge = Ridge(penalty).fit(pca.transform(images), maps)
    predicted = ridge.predict(pca.transform([new]))[0].clip(0, 1)
    return {"images": images.tolist(), "maps": maps.tolist(), "new": new.tolist(), "predicted": predicted.tolist()}


json.dump([case(n) for n in (3, 8, 30)], sys.stdout)
