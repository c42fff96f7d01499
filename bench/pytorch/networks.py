"""The networks of networks.go in PyTorch, under the same names, with their losses."""
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

CLASSES, ALPHA = 1000, 0.5


def double_conv(channels, width):
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
        nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True))


class UNet(nn.Module):
    """The U-Net of internal/backbone."""

    def __init__(self, *widths):
        super().__init__()
        self.down = nn.ModuleList(double_conv(i, o) for i, o in zip((3, *widths), widths))
        self.up = nn.ModuleList(double_conv(a + b, a) for a, b in zip(widths[-2::-1], widths[:0:-1]))
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x):
        skips = []
        for i, down in enumerate(self.down):
            x = down(x if i == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = up(torch.cat([skips.pop(), x], 1))
        return self.head(x)


class ResNetUNet(nn.Module):
    """segmentation_models_pytorch's Unet around torchvision's ResNet-50."""

    def __init__(self):
        super().__init__()
        net = torchvision.models.resnet50()
        self.levels = nn.ModuleList([
            nn.Sequential(net.conv1, net.bn1, net.relu), nn.Sequential(net.maxpool, net.layer1), net.layer2, net.layer3, net.layer4])
        self.up = nn.ModuleList(double_conv(*c) for c in ((2048 + 1024, 256), (256 + 512, 128), (128 + 256, 64), (64 + 64, 32), (32, 16)))
        self.head = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x):
        skips = []
        for level in self.levels:
            x = level(x)
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = up(torch.cat([x, skips.pop()], 1) if skips else x)
        return self.head(x)


class Guided(nn.Module):
    """A classifier that in training also returns the class activation maps of the labels."""

    def __init__(self, net, features, head):
        super().__init__()
        self.net, self.features, self.head = net, features(net), head(net)
        self.dropout = getattr(net, "dropout", nn.Identity())

    def forward(self, x, labels):
        f = self.features(x)
        logits = self.head(self.dropout(f.mean((2, 3))))
        if not self.training:
            return logits
        raw = torch.einsum("nchw,nc->nhw", f, self.head.weight[labels])
        low, high = raw.amin((1, 2), keepdim=True), raw.amax((1, 2), keepdim=True)
        return logits, (raw - low) / (high - low)


def without(last):
    """What is before a network's last children."""
    return lambda net: nn.Sequential(*list(net.children())[:-last])


# What builds a network, the side of its images, and for a classifier what feeds the
# global average pool and the layer behind it.
NETWORKS = {
    "unet64": (lambda: UNet(16, 32, 64), 64),
    "unet128": (lambda: UNet(32, 64, 128, 256), 128),
    "unet256": (lambda: UNet(32, 64, 128, 256), 256),
    "unet-resnet50": (ResNetUNet, 256),
    "resnet18": (torchvision.models.resnet18, 224, without(2), lambda m: m.fc),
    "resnet50": (torchvision.models.resnet50, 224, without(2), lambda m: m.fc),
    "densenet121": (torchvision.models.densenet121, 224, lambda m: nn.Sequential(m.features, nn.ReLU()), lambda m: m.classifier),
    "inception_v3": (lambda: torchvision.models.inception_v3(aux_logits=False, init_weights=False), 299, without(3), lambda m: m.fc),
    "xception": (lambda: timm.create_model("legacy_xception"), 299, lambda m: m.forward_features, lambda m: m.fc),
}


class Case:
    """A network, or one that a map guides, NAME+cyborg, on a batch of random images."""

    def __init__(self, name, batch, size=0, device="cpu", layout=torch.contiguous_format):
        """size is the side of the images; 0 is the network's own."""
        name, _, self.guided = name.partition("+")
        make, own, *parts = NETWORKS[name]
        self.maps = name.startswith("unet")
        net = make()
        self.net = (Guided(net, *parts) if self.guided else net).to(device, memory_format=layout)
        self.run = self.net
        self.images = torch.randn(batch, 3, size or own, size or own, device=device).to(memory_format=layout)
        self.labels = torch.randint(0, CLASSES, (batch,), device=device)
        if self.maps:
            self.targets = torch.rand(batch, 1, *self.images.shape[2:], device=device)
        elif self.guided:
            with torch.no_grad():
                _, cams = self.net(self.images[:2], self.labels[:2])
            self.targets = torch.rand(batch, *cams.shape[1:], device=device)

    def inputs(self):
        return (self.images, self.labels) if self.guided else (self.images,)

    def compile(self, **how):
        self.run = torch.compile(self.net, **how)

    def parameters(self):
        return sum(p.numel() for p in self.net.parameters())

    def infer(self):
        return self.run(*self.inputs())

    def loss(self):
        out = self.infer()
        if self.guided:
            logits, cam = out
            return ALPHA * F.cross_entropy(logits.float(), self.labels) + (1 - ALPHA) * F.mse_loss(cam.float(), self.targets)
        if self.maps:
            return F.mse_loss(out.float().sigmoid(), self.targets)
        return F.cross_entropy(out.float(), self.labels)
