"""Writing an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..export._recording import Recording
from ..export._sizes import Quotient, Root, Size

__all__ = ["Builder", "V", "needs_onnx"]


def needs_onnx(name: str = "onnx") -> Any:
    """The package ``onnx``. ImportError that names the extra if it is missing."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise ImportError('reading and writing ONNX needs the package onnx: pip install "pytorchlike[onnx]"') from None


class V:
    """A value of the graph: name, dtype, and shape with sizes (None where nobody needs it)."""

    __slots__ = ("name", "dtype", "shape")

    def __init__(self, name: str, dtype: Any, shape: tuple | None = None) -> None:
        self.name, self.dtype, self.shape = name, np.dtype(dtype), shape

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        if self.shape is None:
            raise AssertionError(f"the shape of {self.name} was not kept")
        return len(self.shape)

    def __repr__(self) -> str:
        return f"V({self.name}, {self.dtype}, {self.shape})"


class Builder:
    """The nodes and constants of a graph.

    opset: of the operators.   constants: arrays by name, which become initializers.
    """

    def __init__(self, program: Recording, opset: int) -> None:
        self.onnx = needs_onnx()
        self.helper = needs_onnx("onnx.helper")
        self.opset = opset
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.names: dict[str, int] = {}
        self.where = ""
        self._known: dict[Any, V] = {}
        self._sources = [s for s in program.sources if s.kind == "input"]
        self._inputs: dict[int, V] = {}

    # ---- names and nodes ---------------------------------------------------------------------------------------

    def fresh(self, hint: str) -> str:
        """A name that is not used yet."""
        n = self.names.get(hint)
        self.names[hint] = 0 if n is None else n + 1
        if n is None:
            return hint
        found = f"{hint}_{n + 1}"
        return found if found not in self.names else self.fresh(hint)

    def type_of(self, dtype: Any) -> int:
        """ONNX's number of a dtype."""
        return self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def op(self, kind: str, *inputs: Any, dtype: Any = None, shape: tuple | None = None, outputs: int = 1,
           **attributes: Any) -> Any:  # fmt: skip
        """A node; inputs are V, None for missing ones, arrays, or ints and lists of them (int64).

        dtype, shape: of the result; the dtype of the first input by default.   With several ``outputs`` a tuple.
        """
        given = [i if i is None or isinstance(i, V) else self.constant(i) for i in inputs]
        while given and given[-1] is None:
            given.pop()
        if dtype is None:
            dtype = next(i.dtype for i in given if i is not None)
        names = [self.fresh(kind.lower()) for _ in range(outputs)]
        told = {k: v for k, v in attributes.items() if v is not None}
        ins = ["" if i is None else i.name for i in given]
        node = self.helper.make_node(kind, ins, names, name=self.fresh(f"{kind}_node"), **told)
        if self.where:
            node.doc_string = self.where
        self.nodes.append(node)
        made = tuple([V(n, dtype, shape) for n in names])
        return made if outputs > 1 else made[0]

    def constant(self, x: Any, dtype: Any = None) -> V:
        """An initializer with the values of ``x``; ints are int64."""
        array = np.asarray(x, dtype) if dtype is not None else np.asarray(x)
        if dtype is None and array.dtype.kind in "iu" and not isinstance(x, np.ndarray):
            array = array.astype(np.int64)
        key = (array.dtype.name, array.shape, array.tobytes()) if array.size <= 64 else None
        found = self._known.get(key) if key is not None else None
        if found is None:
            found = V(self.fresh("const"), array.dtype, array.shape)
            self.constants[found.name] = array
            if key is not None:
                self._known[key] = found
        return found

    def array(self, v: Any) -> np.ndarray | None:
        """The values of a constant; None for other values."""
        return self.constants.get(v.name) if isinstance(v, V) else None

    # ---- numbers and sizes -------------------------------------------------------------------------------------

    def number(self, x: Any, dtype: Any) -> V:
        """A Python number, or one made of sizes, as a tensor without dimensions."""
        if isinstance(x, Root):
            base = self.cast(self.size(x.size), np.float64)
            found = self.op("Pow", base, np.array([x.power]), shape=(1,))
            found = self.op("Mul", found, np.array([x.factor]), shape=(1,))
            return self.reshape(self.cast(found, dtype), ())
        if isinstance(x, Size):
            return self.reshape(self.cast(self.size(x), dtype), ())
        return self.constant(np.asarray(x).astype(dtype))

    def tensor(self, x: Any, dtype: Any) -> V:
        """A value or a number in a dtype."""
        return self.cast(x, dtype) if isinstance(x, V) else self.number(x, dtype)

    def ints(self, values: Sequence[Any]) -> V:
        """Integers and sizes as a vector of int64."""
        if not any(isinstance(n, Size) for n in values):
            return self.constant(np.array(values, np.int64).reshape(len(values)))
        parts = [self.size(n) if isinstance(n, Size) else self.constant([n]) for n in values]
        shape = (len(values),)
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=0, dtype=np.int64, shape=shape)

    def size(self, n: Any) -> V:
        """A size as a vector of one element."""
        if not isinstance(n, Size):
            return self.constant([n])
        found = self._known.get(n)
        if found is None:
            where, self.where = self.where, ""
            found = self._known[n] = self._computed(n)
            self.where = where
        return found

    def _computed(self, n: Size) -> V:
        direct = self._read(n)
        if direct is not None:
            return direct
        total: V | None = None
        for atoms, factor in n.terms.items():
            part: V | None = None
            for a in atoms:
                its = self._quotient(a) if isinstance(a, Quotient) else self._named(a)
                part = its if part is None else self.op("Mul", part, its, shape=(1,))
            if part is None:
                part = self.constant([factor])
            elif factor != 1:
                part = self.op("Mul", part, [factor], shape=(1,))
            total = part if total is None else self.op("Add", total, part, shape=(1,))
        assert total is not None
        return total

    def _read(self, n: Size) -> V | None:
        """A size that an input has."""
        for s in self._sources:
            for k, its in enumerate(s.shape):
                if its == n:
                    return self._shape_entry(self._inputs[s.slot], k)
        return None

    def _shape_entry(self, v: V, k: int) -> V:
        shape = self.op("Shape", v, dtype=np.int64, start=k, end=k + 1, shape=(1,))
        return shape

    def _named(self, name: str) -> V:
        size = Size.named(name)
        found = self._known.get(size)
        if found is None:
            found = self._read(size)
            if found is None:  # an input has 2*s0 + 1
                whole = next(n for s in self._sources for n in s.shape if isinstance(n, Size) and n.names() == [name])
                found = self.size(whole)
                plus, factor = whole.terms.get((), 0), whole.terms[(name,)]
                found = self.op("Sub", found, [plus], shape=(1,)) if plus else found
                found = self.op("Div", found, [factor], shape=(1,)) if factor != 1 else found
            self._known[size] = found
        return found

    def _quotient(self, a: Quotient) -> V:
        return self.op("Div", self.size(a.of), [a.by], shape=(1,))

    # ---- what many operators need ------------------------------------------------------------------------------

    def cast(self, v: V, dtype: Any) -> V:
        """``v`` in a dtype."""
        dtype = np.dtype(dtype)
        if v.dtype == dtype:
            return v
        known = self.array(v)
        if known is not None and known.size <= 64:
            return self.constant(known.astype(dtype))
        return self.op("Cast", v, dtype=dtype, shape=v.shape, to=self.type_of(dtype))

    def shape_of(self, v: V) -> V:
        """The shape as a vector."""
        if v.shape is not None:
            return self.ints(v.shape)
        return self.op("Shape", v, dtype=np.int64)

    def reshape(self, v: V, shape: Sequence[Any]) -> V:
        """``v`` in a shape of integers and sizes."""
        shape = tuple(shape)
        if v.shape == shape:
            return v
        told = shape
        open_sizes = [k for k, n in enumerate(shape) if isinstance(n, Size)]
        if len(open_sizes) == 1 and 0 not in shape:
            told = tuple([-1 if k == open_sizes[0] else n for k, n in enumerate(shape)])
        return self.op("Reshape", v, self.ints(told), shape=shape, allowzero=1 if 0 in told else None)

    def transpose(self, v: V, perm: Sequence[int]) -> V:
        """``v`` with its dimensions in another order."""
        perm = [p % v.rank for p in perm]
        if perm == list(range(v.rank)):
            return v
        return self.op("Transpose", v, perm=perm, shape=tuple([v.shape[p] for p in perm]))  # type: ignore[index]

    def unsqueeze(self, v: V, *axes: int) -> V:
        """``v`` with dimensions of size 1 at ``axes`` of the result, which are not negative."""
        shape = None
        if v.shape is not None:
            full = list(v.shape)
            for a in sorted(axes):
                full.insert(a, 1)
            shape = tuple(full)
        return self.op("Unsqueeze", v, list(axes), shape=shape)

    def squeeze(self, v: V, *axes: int) -> V:
        """``v`` without ``axes``, which have size 1."""
        shape = None if v.shape is None else tuple([n for k, n in enumerate(v.shape) if k not in axes])
        return self.op("Squeeze", v, list(axes), shape=shape)

    def expand(self, v: V, shape: Sequence[Any]) -> V:
        """``v`` spread to a shape."""
        return v if v.shape == tuple(shape) else self.op("Expand", v, self.ints(shape), shape=tuple(shape))

    def slice(self, v: V, starts: Sequence[Any], ends: Sequence[Any], axes: Sequence[int],
              steps: Sequence[int] | None = None) -> V:  # fmt: skip
        """A part of ``v``; its shape is not kept."""
        told = None if steps is None else list(steps)
        return self.op("Slice", v, self.ints(starts), self.ints(ends), list(axes), told)

    def concat(self, vs: Sequence[V], axis: int) -> V:
        """Several values one after the other; the shape is not kept."""
        return vs[0] if len(vs) == 1 else self.op("Concat", *vs, axis=axis)

    def binary(self, kind: str, a: V, b: Any, dtype: Any = None) -> V:
        """An elementwise node of a value and a value or number in its dtype; the shape of the first is kept."""
        return self.op(kind, a, self.tensor(b, a.dtype), dtype=dtype or a.dtype, shape=a.shape)

    def unary(self, kind: str, v: V, dtype: Any = None, **attributes: Any) -> V:
        """An elementwise node of one value."""
        return self.op(kind, v, dtype=dtype or v.dtype, shape=v.shape, **attributes)

    def reduce(self, kind: str, v: V, axes: Sequence[int] | None, keepdims: bool, dtype: Any = None) -> V:
        """A reduction over axes, all if None; the shape is kept with keepdims."""
        shape = None
        if v.shape is not None:
            all_axes = range(v.rank) if axes is None else [a % v.rank for a in axes]
            if keepdims:
                shape = tuple([1 if k in all_axes else n for k, n in enumerate(v.shape)])
            else:
                shape = tuple([n for k, n in enumerate(v.shape) if k not in all_axes])
        told = None if axes is None else self.ints(list(axes))
        return self.op(kind, v, told, keepdims=int(keepdims), dtype=dtype or v.dtype, shape=shape)

    def range(self, n: Any) -> V:
        """0, 1, … as int64."""
        if not isinstance(n, Size):
            return self.constant(np.arange(n, dtype=np.int64))
        end = self.reshape(self.size(n), ())
        return self.op("Range", np.int64(0), end, np.int64(1), dtype=np.int64, shape=(n,))

    def bind_inputs(self, values: Mapping[int, V]) -> None:
        """Tell the graph's inputs by slot, of which sizes are read."""
        self._inputs.update(values)
