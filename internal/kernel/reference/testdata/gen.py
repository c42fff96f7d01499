"""Writes goldens.json: what PyTorch computes for small cases of every operator.

    python gen.py > goldens.json        (written by PyTorch 2.15.0, float64)

A case has an operator's name, its geometry, inputs, results, and gradients for
a random upstream gradient. Everything is float64 and rounded to 12 digits.
"""
import json
import sys

import torch
import torch.nn.functional as F

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)
cases = []


def flat(t):
    return [float(f"{v:.12g}") for v in t.detach().double().flatten().tolist()]


def rand(*shape, low=-1.0, high=1.0):
    return torch.rand(*shape) * (high - low) + low


def case(op, geometry, inputs, fn, grads=()):
    """Runs fn on the inputs; keeps its result, and gradients by the inputs named in grads."""
    for name in grads:
        inputs[name].requires_grad_(True)
    y = fn(**inputs)
    out = {"op": op, "geometry": geometry, "in": {k: flat(v) for k, v in inputs.items()}, "out": {"y": flat(y)}}
    if grads:
        dy = rand(*y.shape)
        y.backward(dy)
        out["in"]["dy"] = flat(dy)
        for name in grads:
            out["out"]["d" + name] = flat(inputs[name].grad)
    cases.append(out)
    return out


