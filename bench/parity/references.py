"""The networks in PyTorch, with their losses, and values to run them on."""
import importlib.util
import pathlib

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock

ROOT = pathlib.Path(__file__).resolve().parents[2]


def module(path):
    """Another folder's Python."""
    spec = importlib.util.spec_from_file_location(path.replace("/", "."), ROOT / path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def generator(package):
    """The module that writes the goldens of a package."""
    return module(f"{package}/testdata/gen.py")


backbone = generator("internal/backbone")
torch.set_default_dtype(torch.float32)  # goldens are of float64

CLASSIFIERS = ["resnet-small", "custom", "resnet18", "resnet50", "densenet121", "inception-v3", "xception"]
PREDICTORS = ["unet", "unet-resnet18", "unet-resnet50", "unet-densenet121", "unetplusplus-resnet50"]
CLASSES, ALPHA = 3, 0.5


def build(name):
    """A network by its name in configurations, without dropout."""
    if name == "resnet-small":
        return backbone.ResNet(BasicBlock, (5, 2, 24, 2), [32, 64, 128], [1, 2, 1], [1, 1, 1], CLASSES)
    if name == "custom":
        return backbone.ResNet(BasicBlock, (3, 2, 16, 0), [32, 32], [2, 1], [1, 1], CLASSES)
    if name == "unet":
        return backbone.UNet([16, 32, 64, 96], 5, 2)
    return backbone.published(name)


def initial(name, size, seed, shift=(-0.5, 0.5)):
    """A network as it may be in the midst of training: weights as PyTorch begins with,
    batch norms that scale and shift, and statistics of images."""
    torch.manual_seed(seed)
    net = build(name).float()
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for m in norms:
        nn.init.uniform_(m.weight, 0.5, 1.5)
        nn.init.uniform_(m.bias, *shift)
        m.momentum = None  # the mean of all batches
    with torch.no_grad():
        net.train()(torch.randn(8, 3, size, size))
    return parameters(net)


def parameters(net):
    """The values that a file of ours holds."""
    return {name: t.clone() for name, t in net.state_dict().items() if not name.endswith("num_batches_tracked")}


def loaded(name, values, dtype):
    """A network of given values. load_state_dict is strict."""
    net = build(name).to(dtype)
    net.load_state_dict({k: v.to(dtype) for k, v in values.items()})
    return net


def batches(name, size, count, grid, seed):
    """Images with labels and maps, some of which do not count."""
    g = torch.Generator().manual_seed(seed)
    batch = {"image": torch.randn(count, 3, size, size, generator=g), "map": torch.rand(count, 1, grid, grid, generator=g)}
    mapped = torch.arange(count) % 4 != 2
    if name in PREDICTORS:
        return batch | {"map_weight": torch.ones(count)}
    label = torch.randint(CLASSES, (count,), generator=g).float()
    return batch | {"label": label, "ce_weight": torch.where(mapped, ALPHA, 1.0), "map_weight": mapped * (1 - ALPHA)}


def grid(name, size):
    """The side of a network's maps."""
    if name in PREDICTORS:
        return size
    net = build(name).float()
    held = backbone.features(net)
    net(torch.zeros(2, 3, size, size))
    return held["y"].shape[-1]


class Reference:
    """A network on a device that computes its outputs and its loss on a batch, the network
    perhaps under autocast."""

    def __init__(self, name, values, dtype, map_loss, device="cpu", autocast=False):
        self.net, self.dtype, self.map_loss = loaded(name, values, dtype).to(device), dtype, map_loss
        self.device, self.autocast = device, torch.autocast(device, torch.bfloat16, enabled=autocast)
        self.held = backbone.features(self.net)
        self.head = [m for m in self.net.modules() if isinstance(m, nn.Linear)]

    def __call__(self, batch):
        batch = {k: v.to(self.device, self.dtype) for k, v in batch.items()}
        with self.autocast:
            out = {"logits": self.net(batch["image"])}
        distance = {"mse": F.mse_loss, "bce": F.binary_cross_entropy}[self.map_loss]
        if self.head:
            label = batch["label"].long()
            out |= {"features": self.held["y"], "cam": self.cam(label)}
            terms = batch["ce_weight"] * F.cross_entropy(out["logits"].to(self.dtype), label, reduction="none")
            found = out["cam"]
        else:
            terms = 0
            found = out["map"] = out["logits"].to(self.dtype).sigmoid()
        terms = terms + batch["map_weight"] * distance(found, batch["map"], reduction="none").mean((1, 2, 3))
        return out | {"loss": terms.mean()}

    def cam(self, label):
        """Class activation maps, each scaled to [0, 1]."""
        raw = torch.einsum("nchw,nc->nhw", self.held["y"].to(self.dtype), self.head[-1].weight[label])
        low, high = raw.amin((1, 2), keepdim=True), raw.amax((1, 2), keepdim=True)
        return ((raw - low) / (high - low)).unsqueeze(1)
