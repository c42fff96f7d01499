"""Writes torch.json: what torch.optim makes of given gradients, and the learning
rates of its schedules.

    python gen.py > torch.json        (written by PyTorch 2.15.0, float64)
"""
import json
import math
import sys

import torch
from torch.optim import lr_scheduler as lrs

torch.set_default_dtype(torch.float64)
STEPS, SIZE = 12, 19


def parameter():
    return torch.nn.Parameter(torch.tensor([math.sin(1.7 * i) for i in range(SIZE)]))


def gradient(step):
    return torch.tensor([math.cos(0.9 * step + 1.3 * i) * (1 + i % 4) for i in range(SIZE)])


def optimizer(name, make, **ours):
    """Parameters after every step, learning rate 0.05 scaled by 1, 1/2, 1/3, ..."""
    p = parameter()
    o = make([p])
    after = []
    for step in range(STEPS):
        for group in o.param_groups:
            group["lr"] = 0.05 / (step + 1)
        p.grad = gradient(step)
        o.step()
        after.append([float(f"{v:.9g}") for v in p.tolist()])
    return dict(Optimizer=dict(Name=name, LR=0.05, **ours), After=after)


def schedule(make, total, **ours):
    """The rate of every step, as a factor on the optimiser's."""
    o = torch.optim.SGD([parameter()], lr=1.0)
    s = make(o, total)
    rates = []
    for _ in range(total):
        rates.append(float(f"{o.param_groups[0]['lr']:.9g}"))
        o.step()
        s.step()
    return dict(Schedule=ours, Factors=rates)


def one_cycle(warmup):
    return lambda o, total: lrs.OneCycleLR(o, max_lr=1.0, total_steps=total, pct_start=warmup)


def warm(rise, then):
    """A linear rise to 1 over a number of steps, then another schedule."""
    return lambda o, total: lrs.SequentialLR(
        o, [lrs.LinearLR(o, 1 / rise, 1, rise - 1), then(o, total - rise)], [rise])


def cosine(o, total):
    return lrs.CosineAnnealingLR(o, total)


def constant(o, total):
    return lrs.ConstantLR(o, 1.0, total)


sgd, adam, adamw = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
json.dump(
    dict(
        Start=parameter().tolist(),
        Gradients=[gradient(s).tolist() for s in range(STEPS)],
        Optimizers=[
            optimizer("sgd", lambda p: sgd(p, 1)),
            optimizer("sgd", lambda p: sgd(p, 1, weight_decay=0.1), WeightDecay=0.1),
            optimizer("sgd", lambda p: sgd(p, 1, momentum=0.9), Momentum=0.9),
            optimizer("sgd", lambda p: sgd(p, 1, momentum=0.8, weight_decay=0.1), Momentum=0.8, WeightDecay=0.1),
            optimizer("sgd", lambda p: sgd(p, 1, momentum=0.9, weight_decay=0.01, nesterov=True), Momentum=0.9, WeightDecay=0.01, Nesterov=True),
            optimizer("adam", lambda p: adam(p)),
            optimizer("adam", lambda p: adam(p, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1), Beta1=0.8, Beta2=0.95, Eps=1e-3, WeightDecay=0.1),
            optimizer("adamw", lambda p: adamw(p, weight_decay=0), WeightDecay=0),
            optimizer("adamw", lambda p: adamw(p, weight_decay=0.1), WeightDecay=0.1),
        ],
        Schedules=[
            schedule(constant, 5),
            schedule(warm(4, constant), 8, Kind="constant", Warmup=0.5),
            schedule(lambda o, _: lrs.StepLR(o, 3, 0.5), 11, Kind="step", Every=3, Gamma=0.5),
            schedule(cosine, 9, Kind="cosine"),
            schedule(warm(3, cosine), 12, Kind="cosine", Warmup=0.25),
            schedule(one_cycle(0.3), 20, Kind="one-cycle", Warmup=0.3),
            schedule(one_cycle(0.15), 33, Kind="one-cycle", Warmup=0.15),
            schedule(one_cycle(0.0), 7, Kind="one-cycle"),
            schedule(one_cycle(0.02), 7, Kind="one-cycle", Warmup=0.02),
            schedule(one_cycle(0.3), 1, Kind="one-cycle", Warmup=0.3),
        ],
    ),
    sys.stdout,
)
