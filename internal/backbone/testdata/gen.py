"""Writes what the networks' references compute, and the names of their parameters.

    python gen.py .        (written by PyTorch 2.15.0, torchvision 0.29.2, timm 1.0.31
                            and segmentation_models_pytorch 0.6.0, float64)

networks.json holds results of evaluation and of one training step: of a tensor of
more than 16 values its norm and its product with a fixed vector, and of the
published networks every 16th gradient and statistic. "CAM of" a network are those of
CYBORG's loss, whose class activation map is of the features that its published code
takes (github.com/CVRL/CYBORG, training_code/train_cam.py). training.json holds the
losses of 20 steps. The text files list the
parameters and buffers of the published networks. Values are drawn by a hash, which
the test draws again.
"""
import functools
import importlib
import json
import math
import pathlib
import sys

import numpy
import timm
import torch
import torch.nn.functional as F
import torchvision
from timm.models.xception import Block, SeparableConv2d, Xception as TimmXception
from torch import nn
from torchvision.models import inception

torch.set_default_dtype(torch.float64)
MASK = 0xFFFFFFFF


def mix(x):
    """The finaliser of MurmurHash3 (Appleby) of an array."""
    x ^= x >> 16
    x *= numpy.uint32(0x85EBCA6B)
    x ^= x >> 13
    x *= numpy.uint32(0xC2B2AE35)
    return x ^ x >> 16


def draw(name, shape, low, high):
    """Values in [low, high) that depend on name and index alone."""
    seed = 0x811C9DC5
    for b in name.encode():
        seed = (seed ^ b) * 0x01000193 & MASK  # FNV-1a
    hashes = mix(numpy.arange(math.prod(shape), dtype=numpy.uint32) + numpy.uint32(seed))
    values = low + (high - low) * hashes.astype(numpy.float64) / 2**32
    return torch.from_numpy(values).float().double().reshape(shape)


def fill(net):
    for name, p in net.state_dict().items():
        if p.dim() > 1:
            bound = 2 / math.sqrt(p[0].numel())
            p.copy_(draw(name, p.shape, -bound, bound))
        elif name.endswith(("weight", "running_var")):
            p.copy_(draw(name, p.shape, 0.5, 1.5))
        elif name.endswith("bias"):  # few values close to where a ReLU begins
            p.copy_(draw(name, p.shape, 0.25, 1.5))
        elif p.dim() == 1:
            p.copy_(draw(name, p.shape, -0.5, 0.5))
    return net


