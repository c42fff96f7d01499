"""Writes reference.safetensors with the reference implementation.

    python -m venv env && env/bin/pip install safetensors==0.8.0 numpy
    env/bin/python gen.py

The test writes the same tensors and wants the same bytes.
"""

import os
import struct

import numpy as np
from safetensors import TensorSpec, deserialize, serialize

out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference.safetensors")


buffers = []  # kept alive: the specification holds an address


def tensor(dtype, shape, data):
    buffers.append(np.frombuffer(data, np.uint8).copy())
    return TensorSpec(dtype=dtype, shape=shape, data_ptr=buffers[-1].ctypes.data, data_len=len(data))


tensors = {
    "conv.weight": tensor("float32", [2, 1, 3], np.array([1, -2, 0.1, 1e-45, np.inf, -0.0], "<f4").tobytes()),
    "conv.bias": tensor("float16", [5], np.array([1, -65504, 6e-8, 0.1, np.inf], "<f2").tobytes()),
    "norm.weight": tensor("bfloat16", [3], struct.pack("<3H", 0x3F80, 0xC040, 0x7F80)),  # 1, -3, inf
    "norm.num_batches_tracked": tensor("int64", [], np.array(-7, "<i8").tobytes()),
    "rng": tensor("uint64", [2], np.array([2**64 - 1, 3], "<u8").tobytes()),
    "double": tensor("float64", [1], np.array([0.1], "<f8").tobytes()),
    "mask": tensor("bool", [3], b"\1\0\1"),
    "bytes": tensor("uint8", [3], b"\0\x7f\xff"),
    "signed": tensor("int8", [2], b"\x80\x7f"),
    "short": tensor("int16", [1], np.array([-300], "<i2").tobytes()),
    "ushort": tensor("uint16", [1], np.array([65535], "<u2").tobytes()),
    "int": tensor("int32", [1], np.array([-70000], "<i4").tobytes()),
    "uint": tensor("uint32", [1], np.array([4000000000], "<u4").tobytes()),
    "empty": tensor("float32", [0, 4], b""),
    'odd "name"\n<ü>': tensor("float32", [1], np.array([42], "<f4").tobytes()),
}

data = bytes(serialize(tensors, {"format": "pt"}))
assert len(deserialize(data)) == len(tensors)
open(out, "wb").write(data)
