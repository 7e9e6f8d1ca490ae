"""PyTorch's names of the steps of a backward graph, and which arguments they lead on to."""

from __future__ import annotations

from typing import Any

from ..engine.trie import Call
from ._node_losses import LOSSES
from ._node_steps import STEPS, Step, arguments, arguments_of

#: Mark of the operations that stand for a custom function.
CUSTOM = "custom function"

#: Operation -> the stem of its node's name, where it is not the operation's own.
_STEMS = {
    "alias": "Clone", "reshape": "View", "flatten": "View", "unflatten": "View", "view_as": "View", "ravel": "View",
    "conv1d": "Convolution", "conv2d": "Convolution", "conv3d": "Convolution", "conv_transpose1d": "Convolution",
    "conv_transpose2d": "Convolution", "conv_transpose3d": "Convolution", "batch_norm": "NativeBatchNorm",
    "max_pool2d": "MaxPool2DWithIndices",
    "max_pool3d": "MaxPool3DWithIndices",
    "avg_pool2d": "AvgPool2D", "avg_pool3d": "AvgPool3D",
    "adaptive_max_pool2d": "AdaptiveMaxPool2D", "to_dtype": "ToCopy",
    "bmm": "Bmm", "concat": "Cat", "concatenate": "Cat", "true_divide": "Div", "multiply": "Mul", "subtract": "Sub",
    "square": "Pow", "negative": "Neg", "absolute": "Abs", "relu6": "Hardtanh",
    "scaled_dot_product_attention": "ScaledDotProductFlashAttentionForCpu", "norm": "LinalgVectorNorm",
    "vector_norm": "LinalgVectorNorm", "mse_loss": "MseLoss", "moveaxis": "Permute",
    "movedim": "Permute", "swapaxes": "Transpose", "swapdims": "Transpose", "mT": "Transpose", "T": "Permute",
    "matrix_power": "Mm", "expand_as": "Expand", "broadcast_to": "Expand", "narrow": "Slice", "chunk": "Split",
    "tensor_split": "Slice", "hstack": "Cat", "vstack": "Cat", "dstack": "Cat",
    "tile": "Repeat", "logit": "Logit", "pixel_shuffle": "PixelShuffle", "take_along_dim": "Gather", "conj": "Conj",
    "masked_fill": "MaskedFill", "upsample": "UpsampleNearest2D", "copy_from": "Copy",
    "adaptive_max_pool3d": "AdaptiveMaxPool3D", "logsigmoid": "LogSigmoid", "selu": "Elu", "rrelu": "RreluWithNoise",
    "fold": "Col2Im", "inv": "LinalgInvEx", "inverse": "LinalgInvEx", "cholesky": "LinalgCholeskyEx",
    "det": "LinalgDet", "solve": "LinalgSolveEx", "svd": "LinalgSvd", "eigh": "LinalgEigh", "qr": "LinalgQr",
    "slogdet": "LinalgSlogdet", "rdiv": "Mul",
}  # fmt: skip

#: Operations whose node notes the shape of what it takes.
_SIZED = frozenset("""split reshape view view_as ravel flatten unflatten expand expand_as broadcast_to sum mean squeeze
    repeat index_select index getitem""".split())  # fmt: skip
#: Arguments that count dims; PyTorch notes negative ones as unsigned numbers.
_DIMS = ("dim", "dims", "dim0", "dim1")

#: Reductions whose node is numbered by whether a dimension was given: operation -> (without, with).
_BY_DIM = {
    "sum": (0, 1), "mean": (0, 1), "prod": (0, 1), "max": (1, 0), "min": (1, 0), "median": (0, 1), "nanmedian": (0, 1),
    "squeeze": (0, 1), "var": (0, 0), "std": (0, 0),
}  # fmt: skip


#: Operations for which PyTorch makes a tensor of a number that is an operand: a next function, too.
_WITH_NUMBERS = {"add", "sub", "mul", "div", "subtract", "multiply", "divide", "true_divide"}


