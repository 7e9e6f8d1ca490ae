"""A function as a module, for what takes modules only."""

from __future__ import annotations

from pytorchlike import nn


class Fn(nn.Module):
    """Its forward is the function that it was made of."""

    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, *args):
        return self.fn(*args)
