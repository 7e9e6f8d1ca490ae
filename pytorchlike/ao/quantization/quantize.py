"""Models with integers in place of floats: ``prepare``, let data pass, ``convert``; or ``quantize_dynamic``."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytorchlike as torch
from pytorchlike import nn

from ..nn import intrinsic as nni
from ..nn import qat
from ..nn.quantized import STATIC, DeQuantize, FloatFunctional, Quantize
from ..nn.quantized.dynamic import DYNAMIC
from .qconfig import default_dynamic_qconfig, float16_dynamic_qconfig
from .stubs import DeQuantStub, QuantStub, QuantWrapper

__all__ = [
    "add_quant_dequant", "convert", "default_eval_fn", "prepare", "prepare_qat", "propagate_qconfig_", "quantize",
    "quantize_dynamic", "quantize_qat", "swap_module",
]  # fmt: skip

#: What rounds its weights in training in place of each class.
QAT = {
    nn.Linear: qat.Linear, nn.Conv1d: qat.Conv1d, nn.Conv2d: qat.Conv2d, nn.Conv3d: qat.Conv3d,
    nn.Embedding: qat.Embedding, nni.LinearReLU: qat.LinearReLU, nni.ConvReLU2d: qat.ConvReLU2d,
    nni.ConvBn2d: qat.ConvBn2d, nni.ConvBnReLU2d: qat.ConvBnReLU2d,
}  # fmt: skip
_OBSERVED = (*STATIC, QuantStub, FloatFunctional)


def _refuse(function: str, **given: Any) -> None:
    """NotImplementedError for arguments that cannot be heeded."""
    for name, value in given.items():
        if value:
            raise NotImplementedError(f"{function}: {name} is not supported; give single modules a `qconfig`, and "
                                      "`convert` a `mapping` from their classes to quantised ones")


def propagate_qconfig_(module: nn.Module, qconfig_dict: dict[Any, Any] | None = None,
                       prepare_custom_config_dict: Any = None) -> None:  # fmt: skip
    """Give each module the ``qconfig`` of what is around it, unless it has its own, or the dict names it or its class.

    A qconfig of None leaves a part of the model as it is.
    """
    _refuse("propagate_qconfig_", prepare_custom_config_dict=prepare_custom_config_dict)
    _propagate(module, qconfig_dict or {}, None, "")


def _propagate(module: nn.Module, told: dict[Any, Any], around: Any, path: str) -> None:
    own = getattr(module, "qconfig", around)
    own = told.get(path, told.get(type(module), own)) if path or type(module) in told else told.get("", own)
    module.qconfig = own
    for name, child in module.named_children():
        _propagate(child, told, own, f"{path}.{name}".lstrip("."))


def _replace(module: nn.Module, change: Callable[[nn.Module], nn.Module | None]) -> None:
    """Put what ``change`` returns in place of descendants, and do not look into it."""
    for name, child in list(module.named_children()):
        new = change(child)
        if new is None:
            _replace(child, change)
        else:
            setattr(module, name, new)


def _observe(module: nn.Module) -> None:
    """Let observers see the results of layers that will be quantised."""
    for child in module.children():
        if type(child) in _OBSERVED and getattr(child, "qconfig", None) is not None:
            if isinstance(child, FloatFunctional):
                child.activation_post_process = child.qconfig.activation()
            elif not isinstance(child, (nn.Embedding,)):
                child.add_module("activation_post_process", child.qconfig.activation())
                child.register_forward_hook(_see)
        else:
            _observe(child)


def _see(module: nn.Module, args: Any, result: Any) -> Any:
    return module.activation_post_process(result)


def prepare(model: nn.Module, inplace: bool = False, allow_list: Any = None, observer_non_leaf_module_list: Any = None,
            prepare_custom_config_dict: Any = None) -> nn.Module:  # fmt: skip
    """A model whose layers with a ``qconfig`` observe what passes, for :func:`convert`."""
    _refuse("prepare", allow_list=allow_list, observer_non_leaf_module_list=observer_non_leaf_module_list,
            prepare_custom_config_dict=prepare_custom_config_dict)  # fmt: skip
    if not inplace:
        model = copy.deepcopy(model)
    propagate_qconfig_(model)
    if not any(getattr(m, "qconfig", None) for m in model.modules()):
        warnings.warn("None of the submodule got qconfig applied. Make sure you passed correct configuration through "
                      "`qconfig_dict` or by assigning the `.qconfig` attribute directly on submodules",
                      stacklevel=2)  # fmt: skip
    _observe(model)
    return model


def prepare_qat(model: nn.Module, mapping: dict[Any, Any] | None = None, inplace: bool = False) -> nn.Module:
    """A model in training mode whose layers round their weights and results as integers would. AssertionError in eval
    mode.
    """
    if not model.training:
        raise AssertionError("prepare_qat only works on models in training mode")
    if not inplace:
        model = copy.deepcopy(model)
    propagate_qconfig_(model)
    table = QAT if mapping is None else mapping

    def change(child: nn.Module) -> nn.Module | None:
        kind = table.get(type(child))
        return None if kind is None or getattr(child, "qconfig", None) is None else kind.from_float(child)

    _replace(model, change)
    _observe(model)
    return model


def swap_module(mod: nn.Module, mapping: dict[Any, Any], custom_module_class_mapping: Any = None,
                use_precomputed_fake_quant: bool = False) -> nn.Module:  # fmt: skip
    """The quantised form of a module, or the module itself if it has none or no ``qconfig``."""
    _refuse("swap_module", custom_module_class_mapping=custom_module_class_mapping,
            use_precomputed_fake_quant=use_precomputed_fake_quant)  # fmt: skip
    if getattr(mod, "qconfig", None) is None:
        return mod
    if isinstance(mod, QuantStub):
        return Quantize.from_float(mod)
    if isinstance(mod, DeQuantStub):
        return DeQuantize()
    kind = mapping.get(type(mod))
    return mod if kind is None else kind.from_float(mod)


def convert(module: nn.Module, mapping: dict[Any, Any] | None = None, inplace: bool = False,
            remove_qconfig: bool = True, is_reference: bool = False, convert_custom_config_dict: Any = None,
            use_precomputed_fake_quant: bool = False) -> nn.Module:  # fmt: skip
    """The model with quantised layers in place of those that have observed."""
    if is_reference:
        raise NotImplementedError("convert: reference models (is_reference=True) are not there; leave it out for "
                                  "quantised layers")
    _refuse("convert", convert_custom_config_dict=convert_custom_config_dict,
            use_precomputed_fake_quant=use_precomputed_fake_quant)  # fmt: skip
    if not inplace:
        module = copy.deepcopy(module)
    table = STATIC if mapping is None else mapping

    def change(child: nn.Module) -> nn.Module | None:
        new = swap_module(child, table)
        return None if new is child else new

    _replace(module, change)
    if remove_qconfig:
        for m in module.modules():
            if hasattr(m, "qconfig"):
                del m.qconfig
    return module


def quantize_dynamic(model: nn.Module, qconfig_spec: Any = None, dtype: Any = torch.qint8,
                     mapping: dict[Any, Any] | None = None, inplace: bool = False) -> nn.Module:  # fmt: skip
    """The model with int8 weights in its linear and recurrent layers; inputs of linear layers are rounded as they come.

    qconfig_spec: classes or qualified names, or a dict from them to QConfigs; Linear and the recurrent layers if None.
    dtype: ``torch.qint8`` or ``torch.float16`` (weights in half precision). ValueError for others.
    """
    if dtype not in (torch.qint8, torch.float16):
        raise ValueError(f"Unknown dtype specified for quantize_dynamic with {dtype}")
    if not inplace:
        model = copy.deepcopy(model)
    qconfig = default_dynamic_qconfig if dtype is torch.qint8 else float16_dynamic_qconfig
    spec = dict.fromkeys(DYNAMIC if qconfig_spec is None else qconfig_spec, qconfig) if not isinstance(
        qconfig_spec, dict) else {k: v or qconfig for k, v in qconfig_spec.items()}  # fmt: skip
    propagate_qconfig_(model, spec)
    table = DYNAMIC if mapping is None else mapping

    def change(child: nn.Module) -> nn.Module | None:
        if getattr(child, "qconfig", None) is None or type(child) not in table:
            return None
        if child.qconfig.weight().dtype is torch.float16:
            return _half(child)
        return table[type(child)].from_float(child)

    _replace(model, change)
    for m in model.modules():
        if hasattr(m, "qconfig"):
            del m.qconfig
    return model


def _half(module: nn.Module) -> nn.Module:
    """The layer with its parameters rounded to half precision; it computes in float32, as PyTorch's does."""
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(p.to(torch.float16))
    return module


