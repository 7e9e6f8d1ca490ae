"""``torch.__future__``: what converting a module (``module.to(...)``) does to its parameters."""

from __future__ import annotations

from .nn.modules import module as _module

__all__ = ["get_overwrite_module_params_on_conversion", "get_swap_module_params_on_conversion",
           "set_overwrite_module_params_on_conversion", "set_swap_module_params_on_conversion"]


def set_overwrite_module_params_on_conversion(value: bool) -> None:
    """Whether a conversion gives a module new parameters, so that references to the old ones keep their data."""
    _module.conversion.overwrite = bool(value)


def get_overwrite_module_params_on_conversion() -> bool:
    """What was set; False at first."""
    return _module.conversion.overwrite


def set_swap_module_params_on_conversion(value: bool) -> None:
    """Whether conversions swap a parameter with its converted one: the same objects hold new data, as ever here."""
    _module.conversion.swap = bool(value)


def get_swap_module_params_on_conversion() -> bool:
    """What was set; False at first."""
    return _module.conversion.swap
