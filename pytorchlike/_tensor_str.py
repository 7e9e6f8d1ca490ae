"""``torch._tensor_str``: printing, under the names that libraries import."""

from __future__ import annotations

import math

from .tensor import Tensor, printing
from .tensor.printing import _options as PRINT_OPTS
from .tensor.printing import printoptions, set_printoptions

__all__ = ["PRINT_OPTS", "printoptions", "set_printoptions"]


def _tensor_str(self: Tensor, indent: int) -> str:
    """The elements in brackets, without the word ``tensor`` and what follows the elements."""
    return "[]" if math.prod(self.shape) == 0 else printing.body(self.detach().cpu()._look(), self.shape, indent)


def _add_suffixes(tensor_str: str, suffixes: list[str], indent: int, force_newline: bool = False) -> str:
    """Text, what is said after the elements, and the closing parenthesis; force_newline puts that on its own line."""
    if force_newline and suffixes:
        return f"{tensor_str},\n{' ' * indent}" + ", ".join(suffixes) + ")"
    return printing._with_suffixes(tensor_str, suffixes, indent)