def noted(call: Call, told: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a call, ``told`` by name, with what PyTorch's node notes under names of its own."""
    op = call.op.name.strip("_")
    told = dict(told)
    if op == "split":
        sizes = told["sizes"]
        told |= {"split_size": sizes[0]} if _even(sizes) else {"split_sizes": sizes}
    elif op == "getitem":
        spec = told["spec"]
        steps = [(dim, item) for dim, item in enumerate(spec) if item != ":"]
        if len(steps) == 1 and steps[0][1] is not None:  # several are several nodes there
            ((dim, item),), (start, *_) = steps, told["starts"]
            if item == "i":
                told |= {"dim": dim, "index": start}
            else:
                length, step = item
                end = min(start + length * step, call.metas[0].shape[dim])
                told |= {"dim": dim, "start": start, "end": end, "step": step}
    if op in _SIZED and call.metas:
        told["self_sym_sizes"] = call.metas[0].shape
    for name in _DIMS:
        dim = told.get(name)
        if type(dim) is tuple and all(type(d) is int for d in dim):
            told[name] = tuple([d % _UNSIGNED for d in dim])
        elif type(dim) is int:
            told[name] = (dim % _UNSIGNED,) if op in ("sum", "mean", "roll") else dim % _UNSIGNED
    return told


_UNSIGNED = 2**64


def _even(sizes: tuple) -> bool:
    """Whether parts are those of one size, of which the last may have less."""
    return all(n == sizes[0] for n in sizes[:-1]) and sizes[-1] <= sizes[0]


def stem(op: str) -> str:
    """'log_softmax' -> 'LogSoftmax'."""
    found = _STEMS.get(op.strip("_"))
    if found is not None:
        return found
    return "".join(part[:1].upper() + part[1:] for part in op.strip("_").replace(" ", "_").split("_"))


def name_of(call: Call) -> str:
    """The name of the node of a recorded call."""
    op = call.op.name
    if op.endswith("_put"):
        return "torch::autograd::CopySlices"
    short = op.strip("_")
    steps = steps_of(call)
    if steps is not None:
        return steps.name
    if short == "split" and not _even(call.static[0]):
        return "SplitWithSizesBackward0"
    if short in _BY_DIM:
        told = arguments_of(call)
        dim = told.get("dim", told.get("axis"))
        return f"{stem(op)}Backward{_BY_DIM[short][0 if dim is None or dim == () else 1]}"
    if short == "pow":
        return f"PowBackward{0 if len(call.metas) == 1 else 1}"
    if short == "masked_fill":
        return f"MaskedFillBackward{0 if len(call.metas) < 3 else 1}"
    if short == "clamp":
        return "ClampBackward1" if len(call.metas) == 1 else "ClampBackward0"
    if short == "rpow":
        return "PowBackward2"
    if short == "rsub":
        return "RsubBackward1"
    if short.endswith((" backward", " forward")):
        return stem(short)
    return stem(op) + "Backward0"


def steps_of(call: Call) -> Step | None:
    """The steps of what PyTorch makes of several, and of what is named by the shapes of its arguments."""
    name = call.op.name.strip("_")
    made = STEPS.get(name) or LOSSES.get(name)
    return None if made is None else made(call)


def edges_of(call: Call, edge: Any, make: Any) -> tuple:
    """``next_functions`` of a call.

    ``edge(slot)`` gives that of an argument, ``make(name, path, edges)`` a node in between, ``path`` telling these from
    each other.  Where PyTorch makes several steps of what is one operation here, the usual ones are shown as it shows
    them.
    """
    edges = [edge(s) for s in call.slots]
    steps = steps_of(call)
    if steps is not None:
        return _between(steps, edges, make, ())
    name = call.op.name.strip("_")
    if name == "batch_norm":
        return tuple(edges[:3])  # running statistics have no place among them
    if len(edges) == 1 and name in _WITH_NUMBERS:
        return edges[0], NOTHING
    # indices and masks have no gradient, and no place among PyTorch's next functions
    return tuple([e for e, m in zip(edges, call.metas, strict=True) if m.dtype.kind not in "biu"])


def _between(step: Step, edges: list, make: Any, path: tuple) -> tuple:
    """What a step leads on to; a step that leads to nothing is not made."""
    out = []
    for at, after in enumerate(step.after):
        if type(after) is int:
            out.append(edges[after])
        elif after is None or not _leads(after, edges):
            out.append(NOTHING)
        else:
            here = (*path, at)
            out.append((make(after.name, here, lambda after=after, here=here: _between(after, edges, make, here)), 0))
    return tuple(out)


def _leads(step: Step, edges: list) -> bool:
    return any(edges[a][0] is not None if type(a) is int else a is not None and _leads(a, edges) for a in step.after)


#: The place of an argument without a gradient.
NOTHING = (None, 0)

__all__ = ["CUSTOM", "arguments", "edges_of", "name_of", "noted", "stem"]
