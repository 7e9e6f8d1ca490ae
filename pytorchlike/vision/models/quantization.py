"""Models prepared for quantisation (``torchvision.models.quantization``): ResNet, ResNeXt and MobileNet V2.

They have the parameters of the float models, whose weights they take, and besides: stubs at both ends, sums as modules
that can be observed, and ``fuse_model``. Quantised weights are not read, since quantised layers keep theirs in a layout
of their own.
"""

from __future__ import annotations

from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.ao import quantization as q
from pytorchlike.ao.nn.quantized import FloatFunctional

from ..ops.misc import Conv2dNormActivation
from . import mobilenetv2, resnet
from ._api import builder

__all__ = ["QuantizableMobileNetV2", "QuantizableResNet", "mobilenet_v2"]


def _fuse(module: nn.Module, names: list, is_qat: bool | None) -> None:
    qat = module.training if is_qat is None else is_qat
    (q.fuse_modules_qat if qat else q.fuse_modules)(module, names, inplace=True)


class QuantizableBasicBlock(resnet.BasicBlock):
    """Two 3 x 3 convolutions beside a short cut, with an observable sum."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_relu = FloatFunctional()

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.add_relu.add_relu(out, x if self.downsample is None else self.downsample(x))

    def fuse_model(self, is_qat: bool | None = None) -> None:
        """Make one module of each convolution and what follows it, for training if ``is_qat`` (None: as the mode)."""
        _fuse(self, [["conv1", "bn1", "relu"], ["conv2", "bn2"]], is_qat)
        if self.downsample is not None:
            _fuse(self.downsample, ["0", "1"], is_qat)


class QuantizableBottleneck(resnet.Bottleneck):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a short cut, with an observable sum."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.skip_add_relu = FloatFunctional()
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        out = self.bn3(self.conv3(out))
        return self.skip_add_relu.add_relu(out, x if self.downsample is None else self.downsample(x))

    def fuse_model(self, is_qat: bool | None = None) -> None:
        """Make one module of each convolution and what follows it, for training if ``is_qat`` (None: as the mode)."""
        _fuse(self, [["conv1", "bn1", "relu1"], ["conv2", "bn2", "relu2"], ["conv3", "bn3"]], is_qat)
        if self.downsample is not None:
            _fuse(self.downsample, ["0", "1"], is_qat)


class QuantizableResNet(resnet.ResNet):
    """A ResNet of quantizable blocks between stubs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.quant, self.dequant = q.QuantStub(), q.DeQuantStub()

    def forward(self, x: Tensor) -> Tensor:
        return self.dequant(self._forward_impl(self.quant(x)))

    def fuse_model(self, is_qat: bool | None = None) -> None:
        """Make one module of each convolution and what follows it, for training if ``is_qat`` (None: as the mode)."""
        _fuse(self, ["conv1", "bn1", "relu"], is_qat)
        for m in [*self.modules()]:
            if type(m) in (QuantizableBottleneck, QuantizableBasicBlock):
                m.fuse_model(is_qat)


class QuantizableInvertedResidual(mobilenetv2.InvertedResidual):
    """MobileNet V2's block with an observable sum."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.skip_add = FloatFunctional()

    def forward(self, x: Tensor) -> Tensor:
        return self.skip_add.add(x, self.conv(x)) if self.use_res_connect else self.conv(x)

    def fuse_model(self, is_qat: bool | None = None) -> None:
        """Make one module of the last convolution and its norm."""
        for i, layer in enumerate([*self.conv]):
            if type(layer) is nn.Conv2d:
                _fuse(self.conv, [str(i), str(i + 1)], is_qat)


class QuantizableMobileNetV2(mobilenetv2.MobileNetV2):
    """MobileNet V2 of quantizable blocks between stubs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"block": QuantizableInvertedResidual, **kwargs})
        self.quant, self.dequant = q.QuantStub(), q.DeQuantStub()

    def forward(self, x: Tensor) -> Tensor:
        return self.dequant(super().forward(self.quant(x)))

    def fuse_model(self, is_qat: bool | None = None) -> None:
        """Make one module of each convolution and what follows it, for training if ``is_qat`` (None: as the mode)."""
        for m in [*self.modules()]:
            if type(m) is Conv2dNormActivation:
                _fuse(m, ["0", "1", "2"], is_qat)
            elif type(m) is QuantizableInvertedResidual:
                m.fuse_model(is_qat)


def _plain_relus(module: nn.Module) -> None:
    for name, child in [*module.named_children()]:
        if type(child) in (nn.ReLU, nn.ReLU6):
            setattr(module, name, nn.ReLU())
        else:
            _plain_relus(child)


def _quantize(model: nn.Module, backend: str) -> None:
    """Quantise a model after it has seen one random picture."""
    if backend not in ("fbgemm", "qnnpack"):
        raise RuntimeError(f"Quantized backend not supported: {backend!r} (fbgemm, qnnpack)")
    model.eval()
    weight = q.default_per_channel_weight_observer if backend == "fbgemm" else q.default_weight_observer
    model.qconfig = q.QConfig(activation=q.default_observer, weight=weight)  # type: ignore[assignment]
    model.fuse_model()
    q.prepare(model, inplace=True)
    model(torch.rand(1, 3, 299, 299))
    q.convert(model, inplace=True)


def _made(make: Any, backend: str) -> Any:
    def build(quantize: bool = False, backend: str = backend, **kwargs: Any) -> nn.Module:
        model = make(**kwargs)
        _plain_relus(model)
        if quantize:
            _quantize(model, backend)
        return model

    return build


def _float_only(kwargs: dict) -> None:
    if kwargs.get("quantize"):
        raise NotImplementedError(
            "quantised weights cannot be read: quantised layers have a layout of their own here; load the float "
            "weights (quantize=False) and use fuse_model, prepare and convert"
        )


def _define(name: str, enum: Any, make: Any, backend: str) -> Any:
    about = f"{name} prepared for quantisation, or quantised (random weights only) if ``quantize``."
    build = builder(f"quantized_{name}", __name__, enum, _made(make, backend), about, before=_float_only)
    build.__name__ = build.__qualname__ = name
    return build


mobilenet_v2 = _define("mobilenet_v2", mobilenetv2.MobileNet_V2_Weights, QuantizableMobileNetV2, "qnnpack")

for _name in ("resnet18", "resnet50", "resnext101_32x8d", "resnext101_64x4d"):
    _title, _block, _layers, _fixed, _ = resnet._KINDS[_name]
    _own = QuantizableBasicBlock if _block is resnet.BasicBlock else QuantizableBottleneck
    globals()[_name] = _define(
        _name, getattr(resnet, f"{_title}_Weights"),
        lambda b=_own, n=_layers, f=_fixed, **kw: QuantizableResNet(b, n, **{**kw, **f}), "fbgemm",
    )  # fmt: skip
    __all__.append(_name)
