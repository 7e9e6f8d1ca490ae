"""Convolutions, batch norms and activations taken together before a model is prepared."""

from __future__ import annotations

import copy
from typing import Any

from pytorchlike import nn
from pytorchlike.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ..nn import intrinsic as nni

__all__ = ["fuse_modules", "fuse_modules_qat"]

_CONVS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
_NORMS = {nn.BatchNorm1d: 1, nn.BatchNorm2d: 2, nn.BatchNorm3d: 3}


def _fused(layers: list[nn.Module], training: bool) -> nn.Module:
    kinds = [type(m) for m in layers]
    if training != layers[0].training:
        raise AssertionError("fuse_modules is for models in eval mode, fuse_modules_qat for those in training mode")
    relu = kinds[-1] is nn.ReLU
    norm = len(kinds) > 1 and kinds[1] in _NORMS
    if len(kinds) != 1 + norm + relu:
        raise NotImplementedError(f"Cannot fuse modules: {tuple(kinds)}")
    first = kinds[0]
    if first in _CONVS and (not norm or _NORMS[kinds[1]] == _CONVS[first]):
        n = _CONVS[first]
        if norm and not training:
            merged = fuse_conv_bn_eval(layers[0], layers[1])
            return getattr(nni, f"ConvReLU{n}d")(merged, layers[-1]) if relu else merged
        return getattr(nni, f"Conv{'Bn' * norm}{'ReLU' * relu}{n}d")(*layers)
    if first is nn.Linear and not (norm and training):
        merged = fuse_linear_bn_eval(layers[0], layers[1]) if norm else layers[0]
        return nni.LinearReLU(merged, layers[-1]) if relu else merged
    if first is nn.BatchNorm2d and relu and not norm:
        return nni.BNReLU2d(*layers)
    raise NotImplementedError(f"Cannot fuse modules: {tuple(kinds)}")


def _fuse(model: nn.Module, modules_to_fuse: Any, inplace: bool, training: bool) -> nn.Module:
    if not inplace:
        model = copy.deepcopy(model)
    groups = modules_to_fuse if isinstance(modules_to_fuse[0], (list, tuple)) else [modules_to_fuse]
    for names in groups:
        made = _fused([model.get_submodule(n) for n in names], training)
        qconfig = getattr(model.get_submodule(names[0]), "qconfig", None)
        if qconfig is not None:
            made.qconfig = qconfig
        for name, module in zip(names, [made, *(nn.Identity() for _ in names[1:])], strict=True):
            owner, _, last = name.rpartition(".")
            module.training = training
            setattr(model.get_submodule(owner), last, module)
    return model


def fuse_modules(model: nn.Module, modules_to_fuse: Any, inplace: bool = False, fuser_func: Any = None,
                 fuse_custom_config_dict: Any = None) -> nn.Module:  # fmt: skip
    """The model, in eval mode, with layers taken together: conv-bn-relu, conv-bn, conv-relu, linear-relu, bn-relu.

    modules_to_fuse: qualified names of layers that follow each other, or several such lists. The first place of each
    list gets the fused layer, the others an Identity. Other functions and configurations: NotImplementedError.
    """
    if fuser_func is not None or fuse_custom_config_dict:
        raise NotImplementedError("fuse_modules: fuser_func and fuse_custom_config_dict are not there")
    return _fuse(model, modules_to_fuse, inplace, False)


def fuse_modules_qat(model: nn.Module, modules_to_fuse: Any, inplace: bool = False, fuser_func: Any = None,
                     fuse_custom_config_dict: Any = None) -> nn.Module:  # fmt: skip
    """As :func:`fuse_modules` for a model in training mode: batch norms go on following what passes."""
    if fuser_func is not None or fuse_custom_config_dict:
        raise NotImplementedError("fuse_modules_qat: fuser_func and fuse_custom_config_dict are not there")
    return _fuse(model, modules_to_fuse, inplace, True)
