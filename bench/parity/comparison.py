"""What is compared, where and in which precisions, and the tables of it."""
import importlib.util

import torch

from ours import Refused
from references import PREDICTORS
from table import Table


class Comparison:
    """The tables that parts of the comparison fill, row by row."""

    def __init__(self, ours, device, precisions, networks):
        self.ours, self.tables, self.left_out = ours, [], []
        self.networks, self.settings = [], []
        there = importlib.util.find_spec("segmentation_models_pytorch")
        for name in networks:
            if "-" in name and name in PREDICTORS and not there:
                self.left_out.append(f"{name}, as segmentation_models_pytorch is not installed")
            else:
                self.networks.append(name)
        for precision in precisions:
            try:
                self.settings.append(Setting(ours, device, precision))
            except Refused as e:
                self.left_out.append(f"{precision}: {e}")

    def table(self, title, *columns):
        self.tables.append(Table(title, *columns))
        return self.tables[-1]

    def missed(self):
        return [line for t in self.tables for line in t.missed()]

    def __str__(self):
        return "\n".join([f"Left out: {why}\n" for why in self.left_out] + [str(t) for t in self.tables if t.rows])


class Setting:
    """A device and a precision of both sides."""

    def __init__(self, ours, device, precision):
        """Refused says that our side does not have it."""
        self.ours, self.device, self.precision = ours, device, precision
        self.autocast = precision == "bf16"
        ours.json("target", {"device": device, "precision": precision})

    def __str__(self):
        return f"{self.precision} on {self.device}"

    def rounded(self, compute):
        """What PyTorch computes in the precision, in ways whose roundings differ; compute
        takes the layout of images and weights."""
        ways = [(torch.contiguous_format, True), (torch.channels_last, True)]
        if self.precision == "f32":
            ways.append((torch.contiguous_format, False))
        found = []
        for layout, library in ways:
            with self.flags(library):
                found.append(compute(layout))
        return found

    def flags(self, library):
        """PyTorch with or without oneDNN or cuDNN, which multiplies as the precision says."""
        if self.device == "cpu":
            return torch.backends.mkldnn.flags(enabled=library)
        return torch.backends.cudnn.flags(enabled=library, allow_tf32=self.precision == "tf32")
