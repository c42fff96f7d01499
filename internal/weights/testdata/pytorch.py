"""Writes the PyTorch files of the tests with torch.save.

    python pytorch.py .        (written by PyTorch 2.15.0)

state.pth holds a tensor of every type, views, and a parameter; the others hold one
linear layer each, wrapped in ways that are met with. Names with "legacy" are of the
form of before PyTorch 1.6, in which the names of storages are addresses: other bytes
every time. legacy_views.pth is as PyTorch before 0.4 wrote it, when storages could be
parts of others; torch.load agrees with what it is to hold.
"""
import io
import os
import pathlib
import pickle
import struct
import sys
from collections import OrderedDict

import torch

folder = pathlib.Path(sys.argv[1])


def save(name, value, **how):
    with folder.joinpath(name).open("wb") as f:  # an open file, so that its name is not in it
        torch.save(value, f, **how)


class Old:
    """A tensor as PyTorch before 0.4 pickled it, of elements start to start + length of
    the numbers from 0 to 11."""

    def __init__(self, start, length, *view):
        self.storage, self.view = Part(start, length), view

    def __reduce__(self):
        return torch._utils._rebuild_tensor, (self.storage, *self.view)


class Part:
    def __init__(self, start, length):
        self.view = None if length == 12 else (f"part {start}", start, length)


class OldPickler(pickle.Pickler):
    def persistent_id(self, obj):
        if isinstance(obj, Part):
            return "storage", torch.FloatStorage, "numbers", "cpu", 12, obj.view
        return None


def save_old(name, value):
    f = io.BytesIO()
    for preamble in torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {"little_endian": True}:
        pickle.dump(preamble, f, protocol=2)
    OldPickler(f, protocol=2).dump(value)
    pickle.dump(["numbers"], f, protocol=2)
    f.write(struct.pack("<q12f", 12, *range(12)))
    folder.joinpath(name).write_bytes(f.getvalue())


class Code:
    """What a hostile file holds: a call of os.system."""

    def __reduce__(self):
        return os.system, ("true",)


numbers = torch.arange(24, dtype=torch.float32)
state = OrderedDict({
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
})
save("state.pth", state)
save("legacy_state.pth", state, _use_new_zipfile_serialization=False)

save_old("legacy_views.pth", OrderedDict({
    "whole": Old(0, 12, 0, (3, 4), (4, 1)),
    "part": Old(4, 6, 0, (2, 3), (3, 1)),
    "transposed part": Old(4, 6, 2, (2, 2), (1, 2)),
}))
views = torch.load(folder / "legacy_views.pth", weights_only=True)
assert views["whole"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
assert views["part"].tolist() == [[4, 5, 6], [7, 8, 9]]
assert views["transposed part"].tolist() == [[6, 8], [7, 9]]

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
checkpoint = {
    "epoch": 3, "best": None, "step": 2**70, "loss": 0.25, "history": [1.0, 2.0], "resumed": False,
    "model_state_dict": layer.state_dict(), "optimizer": optimizer.state_dict(),
}
save("checkpoint.pth", checkpoint)
save("legacy_checkpoint.pth", checkpoint, pickle_protocol=4, _use_new_zipfile_serialization=False)
save("parallel.pth", {"state_dict": torch.nn.DataParallel(layer).state_dict()})
save("protocol4.pth", {"model": layer.state_dict()}, pickle_protocol=4)
save("legacy.pth", layer.state_dict(), _use_new_zipfile_serialization=False)
save("module.pth", layer)
save("code.pth", {"weight": layer.weight, "bias": Code()})
save("legacy_code.pth", {"weight": layer.weight, "bias": Code()}, _use_new_zipfile_serialization=False)
save("complex.pth", {"weight": torch.zeros(1, dtype=torch.complex64)})
