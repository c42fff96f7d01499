"""Writes resnet.pth, a small network's checkpoint; logits.json, what it computes; and
losses.json: the loss of every variant for a batch in training, and of the gradient by
each parameter its norm and its product with cos(0), cos(1), ...

    python gen.py .        (written by PyTorch 2.15.0 and torchvision 0.29.2)

The network is the tests' tiny configuration, of torchvision's blocks; the checkpoint
is one of training on several devices. The image's values are i % 7 / 7 - 0.5.
"""
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4)
        adapt = nn.Sequential(nn.Conv2d(4, 6, 1, 2, bias=False), nn.BatchNorm2d(6))
        self.layer1 = nn.Sequential(BasicBlock(4, 6, 2, adapt))
        self.fc = nn.Linear(6, 2)

    def features(self, x):
        return self.layer1(F.relu(self.bn1(self.conv1(x))))

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


def cam(features, weight, k):
    """The map of a class for each image, scaled to [0, 1]."""
    raw = torch.einsum("nchw,nc->nhw", features, weight[k]).flatten(1)
    low, high = raw.min(1, keepdim=True).values, raw.max(1, keepdim=True).values
    scaled = (raw - low) / (high - low)
    # The extremes are constants: what pulls at them cancels, but not to the last digit.
    return torch.where((raw == low) | (raw == high), scaled.detach(), scaled)


def distance(kind, p, t):
    match kind:
        case "mse":
            return F.mse_loss(p, t, reduction="none").mean(1)
        case "bce":
            return F.binary_cross_entropy(p, t, reduction="none").mean(1)
        case "kl":
            eps = 2.2204e-16
            p, t = p / p.sum(1, keepdim=True), t / t.sum(1, keepdim=True)
            return (t * torch.log(eps + t / (p + eps))).sum(1)
    p, t = p - p.mean(1, keepdim=True), t - t.mean(1, keepdim=True)
    return 1 - F.cosine_similarity(p, t, eps=0)


def loss(net, cam_class="true", cam_features="pool_input", alpha_schedule="fixed", guidance="mse", entropy=0.0):
    alpha, labels, mapped = 0.3, torch.tensor([0, 1, 1, 0]), torch.tensor([True, True, False, True])
    guided = mapped.double() * len(mapped) / mapped.sum()
    x = (torch.arange(4 * 3 * 20 * 20) * 7919 % 1009 / 1009 - 0.5).view(4, 3, 20, 20).double()
    target = (torch.arange(4 * 25) * 31 % 13 / 12).view(4, 25).double()
    held = {}
    hook = net.layer1[-1].conv2.register_forward_hook(lambda m, i, y: held.update(y=y))
    features = net.train().features(x)
    hook.remove()
    logits = net.fc(features.mean((2, 3)))
    ce = F.cross_entropy(logits, labels, reduction="none")
    k = logits.argmax(1) if cam_class == "predicted" else labels
    weight = net.fc.weight - net.fc.weight.flip(0) if cam_class == "difference" else net.fc.weight
    p = cam(held["y"] if cam_features == "reference" else features, weight, k)
    s = distance(guidance, p, target)
    if alpha_schedule == "adaptive":
        alpha = (ce[mapped].sum() / (ce[mapped].sum() + s[mapped].sum())).detach()
    q = p / p.sum(1, keepdim=True)
    spread = -(q * torch.where(q > 0, q, 1).log()).sum(1)
    return (alpha * ce + (1 - alpha) * guided * s + entropy * spread).mean()


def losses(net, **config):
    net.zero_grad()
    total = loss(net, **config)
    total.backward()
    told = lambda g: [g.norm().item(), (g.flatten() @ torch.arange(g.numel()).double().cos()).item()]
    return {"config": config, "loss": total.item(), "gradients": {name: told(p.grad) for name, p in net.named_parameters()}}


folder = pathlib.Path(sys.argv[1])
torch.manual_seed(1)
net = ResNet()
net.train()(torch.randn(8, 3, 20, 20))  # moves the statistics of the batch norms
with folder.joinpath("resnet.pth").open("wb") as f:
    torch.save({"epoch": 1, "state_dict": nn.DataParallel(net).state_dict()}, f)
image = (torch.arange(3 * 20 * 20) % 7 / 7 - 0.5).view(1, 3, 20, 20)
folder.joinpath("logits.json").write_text(json.dumps(net.double().eval()(image.double())[0].tolist()) + "\n")
variants = [
    losses(net), losses(net, cam_class="predicted"), losses(net, cam_class="difference"), losses(net, cam_features="reference"),
    losses(net, alpha_schedule="adaptive"), losses(net, entropy=0.2),
    losses(net, guidance="bce"), losses(net, guidance="kl"), losses(net, guidance="cc"),
    losses(net, cam_class="difference", cam_features="reference", alpha_schedule="adaptive", guidance="cc", entropy=0.2),
]
folder.joinpath("losses.json").write_text(json.dumps(variants, indent=1) + "\n")
