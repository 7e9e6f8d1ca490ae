"""What notebooks show of tensors and modules: bounded, well-formed, never an error."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.tensor import rich


class Checker(HTMLParser):
    """Whether tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        if tag not in ("img", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag


def pixels(text):
    """The picture in a piece of HTML."""
    data = base64.b64decode(re.search(r"base64,([^\"]+)", text)[1])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, body = 8, b""
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + n]
        assert struct.unpack(">I", data[at + 8 + n : at + 12 + n])[0] == zlib.crc32(kind + content)
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", content[:10])
            channels = {0: 1, 2: 3}[colour]
            assert depth == 8
        body += content if kind == b"IDAT" else b""
        at += 12 + n
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + width * channels)
    return rows[:, 1:].reshape(height, width, channels)


def failing():
    return torch.arange(3)[torch.full((1,), 7)]


KINDS = {
    "scalar": lambda: torch.tensor(3.5),
    "empty": lambda: torch.zeros(0, 3),
    "ints": lambda: torch.arange(5),
    "bool": lambda: torch.tensor([True, False]),
    "nan": lambda: torch.full((20, 20), float("nan")),
    "inf": lambda: torch.tensor([float("inf"), -1.0]),
    "complex": lambda: torch.ones(2, 2, dtype=torch.complex64),
    "bfloat16": lambda: torch.ones(3, dtype=torch.bfloat16),
    "meta": lambda: torch.empty(3, 4, device="meta"),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "view": lambda: torch.arange(12.0).view(3, 4).t()[1:],
    "lazy": lambda: (torch.ones(30, 30, requires_grad=True) * 2).sin(),
    "parameter": lambda: nn.Parameter(torch.ones(2, 2)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_tensors(kind):
    text = KINDS[kind]()._repr_html_()
    Checker(text)
    assert len(text) < 20_000


def test_head():
    x = torch.ones(2, 3, requires_grad=True)
    assert "tensor[2, 3] · float32 · cpu · requires_grad" in x._repr_html_()
    assert "MulBackward0" in (x * 2)._repr_html_()
    assert "Parameter tensor[2]" in nn.Parameter(torch.ones(2))._repr_html_()


def test_what_cannot_be_computed_is_told():
    text = failing()._repr_html_()
    Checker(text)
    assert text.startswith("<pre>tensor[1]: IndexError: index is out of bounds")
    with pytest.raises(IndexError):  # and raised where a value is read
        torch.ones(1).add(1).item()


def test_looking_does_not_execute():
    from pytorchlike.engine import stats

    x = torch.ones(4) * 2
    before = stats.flushes
    assert "mean 2" in x._repr_html_() and stats.flushes == before and x._value.trace is not None


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures(channels):
    values = np.random.default_rng(0).integers(0, 256, (channels, 9, 14)).astype(np.uint8)
    expected = np.moveaxis(values, 0, -1)
    assert (pixels(torch.tensor(values)._repr_html_()) == expected).all()
    assert (pixels(torch.tensor(values / 255, dtype=torch.float32)._repr_html_()) == expected).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.rand(2, 16, 16),
        lambda: torch.rand(3, 4, 16),
        lambda: torch.rand(3, 16, 16) * 2,
        lambda: torch.rand(1, 16, 16) - 0.5,
        lambda: torch.zeros(1, 16, 16),
        lambda: torch.full((1, 16, 16), float("nan")),
        lambda: torch.ones(1, 16, 16, dtype=torch.int64),
    ],
)
def test_what_is_no_picture(make):
    assert "<img" not in make()._repr_html_()


def test_large_tensors_are_sampled(monkeypatch):
    monkeypatch.setattr(rich, "_SAMPLE", 1000)
    seen = []
    monkeypatch.setattr(rich, "_histogram", lambda array: seen.append(array.size) or "")
    text = torch.arange(100_000.0).view(100, 1000)._repr_html_()
    assert max(seen) <= 1000 and "≈ min 0" in text and "tensor[100, 1000]" in text


def test_modules():
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.Sequential(nn.Flatten(), nn.LazyLinear(3)),
        nn.Linear(2, 2, bias=False),
    )
    net[3].weight.requires_grad_(False)
    net[1].eval()
    text = net._repr_html_()
    Checker(text)
    for told in ("Conv2d", "(1, 8, kernel_size=(3, 3), stride=(1, 1))", "weight [8, 1, 3, 3] float32", "frozen",
                 "running_mean [8] float32 buffer", "not initialised yet",
                 "100 parameters (4 of them frozen)"):  # fmt: skip
        assert told in text, told


def test_shared_weights_count_once():
    layer = nn.Linear(3, 3)
    assert "12 parameters" in nn.Sequential(layer, nn.ReLU(), layer)._repr_html_()


def test_many_modules_are_cut_off():
    text = nn.Sequential(*[nn.Identity() for _ in range(1200)])._repr_html_()
    Checker(text)
    assert "only the first 1000 modules are shown" in text and text.count("Identity") == 999


def test_a_module_that_cannot_be_told():
    class Odd(nn.Module):
        def extra_repr(self):
            raise ValueError("<no>")

    assert Odd()._repr_html_() == "<pre>Odd: ValueError: &lt;no&gt;</pre>"
