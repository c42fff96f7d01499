"""Writes resnet.pth, a small network's checkpoint, and logits.json, what it computes.

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

    def forward(self, x):
        x = self.layer1(F.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


folder = pathlib.Path(sys.argv[1])
torch.manual_seed(1)
net = ResNet()
net.train()(torch.randn(8, 3, 20, 20))  # moves the statistics of the batch norms
with folder.joinpath("resnet.pth").open("wb") as f:
    torch.save({"epoch": 1, "state_dict": nn.DataParallel(net).state_dict()}, f)
image = (torch.arange(3 * 20 * 20) % 7 / 7 - 0.5).view(1, 3, 20, 20)
folder.joinpath("logits.json").write_text(json.dumps(net.double().eval()(image.double())[0].tolist()) + "\n")
