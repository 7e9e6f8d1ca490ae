"""Signatures of PyTorch's inner operators, read from ``aten.txt``, and which of them a call means."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any, NamedTuple

from ..tensor import Tensor
from ..tensor import dtype as dtypes

__all__ = ["Alias", "Argument", "Return", "Schema", "among", "parsed", "schemas"]


class Alias(NamedTuple):
    """That an argument or result shares memory with those of the same letters; ``is_write``: and is written to."""

    before_set: frozenset[str]
    is_write: bool

    @property
    def after_set(self) -> frozenset[str]:
        return self.before_set


class Argument(NamedTuple):
    """A parameter: ``type`` as the signature writes it, such as ``Tensor?`` or ``int[2]``."""

    name: str
    type: str
    default: Any
    kwarg_only: bool
    alias_info: Alias | None

    @property
    def is_write(self) -> bool:
        return self.alias_info is not None and self.alias_info.is_write

    @property
    def default_value(self) -> Any:
        """None where there is none."""
        return None if self.default is REQUIRED else self.default

    def has_default_value(self) -> bool:
        return self.default is not REQUIRED

    @property
    def is_out(self) -> bool:
        return False

    @property
    def optional(self) -> bool:
        return self.type.endswith("?")


class Return(NamedTuple):
    """A result."""

    name: str
    type: str
    alias_info: Alias | None


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()


class Schema(NamedTuple):
    """One form of an operator; ``composite``: PyTorch makes it of others, which are what a dispatch sees."""

    name: str
    overload_name: str
    arguments: tuple[Argument, ...]
    returns: tuple[Return, ...]
    composite: bool
    text: str

    @property
    def is_mutable(self) -> bool:
        """Whether an argument is written to."""
        return any(a.is_write for a in self.arguments)

    def __str__(self) -> str:
        return f"{self.name.partition('::')[0]}::{self.text}"


def _alias(letters: str | None) -> Alias | None:
    if not letters:
        return None
    write = letters.endswith("!")
    return Alias(frozenset(letters.rstrip("!").replace(" ", "").split("|")), write)


def _value(text: str, kind: str) -> Any:
    if text == "Mean":
        return 1
    if text in ("contiguous_format", "strided", "long"):
        return None
    if re.fullmatch(r"int\[\d\]", kind) and "[" not in text:
        return [int(text)] * int(kind[4])
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        if kind.startswith("ScalarType"):
            return getattr(dtypes, text)
        return {"true": True, "false": False}.get(text, text)


_ARGUMENT = re.compile(r"(\w+)(?:\((\w+!?(?: -> \*)?)\))?((?:\[\w*\]|\?)*)(?:\((\w+!?)\))? (\w+)(?:=(.+))?")
_RESULT = re.compile(r"(\w+)(?:\((\w+!?)\))?((?:\[\w*\]|\?)*)(?:\((\w+!?)\))?(?: (\w+))?")


def _split(text: str) -> list[str]:
    return [p for p in re.split(r",\s*(?![^\[(]*[\])])", text) if p]


def parsed(text: str, namespace: str) -> Schema:
    """The signature of an operator of a program's own; RuntimeError for what is none."""
    try:
        return _parse(" ".join(text.split()), namespace)
    except (AttributeError, ValueError) as error:
        raise RuntimeError(
            f"{namespace}::{text}: expected a schema such as 'name(Tensor x, int n=0) -> Tensor'"
        ) from error


def _parse(line: str, namespace: str = "aten") -> Schema:
    text = line.removeprefix("~")
    head, _, rest = text.partition("(")
    inside, _, results = rest.rpartition(") -> ")
    name, _, overload = head.partition(".")
    arguments, named = [], False
    for part in _split(inside):
        if part == "*":
            named = True
            continue
        kind, alias, more, late, label, default = _ARGUMENT.fullmatch(part).groups()  # type: ignore[union-attr]
        value = REQUIRED if default is None else _value(default, kind + more)
        arguments.append(Argument(label, kind + more, value, named, _alias((alias or late or "").partition(" ")[0])))
    returns = []
    for part in _split(results[1:-1] if results.startswith("(") else results):
        kind, alias, more, late, label = _RESULT.fullmatch(part).groups()  # type: ignore[union-attr]
        returns.append(Return(label or "", kind + more, _alias(alias or late)))
    return Schema(f"{namespace}::{name}", overload, tuple(arguments), tuple(returns), line.startswith("~"), text)


