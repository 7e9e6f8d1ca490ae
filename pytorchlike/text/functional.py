"""Transforms of token lists as functions (``torchtext.functional``)."""

from __future__ import annotations

from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor
from pytorchlike.nn.utils.rnn import pad_sequence

__all__ = ["add_token", "str_to_int", "to_tensor", "truncate"]


def to_tensor(input: Any, padding_value: int | None = None, dtype: torch.dtype = torch.long) -> Tensor:
    """A list of ids, or a list of such lists, padded at the end if a value for that is given.

    Raises TypeError for other inputs.
    """
    if not isinstance(input, (list, tuple)):
        raise TypeError("Input type not supported")
    if input and isinstance(input[0], (list, tuple)) and padding_value is not None:
        rows = [torch.tensor(ids, dtype=dtype) for ids in input]
        return pad_sequence(rows, batch_first=True, padding_value=float(padding_value))
    return torch.tensor(input, dtype=dtype)


def _nested(input: Any, element: type | tuple[type, ...]) -> bool:
    """Whether a list is one of lists; TypeError if it is neither that nor a list of such elements."""
    if isinstance(input, list):
        if all(isinstance(x, element) for x in input):
            return False
        if all(isinstance(x, list) for x in input):
            return True
    raise TypeError("Input type not supported")


def truncate(input: Any, max_seq_len: int) -> Any:
    """The first ``max_seq_len`` tokens of a list, or of each list of a list."""
    if _nested(input, (int, str)):
        return [row[:max_seq_len] for row in input]
    return input[:max_seq_len]


def add_token(input: Any, token_id: Any, begin: bool = True) -> Any:
    """With a token put before, or after, a list, or each list of a list."""
    if _nested(input, (int, str)):
        return [add_token(row, token_id, begin) for row in input]
    return [token_id, *input] if begin else [*input, token_id]


def str_to_int(input: Any) -> Any:
    """Digits as numbers, in a list or each list of a list."""
    if _nested(input, str):
        return [str_to_int(row) for row in input]
    return [int(x) for x in input]