def double_conv(channels, width, kernel=3, stride=1):
    def layer(c, k, s):
        return [nn.Conv2d(c, width, k, s, k // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layer(channels, kernel, stride), *layer(width, 3, 1))


class UNet(nn.Module):
    def __init__(self, widths, stem_kernel, stem_stride):
        super().__init__()
        self.stride = stem_stride
        self.down = nn.ModuleList([double_conv(3, widths[0], stem_kernel, stem_stride)])
        self.down.extend(double_conv(a, b) for a, b in zip(widths, widths[1:]))
        self.up = nn.ModuleList(double_conv(a + b, a) for a, b in reversed(list(zip(widths, widths[1:]))))
        self.head = nn.Conv2d(widths[0], 1, 1)

    def enlarge(self, x, scale):
        return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)

    def forward(self, x):
        x = self.down[0](x)
        skips = []
        for layer in self.down[1:]:
            skips.append(x)
            x = layer(F.max_pool2d(x, 2))
        for layer in self.up:
            x = layer(torch.cat([skips.pop(), self.enlarge(x, 2)], 1))
        x = self.head(x)
        return self.enlarge(x, self.stride) if self.stride > 1 else x


class ResNet(nn.Module):
    """torchvision's blocks behind a stem of another size."""

    def __init__(self, block, stem, widths, strides, blocks, classes=3):
        super().__init__()
        kernel, stride, width, self.pool = stem
        self.conv1 = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layers = len(widths)
        for i, (w, s, n) in enumerate(zip(widths, strides, blocks)):
            stage, out = [], w * block.expansion
            for b in range(n):
                s = s if b == 0 else 1
                adapt = None
                if s != 1 or out != width:
                    adapt = nn.Sequential(nn.Conv2d(width, out, 1, s, bias=False), nn.BatchNorm2d(out))
                stage.append(block(width, w, s, adapt))
                width = out
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
        if classes:
            self.fc = nn.Linear(width, classes)

    def levels(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        levels = [x]
        if self.pool == 2:
            x = F.max_pool2d(x, 2)
        if self.pool == 3:
            x = F.max_pool2d(x, 3, 2, 1)
        for i in range(self.layers):
            x = getattr(self, f"layer{i + 1}")(x)
            levels.append(x)
        return levels

    def forward(self, x):
        return self.fc(self.levels(x)[-1].mean((2, 3)))


def smp(part=""):
    """segmentation_models_pytorch, which not every network wants."""
    return importlib.import_module("segmentation_models_pytorch" + part)


class EncoderDecoder(nn.Module):
    """segmentation_models_pytorch's decoders behind an encoder of another size."""

    def __init__(self, encoder, levels, channels, decoder, widths):
        super().__init__()
        self.encoder, self.levels = encoder, levels
        self.decoder = decoder([3] + channels, widths, len(widths))
        self.segmentation_head = smp(".base").SegmentationHead(widths[-1], 1)

    def forward(self, x):
        return self.segmentation_head(self.decoder([x] + self.levels(self.encoder, x)))


def behind_resnet(decoder):
    encoder = ResNet(torchvision.models.resnet.Bottleneck, (7, 2, 8, 3), [4, 6], [1, 2], [1, 2], 0)
    return EncoderDecoder(encoder, ResNet.levels, [8, 16, 24], decoder, [12, 9, 6])


def behind_densenet(decoder):
    channels = [10, 26, 21, 26, 21]
    encoder = smp(".encoders.densenet").DenseNetEncoder([3] + channels, num_init_features=10, growth_rate=8, block_config=(2, 1, 2, 1))
    return EncoderDecoder(encoder, lambda e, x: e(x)[1:], channels, decoder, [20, 17, 12, 9, 6])


class Xception(TimmXception):
    """timm's blocks in other numbers and widths."""

    def __init__(self, stem, entry, middle, exit):
        nn.Module.__init__(self)
        self.conv1, self.bn1 = nn.Conv2d(3, stem[0], 3, 2, 0, bias=False), nn.BatchNorm2d(stem[0])
        self.conv2, self.bn2 = nn.Conv2d(stem[0], stem[1], 3, bias=False), nn.BatchNorm2d(stem[1])
        widths = [stem[1], *entry]
        blocks = [Block(a, b, 2, 2, start_with_relu=i > 0) for i, (a, b) in enumerate(zip(widths, entry))]
        blocks += [Block(entry[-1], entry[-1], 3) for _ in range(middle)]
        blocks += [Block(entry[-1], exit[0], 2, 2, grow_first=False)]
        self.blocks = len(blocks)
        for i, block in enumerate(blocks):
            setattr(self, f"block{i + 1}", block)
        self.conv3, self.bn3 = SeparableConv2d(exit[0], exit[1], 3, 1, 1), nn.BatchNorm2d(exit[1])
        self.conv4, self.bn4 = SeparableConv2d(exit[1], exit[2], 3, 1, 1), nn.BatchNorm2d(exit[2])
        self.fc = nn.Linear(exit[2], 3)

    def forward_features(self, x):
        x = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        for i in range(self.blocks):
            x = getattr(self, f"block{i + 1}")(x)
        return F.relu(self.bn4(self.conv4(F.relu(self.bn3(self.conv3(x))))))

    def forward(self, x):
        return self.fc(self.forward_features(x).mean((2, 3)))


class ThinConv(inception.BasicConv2d):
    """A sixteenth of the channels."""

    def __init__(self, channels, out, **kwargs):
        super().__init__(channels if channels == 3 else channels // 16, out // 16, **kwargs)


def thin_inception():
    modules = [inception.InceptionA, inception.InceptionB, inception.InceptionC, inception.InceptionD, inception.InceptionE]
    blocks = [ThinConv] + [functools.partial(m, conv_block=ThinConv) for m in modules] + [None]
    net = torchvision.models.Inception3(3, aux_logits=False, inception_blocks=blocks, init_weights=False, dropout=0)
    net.fc = nn.Linear(128, 3)
    return net


def write(name, t):
    """A few values themselves, or the norm of many and their product with a fixed vector."""
    t = t.detach().flatten()
    if t.numel() > 16:
        t = torch.stack([t.norm(), t @ draw("probe " + name, t.shape, -1, 1)])
    return [float(f"{v:.8g}") for v in t.tolist()]


def features(net):
    """Holds what feeds the last layer's pooling whenever net runs; None for maps."""
    held = {}
    last = [m for m in net.modules() if isinstance(m, nn.Linear)]
    if not last:
        return held
    if isinstance(net, ResNet):
        part = getattr(net, f"layer{net.layers}")
    elif isinstance(net, torchvision.models.ResNet):
        part = net.layer4
    elif isinstance(net, torchvision.models.DenseNet):
        part = net.features
    elif isinstance(net, torchvision.models.Inception3):
        part = net.Mixed_7c
    else:
        part = net.bn4
    part.register_forward_hook(lambda m, x, y: held.update(y=F.relu(y)))
    return held


def case(net, height, width, loss, step=1):
    """step is that between the gradients and between the statistics that are written."""
    net = fill(net)
    held = features(net)
    x = draw("image", (2, 3, height, width), 0, 1)
    out = {"eval": write("eval", net.eval()(x))}
    if held:
        out["evalFeatures"] = write("features", held["y"])
    y = net.train()(x)
    out["train"] = write("train", y)
    if held:
        out["trainFeatures"] = write("features", held["y"])
    total = loss(y)
    total.backward()
    out["loss"] = total.item()
    out["gradients"] = {name: write(name, p.grad) for name, p in list(net.named_parameters())[::step]}
    statistics = [(name, b) for name, b in net.named_buffers() if "running" in name]
    out["statistics"] = {name: write(name, b) for name, b in statistics[::step]}
    return out


WEIGHT = torch.tensor([1.0, 0.25])
GUIDED = torch.tensor([0.5, 1.0])
LABELS = torch.tensor([2, 0])


def cross_entropy(y):
    return (F.cross_entropy(y, LABELS, reduction="none") * WEIGHT).mean()


def map_loss(y):
    target = draw("map", y.shape, 0, 1)
    return (F.binary_cross_entropy_with_logits(y, target, reduction="none").mean((1, 2, 3)) * WEIGHT).mean()


def reference(net):
    """The module whose result CYBORG's published code makes the map of."""
    if isinstance(net, ResNet):
        return getattr(net, f"layer{net.layers}")[-1].conv3
    if isinstance(net, torchvision.models.ResNet):
        return net.layer4[-1].conv3
    if isinstance(net, torchvision.models.DenseNet):
        return net.features
    if isinstance(net, torchvision.models.Inception3):
        return net.Mixed_7c
    return net.conv4


def cam(features, weight):
    """The map of each image's class, scaled to [0, 1]."""
    raw = torch.einsum("nchw,nc->nhw", features, weight[LABELS])
    low, high = (f(raw.flatten(1), 1).values[:, None, None] for f in (torch.min, torch.max))
    return (raw - low) / (high - low)


def guided_case(net, height, width, step=1):
    """case of the loss with a map, and of the map itself."""
    net = fill(net)
    held = {}
    # DenseNet's last ReLU works in place: what it is given is kept before.
    reference(net).register_forward_hook(lambda m, x, y: held.update(y=y) or y.clone())
    head = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    x = draw("image", (2, 3, height, width), 0, 1)
    net.eval()(x)
    out = {"eval": write("eval", cam(held["y"], head.weight))}
    logits = net.train()(x)
    y = cam(held["y"], head.weight)
    out["train"] = write("train", y)
    distance = F.mse_loss(y, draw("map", y.shape, 0, 1), reduction="none").mean((1, 2))
    total = cross_entropy(logits) + (distance * GUIDED).mean()
    total.backward()
    out["loss"] = total.item()
    out["gradients"] = {name: write(name, p.grad) for name, p in list(net.named_parameters())[::step]}
    return out


STEPS = 20


def guided_loss(net):
    """The CYBORG loss of the labels' class activation maps."""
    held, labels = features(net), torch.tensor([2, 0])

    def loss(y):
        raw = torch.einsum("nchw,nc->nhw", held["y"], net.fc.weight[labels])
        low, high = raw.amin((1, 2), keepdim=True), raw.amax((1, 2), keepdim=True)
        distance = F.mse_loss((raw - low) / (high - low), draw("map", raw.shape, 0, 1), reduction="none").mean((1, 2))
        return (WEIGHT * F.cross_entropy(y, labels, reduction="none") + WEIGHT.flip(0) * distance).mean()

    return loss


def training(net, height, width, loss, optimizer, schedule):
    """The loss of every step, each on images of its own, and what the network says in
    evaluation behind the last."""
    net = fill(net).train()
    optimizer = optimizer(net.parameters())
    schedule, losses = schedule(optimizer), []
    for step in range(STEPS):
        value = loss(net(draw(f"image {step}", (2, 3, height, width), 0, 1)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(f"{value:.8g}"))
    return {"losses": losses, "eval": write("eval", net.eval()(draw("image", (2, 3, height, width), 0, 1)))}


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.02, momentum=0.9, weight_decay=0.01)


def step(optimizer):
    return torch.optim.lr_scheduler.StepLR(optimizer, 8, 0.5)


def adam(parameters):
    return torch.optim.Adam(parameters, 1e-3, weight_decay=0.01)


def one_cycle(optimizer):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, STEPS, pct_start=0.3, cycle_momentum=False)


def trainings():
    """Of a classifier that maps guide and of a predictor."""
    found = {}
    for name, *recipe in (("sgd", sgd, step), ("adam", adam, one_cycle)):
        net = ResNet(torchvision.models.resnet.BasicBlock, (7, 2, 12, 3), [12, 20], [1, 2], [2, 1])
        found["guided resnet, " + name] = training(net, 24, 32, guided_loss(net), *recipe)
        found["unet, " + name] = training(UNet([16, 20, 24], 3, 1), 8, 16, map_loss, *recipe)
    return found


def published(name):
    classes = 3
    match name:
        case "inception-v3":
            return torchvision.models.inception_v3(num_classes=classes, aux_logits=False, init_weights=False, dropout=0)
        case "xception":
            return timm.create_model("legacy_xception", num_classes=classes).double()
    match name.split("-"):
        case "unet", encoder:
            return smp().Unet(encoder, encoder_weights=None)
        case "unetplusplus", encoder:
            return smp().UnetPlusPlus(encoder, encoder_weights=None)
    return getattr(torchvision.models, name)(num_classes=classes)


def main():
    folder = pathlib.Path(sys.argv[1])
    basic, bottleneck = torchvision.models.resnet.BasicBlock, torchvision.models.resnet.Bottleneck
    unet, unetplusplus = smp(".decoders.unet.decoder").UnetDecoder, smp(".decoders.unetplusplus.decoder").UnetPlusPlusDecoder
    small = {
        "resnet of bottlenecks": (lambda: ResNet(bottleneck, (7, 2, 8, 3), [8, 5], [1, 2], [2, 2]), 24, 32),
        "densenet": (lambda: torchvision.models.DenseNet(8, (2, 3, 1), 10, num_classes=3), 32, 40),
        "thin inception": (thin_inception, 107, 115),
        "thin xception": (lambda: Xception([4, 6], [8, 12, 17], 2, [20, 24, 28]), 64, 72),
    }
    nets = {
        "resnet": case(ResNet(basic, (7, 2, 12, 3), [12, 20], [1, 2], [2, 1]), 24, 32, cross_entropy),
        "resnet with another stem": case(ResNet(basic, (5, 2, 6, 2), [17], [2], [1]), 16, 24, cross_entropy),
        **{name: case(make(), h, w, cross_entropy) for name, (make, h, w) in small.items()},
        **{"CAM of " + name: guided_case(make(), h, w) for name, (make, h, w) in small.items()},
        "unet": case(UNet([16, 20, 24], 3, 1), 8, 16, map_loss),
        "unet with a strided stem": case(UNet([6, 16], 5, 2), 8, 16, map_loss),
        "unet with a residual encoder": case(behind_resnet(unet), 16, 24, map_loss),
        "unet with a dense encoder": case(behind_densenet(unet), 32, 64, map_loss),
        "unet++ with a residual encoder": case(behind_resnet(unetplusplus), 16, 24, map_loss),
    }
    for name, height, width in [
        ("resnet18", 64, 72), ("resnet50", 64, 72), ("densenet121", 64, 72), ("inception-v3", 107, 115), ("xception", 64, 72),
        ("unet-resnet18", 32, 64), ("unet-resnet50", 32, 64), ("unet-densenet121", 32, 64), ("unetplusplus-resnet50", 32, 64),
    ]:
        net = published(name)
        lines = [f"{name} {'x'.join(map(str, t.shape))}\n" for name, t in net.state_dict().items() if t.dim() > 0]
        folder.joinpath(name + ".txt").write_text("".join(lines))
        nets[name] = case(net, height, width, map_loss if name.startswith("unet") else cross_entropy, 16)
        if name in ("resnet50", "densenet121", "inception-v3", "xception"):
            nets["CAM of " + name] = guided_case(published(name), height, width, 16)
    folder.joinpath("networks.json").write_text(json.dumps(nets, separators=(",", ":")))
    folder.joinpath("training.json").write_text(json.dumps(trainings(), separators=(",", ":")))


if __name__ == "__main__":
    main()
