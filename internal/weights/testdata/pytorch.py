"""Writes the PyTorch files of the tests with torch.save.

    python pytorch.py .        (written by PyTorch 2.15.0)

state.pth holds a tensor of every type, views, and a parameter; the others hold one
linear layer each, wrapped in ways that are met with.
"""
import os
import pathlib
import sys
from collections import OrderedDict

import torch

folder = pathlib.Path(sys.argv[1])


def save(name, value, **how):
    with folder.joinpath(name).open("wb") as f:  # an open file, so that its name is not in it
        torch.save(value, f, **how)


class Code:
    """What a hostile file holds: a call of os.system."""

    def __reduce__(self):
        return os.system, ("true",)


numbers = torch.arange(24, dtype=torch.float32)
save("state.pth", OrderedDict({
    "f32": torch.tensor([[1, -2, 0.1], [1e-45, torch.inf, -0.0]]),
    "f64": torch.tensor([0.1], dtype=torch.float64),
    "f16": torch.tensor([1, -65504, 6e-8, 0.1], dtype=torch.float16),
    "bf16": torch.tensor([1, -3, torch.inf], dtype=torch.bfloat16),
    "i64": torch.tensor(-7),
    "i32": torch.tensor([-70000], dtype=torch.int32),
    "i16": torch.tensor([-300], dtype=torch.int16),
    "i8": torch.tensor([-128, 127], dtype=torch.int8),
    "u8": torch.tensor([0, 127, 255], dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "empty": torch.zeros(0, 4),
    "parameter": torch.nn.Parameter(torch.tensor([42.0])),
    "whole": numbers.view(2, 3, 4),
    "transposed": numbers.view(2, 3, 4).permute(2, 0, 1),
    "channels last": torch.arange(12.0).view(1, 3, 2, 2).contiguous(memory_format=torch.channels_last),
    "slice": numbers[4:8],
    "every fifth": numbers[3::5],
    "repeated": numbers[22:].expand(3, 2),
}))

torch.manual_seed(1)
layer = torch.nn.Linear(3, 2)
with torch.no_grad():
    layer.weight.copy_(torch.arange(6.0).view(2, 3))
    layer.bias.copy_(torch.tensor([-1.0, 1.0]))
optimizer = torch.optim.Adam(layer.parameters())
layer(torch.ones(1, 3)).sum().backward()
optimizer.step()
with torch.no_grad():
    layer.weight.copy_(torch.arange(6.0).view(2, 3))
    layer.bias.copy_(torch.tensor([-1.0, 1.0]))
save("plain.pth", layer.state_dict())
save("checkpoint.pth", {
    "epoch": 3, "best": None, "step": 2**70, "loss": 0.25, "history": [1.0, 2.0], "resumed": False,
    "model_state_dict": layer.state_dict(), "optimizer": optimizer.state_dict(),
})
save("parallel.pth", {"state_dict": torch.nn.DataParallel(layer).state_dict()})
save("protocol4.pth", {"model": layer.state_dict()}, pickle_protocol=4)
save("legacy.pth", layer.state_dict(), _use_new_zipfile_serialization=False)
save("module.pth", layer)
save("code.pth", {"weight": layer.weight, "bias": Code()})
save("complex.pth", {"weight": torch.zeros(1, dtype=torch.complex64)})
