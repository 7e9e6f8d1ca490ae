"""``rearrange``: permuting, splitting and joining dimensions by a pattern with names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ..tensor import Tensor
from ..tensor import functions as T

_TOKEN = re.compile(r"\s*(\.\.\.|…|[()]|[A-Za-z_]\w*|\d+)")


#: ``...`` outside of parentheses.
_REST = ("... by themselves",)


def _parse(side: str, pattern: str) -> list[tuple[str, ...]]:
    """The dimensions of one side: names that belong together each; 1 is an empty group."""
    out: list[tuple[str, ...]] = []
    group: list[str] | None = None
    at = 0
    side = side.rstrip()
    while at < len(side):
        found = _TOKEN.match(side, at)
        if not found:
            raise ValueError(f"Invalid character in pattern {pattern!r}: {side[at:].strip()[:1]!r}")
        token, at = found.group(1), found.end()
        if token == "(":
            if group is not None:
                raise ValueError(f"Nested parentheses in pattern {pattern!r}")
            group = []
        elif token == ")":
            if group is None:
                raise ValueError(f"Unbalanced parentheses in pattern {pattern!r}")
            out.append(tuple(group))
            group = None
        elif token.isdigit():
            if token != "1":
                raise ValueError(f"Only 1 may stand for a size in pattern {pattern!r}, got {token}")
            if group is None:
                out.append(())
        else:
            token = "..." if token == "…" else token
            if group is None:
                out.append(_REST if token == "..." else (token,))
            else:
                group.append(token)
    if group is not None:
        raise ValueError(f"Unbalanced parentheses in pattern {pattern!r}")
    names = [n for dims in out for n in dims]
    for n in names:
        if names.count(n) > 1:
            raise ValueError(f"Indexing expression contains duplicate dimension {n!r}")
    return out


def rearrange(tensor: Tensor | Sequence[Tensor], pattern: str, **axes_lengths: int) -> Tensor:
    """Change the order of dimensions, split and join them, as told by a pattern such as ``"b (h w) c -> b c h w"``.

    Both sides name the same dimensions; names in parentheses are one dimension, the last name varying fastest; ``1``
    or ``()`` is a dimension of size 1, and ``...`` any number of dimensions.  A sequence of tensors is stacked first.
    axes_lengths:  sizes of names; in each parenthesis of the left side all but one must be given.

    Raises:  ValueError if the pattern is not understood, does not fit the tensor, or sizes are missing.
    """
    if not isinstance(tensor, Tensor):
        tensor = T.stack(list(tensor))
    sides = pattern.split("->")
    if len(sides) != 2:
        raise ValueError("Pattern must contain a single '->' separator")
    left, right = (_parse(s, pattern) for s in sides)
    before, after = ({n[:3] if n[0] == "." else n for dims in side for n in dims} for side in (left, right))
    if before != after:
        raise ValueError(f"Identifiers only on one side of rearrange expression (should be on both): {before ^ after}")
    unknown = axes_lengths.keys() - before
    if unknown:
        raise ValueError(f"Identifiers not found in rearrange expression: {unknown}")
    rest = tensor.dim() - sum(dims != _REST for dims in left)
    if rest < 0 or (rest and _REST not in left):
        raise ValueError(
            f"Number of dimensions in pattern ({len(left)}) must be equal to the number of dimensions in the tensor "
            f"({tensor.dim()})"
        )
    many = [f"...{k}" for k in range(rest)]
    left, right = (
        [g for dims in side for g in ([(m,) for m in many] if dims == _REST else [_spread(dims, many)])]
        for side in (left, right)
    )
    sizes = dict(axes_lengths)
    for dims, n in zip(left, tensor.shape, strict=True):
        _bind(dims, n, sizes)
    names = [n for dims in left for n in dims]
    split = tensor.reshape([sizes[n] for n in names])
    moved = split.permute([names.index(n) for dims in right for n in dims])
    return moved.reshape([math.prod(sizes[n] for n in dims) for dims in right])


def _spread(dims: tuple[str, ...], many: list[str]) -> tuple[str, ...]:
    return tuple(n for d in dims for n in (many if d == "..." else (d,)))


def _bind(dims: tuple[str, ...], n: int, sizes: dict[str, int]) -> None:
    """Find the size that is missing in a group of total size ``n``."""
    missing = [d for d in dims if d not in sizes]
    known = math.prod(sizes[d] for d in dims if d in sizes)
    if len(missing) > 1:
        raise ValueError(f"cannot infer the sizes of two dimensions at once: {' and '.join(missing)}")
    if missing and known and n % known == 0:
        sizes[missing[0]] = n // known
    elif missing or known != n:
        given = [sizes.get(d) for d in dims]
        raise ValueError(f"dimensions {' '.join(dims)} of sizes {given} do not fit a size of {n}")


__all__ = ["rearrange"]
