"""ONNX operators as operations on tensors: arithmetic, shapes, indexing, reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..nn import functional as F
from ..tensor import Tensor, from_numpy, tensor
from ..tensor import functions as T
from ..tensor.dtype import from_numpy_dtype
from ._builder import needs_onnx
from .errors import UnsupportedOperatorError

__all__ = ["OPS", "Node", "ints", "reads", "tensors"]


class Node:
    """A node: operator, names of inputs and outputs, attributes, opset."""

    __slots__ = ("kind", "inputs", "outputs", "told", "opset", "name", "proto", "cache")

    def __init__(self, kind: str, inputs: tuple, outputs: tuple, told: dict[str, Any], opset: int, name: str,
                 proto: Any) -> None:  # fmt: skip
        self.kind, self.inputs, self.outputs, self.told = kind, inputs, outputs, told
        self.opset, self.name, self.proto, self.cache = opset, name, proto, {}

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.told.get(name, default)

    def refuse(self, why: str) -> UnsupportedOperatorError:
        """The error for a use that cannot be read."""
        return UnsupportedOperatorError(f"torch.onnx.load: node {self.name!r} ({self.kind}): {why}; run the file by "
                                        "onnxruntime")  # fmt: skip


#: By ONNX operator: ``function(node, *inputs)``; inputs are tensors, host arrays, or None.
OPS: dict[str, Callable[..., Any]] = {}


def reads(*kinds: str, table: dict[str, Callable[..., Any]] = OPS) -> Callable[[Callable], Callable]:
    """Enter a reader of operators."""

    def enter(fn: Callable[..., Any]) -> Callable[..., Any]:
        for kind in kinds:
            table[kind] = fn
        return fn

    return enter


def ints(x: Any) -> list[int]:
    """Integers that a shape, axes or indices are made of."""
    if isinstance(x, Tensor):
        return [int(n) for n in x.reshape(-1).tolist()]
    return [int(n) for n in np.asarray(x).reshape(-1)]


def tensors(*xs: Any) -> list[Any]:
    """Host arrays as tensors."""
    return [from_numpy(np.array(x)) if isinstance(x, np.ndarray) else x for x in xs]


def _unary(fn: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    return lambda node, x: fn(x)


for _kind, _fn in {
    "Abs": T.abs, "Neg": T.neg, "Sign": T.sign, "Ceil": T.ceil, "Floor": T.floor, "Exp": T.exp, "Log": T.log,
    "Sqrt": T.sqrt, "Sin": T.sin, "Cos": T.cos, "Tan": T.tan, "Asin": T.asin, "Acos": T.acos, "Atan": T.atan,
    "Sinh": T.sinh, "Cosh": T.cosh, "Tanh": T.tanh, "Asinh": T.asinh, "Acosh": T.acosh, "Atanh": T.atanh,
    "Sigmoid": T.sigmoid, "Erf": T.erf, "Reciprocal": T.reciprocal, "Round": T.round, "Not": T.logical_not,
    "BitwiseNot": T.bitwise_not, "IsNaN": T.isnan, "Relu": T.relu, "Softsign": F.softsign, "HardSwish": F.hardswish,
    "Mish": F.mish, "Identity": lambda x: x,
}.items():  # fmt: skip
    reads(_kind)(_unary(_fn))

#: Elementwise operators of two; ONNX wants both in one dtype.
_BINARY = {
    "Add": T.add, "Sub": T.sub, "Mul": T.mul, "Equal": T.eq, "Greater": T.gt, "GreaterOrEqual": T.ge, "Less": T.lt,
    "LessOrEqual": T.le, "And": T.logical_and, "Or": T.logical_or, "Xor": T.logical_xor,
    "BitwiseAnd": T.bitwise_and, "BitwiseOr": T.bitwise_or, "BitwiseXor": T.bitwise_xor, "MatMul": T.matmul,
}  # fmt: skip
for _kind, _fn in _BINARY.items():
    reads(_kind)(lambda node, x, y, fn=_fn: fn(*tensors(x, y)))


@reads("Div")
def _div(node: Node, x: Any, y: Any) -> Tensor:
    x, y = tensors(x, y)
    return T.div(x, y) if x.is_floating_point() else T.div(x, y, rounding_mode="trunc")


@reads("Mod")
def _mod(node: Node, x: Any, y: Any) -> Tensor:
    return (T.fmod if node.get("fmod", 0) else T.remainder)(*tensors(x, y))


@reads("Pow")
def _pow(node: Node, x: Any, y: Any) -> Tensor:
    x, y = tensors(x, y)
    return T.pow(x, y).to(x.dtype)


def _folded(fn: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    def read(node: Node, *xs: Any) -> Tensor:
        first, *rest = tensors(*xs)
        for x in rest:
            first = fn(first, x)
        return first

    return read


reads("Max")(_folded(T.maximum))
reads("Min")(_folded(T.minimum))
reads("Sum")(_folded(T.add))


@reads("Mean")
def _mean_of(node: Node, *xs: Any) -> Tensor:
    return _folded(T.add)(node, *xs) / len(xs)


@reads("Where")
def _where(node: Node, c: Any, x: Any, y: Any) -> Tensor:
    return T.where(*tensors(c, x, y))


@reads("Clip")
def _clip(node: Node, x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    low, high = (node.get(n) if v is None else v for n, v in (("min", low), ("max", high)))
    low, high = (v.item() if isinstance(v, np.ndarray) else v for v in (low, high))
    return x if low is None and high is None else T.clamp(x, low, high)


@reads("IsInf")
def _isinf(node: Node, x: Tensor) -> Tensor:
    if not node.get("detect_negative", 1):
        return T.isposinf(x)
    return T.isneginf(x) if not node.get("detect_positive", 1) else T.isinf(x)


@reads("Cast")
def _cast(node: Node, x: Any) -> Tensor:
    dtype = needs_onnx("onnx.helper").tensor_dtype_to_np_dtype(node.get("to"))
    return x.to(from_numpy_dtype(np.dtype(dtype)))


@reads("CastLike")
def _cast_like(node: Node, x: Any, like: Any) -> Tensor:
    x, like = tensors(x, like)
    return x.to(like.dtype)


# ---- activations -----------------------------------------------------------------------------------------------------


@reads("Gelu")
def _gelu(node: Node, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=node.get("approximate", "none"))


@reads("LeakyRelu")
def _leaky_relu(node: Node, x: Tensor) -> Tensor:
    return F.leaky_relu(x, node.get("alpha", 0.01))


@reads("Elu")
def _elu(node: Node, x: Tensor) -> Tensor:
    return F.elu(x, node.get("alpha", 1.0))


@reads("Celu")
def _celu(node: Node, x: Tensor) -> Tensor:
    return F.celu(x, node.get("alpha", 1.0))


@reads("Selu")
def _selu(node: Node, x: Tensor) -> Tensor:
    alpha, gamma = node.get("alpha", 1.6732632423543772), node.get("gamma", 1.0507009873554805)
    return gamma * T.where(x > 0, x, alpha * T.expm1(T.clamp(x, max=0)))


@reads("PRelu")
def _prelu(node: Node, x: Tensor, slope: Any) -> Tensor:
    return T.where(x < 0, x * slope, x)


@reads("HardSigmoid")
def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    return T.clamp(x * node.get("alpha", 0.2) + node.get("beta", 0.5), 0, 1)


@reads("Softplus")
def _softplus(node: Node, x: Tensor) -> Tensor:
    return T.logaddexp(x, T.zeros_like(x))


@reads("Shrink")
def _shrink(node: Node, x: Tensor) -> Tensor:
    lambd, bias = node.get("lambd", 0.5), node.get("bias", 0.0)
    return T.where(x < -lambd, x + bias, T.where(x > lambd, x - bias, T.zeros_like(x)))


@reads("ThresholdedRelu")
def _thresholded(node: Node, x: Tensor) -> Tensor:
    return F.threshold(x, node.get("alpha", 1.0), 0.0)


def _softmax(fn: Callable[..., Tensor]) -> Callable[..., Any]:
    def read(node: Node, x: Tensor) -> Tensor:
        if node.opset >= 13:
            return fn(x, dim=node.get("axis", -1))
        axis = node.get("axis", 1) % x.dim()  # before, all dimensions from it on were one
        return fn(x.flatten(axis), dim=-1).reshape(x.shape)

    return read


reads("Softmax")(_softmax(F.softmax))
reads("LogSoftmax")(_softmax(F.log_softmax))


@reads("Dropout")
def _dropout(node: Node, x: Tensor, *rest: Any) -> Any:
    return (x, T.ones_like(x).bool()) if len(node.outputs) > 1 else x


# ---- shapes ----------------------------------------------------------------------------------------------------------


@reads("Shape")
def _shape(node: Node, x: Tensor) -> np.ndarray:
    return np.array(x.shape, np.int64)[slice(node.get("start", 0), node.get("end"))]


@reads("Size")
def _size(node: Node, x: Tensor) -> np.ndarray:
    return np.array(x.numel(), np.int64)


@reads("Reshape")
def _reshape(node: Node, x: Any, shape: Any) -> Tensor:
    told = ints(shape)
    if not node.get("allowzero", 0):
        told = [x.shape[k] if n == 0 else n for k, n in enumerate(told)]
    return x.reshape(told)


@reads("Flatten")
def _flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    return x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1)


@reads("Transpose")
def _transpose(node: Node, x: Tensor) -> Tensor:
    return x.permute(node.get("perm") or list(range(x.dim()))[::-1])


def _axes(node: Node, axes: Any) -> list[int] | None:
    """Axes, which were attributes in older operator sets."""
    if axes is None:
        return node.get("axes")
    return ints(axes)


@reads("Unsqueeze")
def _unsqueeze(node: Node, x: Any, axes: Any = None) -> Tensor:
    told = _axes(node, axes) or []
    rank = x.dim() + len(told)
    for a in sorted(a % rank for a in told):
        x = x.unsqueeze(a)
    return x


@reads("Squeeze")
def _squeeze(node: Node, x: Any, axes: Any = None) -> Tensor:
    told = _axes(node, axes)
    return x.squeeze() if told is None else x.squeeze(tuple(told))


@reads("Expand")
def _expand(node: Node, x: Any, shape: Any) -> Tensor:
    (x,) = tensors(x)
    return x.expand(T.broadcast_shapes(tuple(x.shape), tuple(ints(shape))))


@reads("Tile")
def _tile(node: Node, x: Any, repeats: Any) -> Tensor:
    return x.repeat(ints(repeats))


@reads("Concat")
def _concat(node: Node, *xs: Any) -> Tensor:
    return T.cat(tensors(*xs), node.get("axis"))


@reads("Split")
def _split(node: Node, x: Tensor, sizes: Any = None) -> Any:
    axis, n = node.get("axis", 0), len(node.outputs)
    told = node.get("split") if sizes is None else ints(sizes)
    if told is None:
        told = -(-x.shape[axis] // (node.get("num_outputs") or n))
    return x.split(told, axis)


@reads("Slice")
def _slice(node: Node, x: Tensor, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Tensor:
    starts, ends = (node.get(n) if v is None else ints(v) for n, v in (("starts", starts), ("ends", ends)))
    told = _axes(node, axes) or range(len(starts))
    by = [1] * len(starts) if steps is None else ints(steps)
    for start, end, axis, step in zip(starts, ends, told, by, strict=True):
        axis %= x.dim()
        low, high, step = slice(start, end, step).indices(x.shape[axis])
        if step < 0:  # the same elements from the other end
            count = max(0, -(-(low - high) // -step))
            first = low + (count - 1) * step if count else 0
            low, high, step = first, (low + 1 if count else first), -step
            x = x[(slice(None),) * axis + (slice(low, high, step),)].flip(axis)
        else:
            x = x[(slice(None),) * axis + (slice(low, high, step),)]
    return x


@reads("ConstantOfShape")
def _constant_of_shape(node: Node, shape: Any) -> Tensor:
    value = np.asarray(node.get("value", np.zeros(1, np.float32))).reshape(-1)[0]
    return T.full(ints(shape), value.item(), dtype=from_numpy_dtype(np.asarray(value).dtype))


@reads("Range")
def _range(node: Node, start: Any, end: Any, step: Any) -> Tensor:
    first = start if isinstance(start, np.ndarray) else start.numpy()
    return T.arange(*[np.asarray(v).item() if isinstance(v, np.ndarray) else v.item() for v in (start, end, step)],
                    dtype=from_numpy_dtype(first.dtype))  # fmt: skip


@reads("Trilu")
def _trilu(node: Node, x: Any, k: Any = None) -> Tensor:
    return (T.triu if node.get("upper", 1) else T.tril)(x, 0 if k is None else ints(k)[0])


@reads("EyeLike")
def _eye_like(node: Node, x: Tensor) -> Tensor:
    return T.eye(*x.shape, dtype=x.dtype)


@reads("DepthToSpace")
def _depth_to_space(node: Node, x: Tensor) -> Tensor:
    r = node.get("blocksize")
    if node.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, r)
    n, c, h, w = x.shape
    y = x.reshape(n, r, r, c // (r * r), h, w).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(n, c // (r * r), h * r, w * r)


@reads("SpaceToDepth")
def _space_to_depth(node: Node, x: Tensor) -> Tensor:
    r = node.get("blocksize")
    n, c, h, w = x.shape
    return x.reshape(n, c, h // r, r, w // r, r).permute(0, 3, 5, 1, 2, 4).reshape(n, c * r * r, h // r, w // r)


# ---- indexing --------------------------------------------------------------------------------------------------------


@reads("Gather")
def _gather(node: Node, x: Any, index: Any) -> Tensor:
    x, index = tensors(x, index)
    axis = node.get("axis", 0) % x.dim()
    return x[(slice(None),) * axis + (index.long(),)]


def _counted(index: Tensor, n: int) -> Tensor:
    """Indices from the front."""
    index = index.long()
    return T.where(index < 0, index + n, index)


@reads("GatherElements")
def _gather_elements(node: Node, x: Any, index: Any) -> Tensor:
    x, index = tensors(x, index)
    axis = node.get("axis", 0)
    return T.gather(x, axis, _counted(index, x.shape[axis]))


@reads("GatherND")
def _gather_nd(node: Node, x: Any, index: Any) -> Tensor:
    if node.get("batch_dims", 0):
        raise node.refuse("batch_dims are not read")
    x, index = tensors(x, index)
    return x[tuple(index.long().unbind(-1))]


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@reads("ScatterElements")
def _scatter_elements(node: Node, x: Any, index: Any, updates: Any) -> Tensor:
    x, index, updates = tensors(x, index, updates)
    axis, how = node.get("axis", 0), node.get("reduction", "none")
    at = _counted(index, x.shape[axis])
    return T.scatter(x, axis, at, updates) if how == "none" else T.scatter_reduce(
        x, axis, at, updates, _REDUCTIONS[how])  # fmt: skip


@reads("ScatterND")
def _scatter_nd(node: Node, x: Any, index: Any, updates: Any) -> Tensor:
    how = node.get("reduction", "none")
    if how not in ("none", "add"):
        raise node.refuse(f"reduction {how!r} is not read")
    x, index, updates = tensors(x, index, updates)
    return x.index_put(tuple(index.long().unbind(-1)), updates, accumulate=how == "add")


@reads("OneHot")
def _one_hot(node: Node, index: Any, depth: Any, values: Any) -> Tensor:
    (index,) = tensors(index)
    n = ints(depth)[0]
    off, on = np.asarray(values if isinstance(values, np.ndarray) else values.numpy())
    hot = _counted(index, n).unsqueeze(-1) == T.arange(n)
    found = T.where(hot, tensor(on), tensor(off))
    return found.movedim(-1, node.get("axis", -1))


@reads("NonZero")
def _nonzero(node: Node, x: Tensor) -> Tensor:
    return T.nonzero(x).t()


# ---- reductions, sorting, products -----------------------------------------------------------------------------------


def _reduction(fn: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[..., Any]:
    def read(node: Node, x: Any, axes: Any = None) -> Tensor:
        (x,) = tensors(x)
        told = _axes(node, axes)
        if not told:
            if node.get("noop_with_empty_axes", 0):
                return x
            told = list(range(x.dim()))
        return fn(x, told, bool(node.get("keepdims", 1)))

    return read


def _product(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    for a in sorted((a % x.dim() for a in axes), reverse=True):
        x = T.prod(x, a, keepdim=keepdim)
    return x


for _kind, _fn in {
    "ReduceSum": lambda x, a, k: T.sum(x, a, keepdim=k).to(x.dtype), "ReduceMean": lambda x, a, k: T.mean(x, a, k),
    "ReduceMax": T.amax, "ReduceMin": T.amin, "ReduceProd": _product,
    "ReduceL1": lambda x, a, k: T.sum(T.abs(x), a, keepdim=k),
    "ReduceL2": lambda x, a, k: T.norm(x, 2, a, k), "ReduceSumSquare": lambda x, a, k: T.sum(x * x, a, keepdim=k),
    "ReduceLogSumExp": lambda x, a, k: T.logsumexp(x, a, k),
    "ReduceLogSum": lambda x, a, k: T.log(T.sum(x, a, keepdim=k)),
}.items():  # fmt: skip
    reads(_kind)(_reduction(_fn))


@reads("ArgMax", "ArgMin")
def _argmax(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 0)
    fn = T.argmax if node.kind == "ArgMax" else T.argmin
    found = fn(x.flip(axis) if node.get("select_last_index", 0) else x, axis, keepdim=bool(node.get("keepdims", 1)))
    return x.shape[axis] - 1 - found if node.get("select_last_index", 0) else found


@reads("TopK")
def _topk(node: Node, x: Tensor, k: Any = None) -> Any:
    n = node.get("k") if k is None else ints(k)[0]
    return tuple(T.topk(x, n, node.get("axis", -1), bool(node.get("largest", 1)), bool(node.get("sorted", 1))))


@reads("CumSum")
def _cumsum(node: Node, x: Tensor, axis: Any) -> Tensor:
    dim = ints(axis)[0]
    if node.get("reverse", 0):
        x = x.flip(dim)
    found = T.cumsum(x, dim).to(x.dtype)
    found = found - x if node.get("exclusive", 0) else found
    return found.flip(dim) if node.get("reverse", 0) else found


@reads("Einsum")
def _einsum(node: Node, *xs: Any) -> Tensor:
    return T.einsum(node.get("equation"), *tensors(*xs))


@reads("Gemm")
def _gemm(node: Node, x: Tensor, y: Tensor, c: Any = None) -> Tensor:
    x = x.t() if node.get("transA", 0) else x
    y = y.t() if node.get("transB", 0) else y
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    found = x @ y if alpha == 1 else alpha * (x @ y)
    return found if c is None else found + (c if beta == 1 else beta * c)