def conv(n, c, h, w, out, k, stride, pad, dilation, groups):
    case("conv", dict(n=n, c=c, h=h, w=w, out=out, kh=k[0], kw=k[1], sh=stride[0], sw=stride[1], ph=pad[0], pw=pad[1],
                      dh=dilation[0], dw=dilation[1], groups=groups),
         dict(x=rand(n, c, h, w), w=rand(out, c // groups, *k), b=rand(out)),
         lambda x, w, b: F.conv2d(x, w, b, stride, pad, dilation, groups), ("x", "w", "b"))


conv(2, 3, 5, 6, 4, (3, 3), (1, 1), (1, 1), (1, 1), 1)
conv(1, 4, 6, 7, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2)
conv(1, 3, 5, 5, 3, (3, 3), (2, 2), (2, 2), (2, 2), 3)

case("linear", dict(n=3, i=4, out=2), dict(x=rand(3, 4), w=rand(2, 4), b=rand(2)), lambda x, w, b: F.linear(x, w, b), ("x", "w", "b"))


def batch_norm(training):
    running = dict(rm=rand(3), rv=rand(3, low=0.5, high=1.5))
    rm, rv = running["rm"].clone(), running["rv"].clone()
    got = case("batchnorm", dict(n=2, c=3, h=2, w=3, training=int(training), eps=0.0009765625, momentum=0.125),
               dict(x=rand(2, 3, 2, 3), g=rand(3), b=rand(3), r=rand(2, 3, 2, 3)),
               lambda x, g, b, r: F.relu(F.batch_norm(x, rm, rv, g, b, training, 0.125, 0.0009765625) + r),
               ("x", "g", "b", "r"))
    got["in"].update({k: flat(v) for k, v in running.items()})
    got["out"].update(rm=flat(rm), rv=flat(rv))


batch_norm(True)
batch_norm(False)

x = rand(2, 3, 2, 2)
x[0, 0, 0, 0] = 0
case("relu", dict(), dict(x=x), lambda x: F.relu(x), ("x",))
case("sigmoid", dict(), dict(x=rand(7, low=-9, high=9)), lambda x: torch.sigmoid(x), ("x",))


def pool(op, n, c, h, w, k, stride, pad, count_pad=False):
    x = torch.randint(-3, 4, (n, c, h, w)).double()  # many ties: the first maximum takes the gradient
    if op == "maxpool":
        fn = lambda x: F.max_pool2d(x, k, stride, pad)
    else:
        fn = lambda x: F.avg_pool2d(x, k, stride, pad, count_include_pad=count_pad)
    case(op, dict(n=n, c=c, h=h, w=w, k=k, s=stride, p=pad, countpad=int(count_pad)), dict(x=x), fn, ("x",))


for op in "maxpool", "avgpool":
    pool(op, 2, 2, 6, 7, 2, 2, 0)
    pool(op, 1, 2, 7, 5, 3, 2, 1)
    pool(op, 1, 1, 5, 5, 3, 1, 1)
pool("avgpool", 1, 2, 7, 5, 3, 2, 1, True)

case("globalavgpool", dict(n=2, c=3, h=2, w=3), dict(x=rand(2, 3, 2, 3)), lambda x: x.mean((2, 3)), ("x",))

for mode, scale, h, w in (("nearest", 2, 2, 3), ("nearest", 3, 1, 2), ("bilinear", 2, 3, 4), ("bilinear", 3, 2, 2),
                          ("bilinear", 2, 1, 1), ("bilinear", 4, 3, 2)):
    args = dict(align_corners=False) if mode == "bilinear" else {}
    case("upsample", dict(n=1, c=2, h=h, w=w, scale=scale, bilinear=int(mode == "bilinear")), dict(x=rand(1, 2, h, w)),
         lambda x: F.interpolate(x, scale_factor=scale, mode=mode, **args), ("x",))

case("argmax", dict(n=3, classes=4), dict(x=torch.tensor([[0, 2, 2, 1], [3, -1, 0, 3], [-5, -4, -3, -2.0]])),
     lambda x: x.argmax(1))
case("crossentropy", dict(n=3, classes=4), dict(x=rand(3, 4, low=-30, high=30), labels=torch.tensor([2.0, 0, 3])),
     lambda x, labels: F.cross_entropy(x, labels.long(), reduction="none"), ("x",))


def cam(f, w, k):
    raw = torch.einsum("nchw,nc->nhw", f, w[k.long()])
    flat_raw = raw.flatten(1)
    low, high = flat_raw.min(1).values[:, None, None], flat_raw.max(1).values[:, None, None]
    return ((raw - low) / (high - low))[:, None]


case("cam", dict(n=3, c=4, h=3, w=2, classes=2), dict(f=rand(3, 4, 3, 2), w=rand(2, 4), k=torch.tensor([1.0, 0, 1])),
     cam, ("f", "w"))


def map_loss(kind, logits, p, t):
    """The distances of op.MapLoss, by PyTorch's losses where it has them."""
    if kind == "bce" and logits:
        return F.binary_cross_entropy_with_logits(p, t, reduction="none").mean((1, 2))
    if logits:
        p = torch.sigmoid(p)
    if kind == "bce":
        return F.binary_cross_entropy(p, t, reduction="none").mean((1, 2))
    if kind == "mse":
        return F.mse_loss(p, t, reduction="none").mean((1, 2))
    if kind == "kl":
        eps = 2.2204e-16
        p, t = p / p.sum((1, 2), keepdim=True), t / t.sum((1, 2), keepdim=True)
        return (t * torch.log(eps + t / (p + eps))).sum((1, 2))
    p, t = p - p.mean((1, 2), keepdim=True), t - t.mean((1, 2), keepdim=True)
    return 1 - F.cosine_similarity(p.flatten(1), t.flatten(1), eps=0)


for kind in "mse", "bce", "kl", "cc":
    for logits in False, True:
        p = rand(2, 3, 4, low=-4, high=4) if logits else rand(2, 3, 4, low=0.01, high=0.99)
        t = rand(2, 3, 4, low=0, high=1)
        t[0, 0, :2] = torch.tensor([0.0, 1.0])
        case("maploss", dict(n=2, h=3, w=4, kind=kind, logits=int(logits)), dict(p=p, t=t),
             lambda p, t: map_loss(kind, logits, p, t), ("p",))


def optimiser(name, make, hyper):
    """Parameters after each of 20 steps under given gradients."""
    p = torch.nn.Parameter(rand(5))
    start, opt, grads, after = flat(p), make([p]), [], []
    for _ in range(20):
        p.grad = rand(5)
        grads += flat(p.grad)
        opt.step()
        after += flat(p)
    cases.append({"op": name, "geometry": hyper, "in": {"p": start, "g": grads}, "out": {"y": after}})


for hyper in (dict(lr=0.05), dict(lr=0.05, momentum=0.9, weight_decay=0.01),
              dict(lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True)):
    optimiser("sgd", lambda p: torch.optim.SGD(p, **hyper), {k: float(v) for k, v in hyper.items()})
for name, cls in ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW):
    for hyper in (dict(lr=0.01, weight_decay=0.0), dict(lr=0.01, weight_decay=0.1)):
        optimiser(name, lambda p: cls(p, betas=(0.9, 0.99), eps=1e-8, **hyper), hyper)

for classes in 2, 3:
    case("contrast", dict(classes=classes, n=4), dict(w=rand(classes, 4)),
         lambda w: torch.stack([w[k] - torch.cat([w[:k], w[k + 1:]]).mean(0) for k in range(len(w))]), ("w",))


def entropy(p):
    """Of maps scaled to sum 1, by torch.distributions."""
    return torch.distributions.Categorical(probs=p.flatten(1)).entropy()


case("entropy", dict(n=3, c=1, h=2, w=4), dict(p=rand(3, 1, 2, 4, low=0.01, high=1)), entropy, ("p",))


def adaptive(ce, s, weight):
    """CYBORG's loss with the alpha of VISER, a constant to the gradient; weight 0 has no map."""
    a, b = (weight * ce).sum(), (weight * s).sum()
    alpha = (a / (a + b)).detach()
    return (alpha * ce + (1 - alpha) * weight * s).mean()[None]


for weight in [1.0, 1, 1, 1], [0.0, 2, 2, 0], [0.0, 0, 4, 0]:
    case("adaptive", dict(n=4), dict(ce=rand(4, low=0.1, high=2), s=rand(4, low=0.1, high=0.5), weight=torch.tensor(weight)),
         adaptive, ("ce", "s"))

json.dump(cases, sys.stdout, separators=(",", ":"))
print()