@functools.cache
def _lines() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in resources.files(__package__).joinpath("aten.txt").read_text().splitlines():
        found.setdefault(re.split(r"[.(]", line.removeprefix("~"))[0], []).append(line)
    return found


@functools.cache
def schemas(name: str) -> dict[str, Schema]:
    """The forms of an operator by their names (``"default"`` for the one without); empty for names unknown here."""
    return {s.overload_name or "default": s for s in map(_parse, _lines().get(name, ()))}


# ---- which form a call means ------------------------------------------------------------------------------------

_NUMBERS = (bool, int, float, complex)
#: Operators whose forms for a number PyTorch's functions pass over: the number takes the place of a tensor.
_OF_TENSORS = frozenset(("add", "sub", "mul", "div", "add_", "sub_", "mul_", "div_", "true_divide", "bitwise_and",
                         "bitwise_or", "bitwise_xor"))  # fmt: skip


def _fits(value: Any, kind: str, name: str) -> bool:
    if kind.endswith("?"):
        return value is None or _fits(value, kind[:-1], name)
    if value is None:
        return False
    if kind == "Tensor":
        return isinstance(value, Tensor) or (name in _OF_TENSORS and isinstance(value, _NUMBERS))
    if kind.startswith("Tensor"):
        inner = kind[6:].partition("]")[0] + "]"
        if kind[6] == "?":
            inner = kind[7:]
        return inner.startswith("[") and isinstance(value, (list, tuple)) and all(
            isinstance(v, Tensor) or (v is None and kind[6] == "?") for v in value)  # fmt: skip
    if kind == "Scalar":
        return isinstance(value, _NUMBERS) or (isinstance(value, Tensor) and not value.ndim)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "str":
        return isinstance(value, str)
    if kind.startswith(("int[", "float[", "bool[")):
        if isinstance(value, (list, tuple)):
            return not any(isinstance(v, Tensor) for v in value)
        return kind[-2].isdigit() and isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(value, Tensor)


def _equal(value: Any, default: Any) -> bool:
    if value is None or default is None or isinstance(value, Tensor):
        return value is default
    if isinstance(value, (list, tuple)):
        return isinstance(default, (list, tuple)) and list(value) == list(default)
    return type(value) is not bool and value == default or value is default


def among(name: str, bound: dict[str, Any]) -> tuple[Schema, list[Any], dict[str, Any]] | None:
    """The first form that takes arguments of these names, with the arguments as PyTorch hands them on.

    Positional ones that equal their defaults are left out from the end, keyword ones wherever they do.
    """
    found = schemas(name)
    order = sorted(found.values(), key=lambda s: s.composite)
    if name in _OF_TENSORS:
        order.sort(key=lambda s: (s.overload_name != "Tensor", s.overload_name.startswith("Scalar")))
    for schema in order:
        taken = _taken(schema, bound, name)
        if taken is not None:
            return (schema, *taken)
    return None


def _taken(schema: Schema, bound: dict[str, Any], name: str) -> tuple[list[Any], dict[str, Any]] | None:
    if not {k for k, v in bound.items() if v is not None and v is not False} <= {a.name for a in schema.arguments}:
        return None
    positional: list[Any] = []
    trim = 0
    named: dict[str, Any] = {}
    for a in schema.arguments:
        value = bound.get(a.name, a.default)
        if value is None and a.default is not REQUIRED and not a.optional:
            value = a.default
        if value is REQUIRED:
            return None
        if value is not a.default and not _fits(value, a.type, name):
            return None
        if isinstance(value, (list, tuple)):
            value = list(value)
        elif re.fullmatch(r"int\[\d?\]\??", a.type) and isinstance(value, int):
            size = re.sub(r"\D", "", a.type)
            value = [value] * (int(size) if size else 1)
        if a.kwarg_only:
            if not _equal(value, a.default):
                named[a.name] = value
            continue
        positional.append(value)
        if not _equal(value, a.default):
            trim = len(positional)
    return positional[:trim], named


def defaults(schema: Schema, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a call by their names."""
    given = dict(zip((a.name for a in schema.arguments), args, strict=False))
    given.update(kwargs)
    return {a.name: given.get(a.name, a.default_value) for a in schema.arguments} | given
