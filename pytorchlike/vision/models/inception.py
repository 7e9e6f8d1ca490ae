"""Inception v3: Szegedy et al. 2015, arXiv:1512.00567."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ._api import builder, weights_enum
from .googlenet import BasicConv2d, init_normal, transform_input

__all__ = ["Inception3", "InceptionOutputs", "Inception_V3_Weights", "inception_v3"]

InceptionOutputs = namedtuple("InceptionOutputs", ["logits", "aux_logits"])


def _conv(inputs: int, outputs: int, kernel: Any, stride: int = 1, padding: Any = 0) -> BasicConv2d:
    return BasicConv2d(inputs, outputs, kernel_size=kernel, stride=stride, padding=padding)


def _mean(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1)


class InceptionA(nn.Module):
    """35 x 35 maps."""

    def __init__(self, inputs: int, pool_features: int) -> None:
        super().__init__()
        self.branch1x1 = _conv(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = _conv(inputs, 48, 1), _conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _conv(inputs, 64, 1)
        self.branch3x3dbl_2, self.branch3x3dbl_3 = _conv(64, 96, 3, padding=1), _conv(96, 96, 3, padding=1)
        self.branch_pool = _conv(inputs, pool_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double,
                          self.branch_pool(_mean(x))], 1)  # fmt: skip


class InceptionB(nn.Module):
    """From 35 x 35 to 17 x 17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = _conv(inputs, 384, 3, 2)
        self.branch3x3dbl_1 = _conv(inputs, 64, 1)
        self.branch3x3dbl_2, self.branch3x3dbl_3 = _conv(64, 96, 3, padding=1), _conv(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class InceptionC(nn.Module):
    """17 x 17 maps."""

    def __init__(self, inputs: int, channels_7x7: int) -> None:
        super().__init__()
        c, row, column = channels_7x7, ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
        self.branch1x1 = _conv(inputs, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = _conv(inputs, c, 1), _conv(c, c, *row)
        self.branch7x7_3 = _conv(c, 192, *column)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = _conv(inputs, c, 1), _conv(c, c, *column)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = _conv(c, c, *row), _conv(c, c, *column)
        self.branch7x7dbl_5 = _conv(c, 192, *row)
        self.branch_pool = _conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_mean(x))], 1)


class InceptionD(nn.Module):
    """From 17 x 17 to 8 x 8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = _conv(inputs, 192, 1), _conv(192, 320, 3, 2)
        self.branch7x7x3_1, self.branch7x7x3_2 = _conv(inputs, 192, 1), _conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3, self.branch7x7x3_4 = _conv(192, 192, (7, 1), padding=(3, 0)), _conv(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, 2)], 1)


class InceptionE(nn.Module):
    """8 x 8 maps."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        row, column = ((1, 3), 1, (0, 1)), ((3, 1), 1, (1, 0))
        self.branch1x1 = _conv(inputs, 320, 1)
        self.branch3x3_1 = _conv(inputs, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = _conv(384, 384, *row), _conv(384, 384, *column)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _conv(inputs, 448, 1), _conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = _conv(384, 384, *row), _conv(384, 384, *column)
        self.branch_pool = _conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat([
            self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three),
            self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(_mean(x)),
        ], 1)  # fmt: skip


class InceptionAux(nn.Module):
    """A classifier on the 17 x 17 map."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv0, self.conv1 = _conv(in_channels, 128, 1), _conv(128, 768, 5)
        self.conv1.stddev = 0.01  # type: ignore[assignment]
        self.conv1.conv.stddev = 0.01  # type: ignore[assignment]
        self.fc = nn.Linear(768, num_classes)
        self.fc.stddev = 0.001  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, 3)))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class Inception3(nn.Module):
    """Shapes: (N, 3, 299, 299) -> (N, num_classes); with ``aux_logits``, while training, an InceptionOutputs of two."""

    def __init__(
        self, num_classes: int = 1000, aux_logits: bool = True, transform_input: bool = False,
        init_weights: bool | None = None, dropout: float = 0.5,
    ) -> None:  # fmt: skip
        super().__init__()
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = _conv(3, 32, 3, 2), _conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _conv(32, 64, 3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = _conv(64, 80, 1), _conv(80, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = InceptionA(192, 32), InceptionA(256, 64), InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b, self.Mixed_6c = InceptionC(768, 128), InceptionC(768, 160)
        self.Mixed_6d, self.Mixed_6e = InceptionC(768, 160), InceptionC(768, 192)
        self.AuxLogits = InceptionAux(768, num_classes) if aux_logits else None
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b, self.Mixed_7c = InceptionE(1280), InceptionE(2048)
        self.avgpool, self.dropout = nn.AdaptiveAvgPool2d((1, 1)), nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        if init_weights is None or init_weights:
            init_normal(self)

    def forward(self, x: Tensor) -> Any:
        x = transform_input(x) if self.transform_input else x
        x = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        aux = self.AuxLogits(x) if self.AuxLogits is not None and self.training else None
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        x = self.fc(torch.flatten(self.dropout(self.avgpool(x)), 1))
        return InceptionOutputs(x, aux) if self.training and self.aux_logits else x


def _for_weights(kwargs: dict[str, Any]) -> Any:
    wanted = kwargs.get("aux_logits", True)
    kwargs.setdefault("transform_input", True)
    kwargs.update(aux_logits=True, init_weights=False)

    def after(model: Inception3) -> None:
        if not wanted:
            model.aux_logits, model.AuxLogits = False, None

    return after


Inception_V3_Weights = weights_enum("Inception_V3_Weights", __name__, {
    "IMAGENET1K_V1": "inception_v3_google-0cc3c7bd.pth",
}, crop=299, resize=342)  # fmt: skip
inception_v3 = builder("inception_v3", __name__, Inception_V3_Weights, Inception3, "Inception v3", before=_for_weights)