def quantize(model: nn.Module, run_fn: Callable[..., Any], run_args: Any, mapping: Any = None,
             inplace: bool = False) -> nn.Module:  # fmt: skip
    """:func:`prepare`, ``run_fn(model, *run_args)``, :func:`convert`."""
    model = prepare(model if inplace else copy.deepcopy(model), inplace=True)
    model.eval()
    run_fn(model, *run_args)
    return convert(model, mapping, inplace=True)


def quantize_qat(model: nn.Module, run_fn: Callable[..., Any], run_args: Any, inplace: bool = False) -> nn.Module:
    """:func:`prepare_qat`, ``run_fn(model, *run_args)``, :func:`convert`."""
    model = model if inplace else copy.deepcopy(model)
    model.train()
    prepare_qat(model, inplace=True)
    run_fn(model, *run_args)
    return convert(model, inplace=True)


def add_quant_dequant(module: nn.Module) -> nn.Module:
    """Wrap each module that has a ``qconfig`` and no children in a :class:`QuantWrapper`, in place."""
    if not list(module.children()) and getattr(module, "qconfig", None):
        return QuantWrapper(module)
    for name, child in list(module.named_children()):
        setattr(module, name, add_quant_dequant(child))
    return module


def default_eval_fn(model: nn.Module, calib_data: Any) -> None:
    """Let data pass: an iterable of (input, target)."""
    for data, _ in calib_data:
        model(data)
