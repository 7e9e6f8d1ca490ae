"""What all derivatives of functions of tensors have in common, and ``grad``, ``vjp``, ``jvp``, ``linearize``.

Derivatives go along the tape of ordinary autograd.  The function runs once for each call of the transformed one, on
tensors of its own that are connected to the arguments (:func:`watched`); a reverse pass, or a forward pass, from its
results to these tensors is recorded like any other operation.  So values may be read inside, hooks and custom functions
work, programs are cached as those of any recorded work are, and levels nest without knowing of each other: what is
differentiated again is recorded step by step (``create_graph``), which is the case where anything but the function's
own tensors lies behind its result (:meth:`Watched.others`).  Under ``vmap`` the same happens inside a nested recording.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..engine import Leaf, Value, get_mode, local, record, set_mode
from ..engine import backward as engine_backward
from ..engine.forward import behind, push
from ..engine.trace import derives
from ..tensor import Tensor
from ..tensor import functions as T
from ..tensor._values import SAME, _as_leaf, _plain
from ..utils._pytree import TreeSpec, tree_flatten, tree_map_only, tree_unflatten

Argnums = int | tuple[int, ...]


@contextlib.contextmanager
def transforming(name: str, grad: bool = False) -> Iterator[None]:
    """While the function of a transformation runs; ``grad``: with the tape on."""
    local.transforms.append(name)
    before = get_mode()
    if grad:
        set_mode(before.replace(grad=True, inference=False))
    try:
        yield
    finally:
        local.transforms.pop()
        if grad:
            set_mode(get_mode().replace(grad=before.grad, inference=before.inference))


class Watched:
    """Tensors to differentiate by, made of arguments: ``tensors`` to pass to the function, ``values`` their handles.

    outer: whether the tape was on outside, so that results may be differentiated further.
    """

    def __init__(self, arguments: Sequence[Tensor]) -> None:
        """Raises ValueError for what is no tensor, RuntimeError for dtypes that have no gradients."""
        for x in arguments:
            if not isinstance(x, Tensor):
                raise ValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
            if not (x.is_floating_point() or x.is_complex()):
                raise RuntimeError(f"only Tensors of floating point dtype can require gradients, got {x.dtype}")
        derives([x._get() for x in arguments])
        mode = get_mode()
        self.outer = mode.grad
        self.leaves: set[Leaf] = set()
        self.values: list[Value] = []
        set_mode(mode.replace(grad=True, inference=False))
        try:
            for x in arguments:
                value = x._get()
                if not (self.outer and value.meta.grad):
                    leaf = Leaf()
                    self.leaves.add(leaf)
                    value = _as_leaf(_plain(value), leaf)
                self.values.append(record(SAME, (), (value,)))
        finally:
            set_mode(mode)

    def tensors(self) -> list[Tensor]:
        return [Tensor._of(v) for v in self.values]

    def others(self, value: Value) -> bool:
        """Whether something that is differentiated outside lies behind a result."""
        return self.outer and value.meta.grad != 0 and any(s not in self.leaves for s in behind(value))

    def unwrap(self, tree: Any) -> Any:
        """Results without the graph that only led to our own tensors."""
        return tree_map_only(Tensor, self._unwrapped, tree)

    def _unwrapped(self, t: Tensor) -> Tensor:
        value = t._get()
        return t if not value.meta.grad or self.others(value) else Tensor._of(_plain(value))


def reverse(watched: Watched, outs: Sequence[Tensor], seeds: Sequence[Tensor | None], retain: bool) -> list[Tensor]:
    """Gradients by all of ``watched``, zeros where there are none."""
    roots, given = [], []
    for out, seed in zip(outs, seeds, strict=True):
        value = out._get()
        if value.meta.grad:
            roots.append(value)
            given.append(None if seed is None else seed._get())
    grads: list[Value | None] = [None] * len(watched.values)
    if roots:
        create = watched.outer and (
            any(watched.others(r) for r in roots) or any(g is not None and g.meta.grad for g in given)
        )
        _, grads = engine_backward(roots, given, watched.values, retain or create, create)
        if not create:
            grads = [None if g is None else _plain(g) for g in grads]
    return _filled(grads, watched.values)


def _filled(values: Sequence[Value | None], like: Sequence[Value]) -> list[Tensor]:
    return [
        Tensor._of(v) if v is not None else T.zeros_like(Tensor._of(_plain(x)))
        for v, x in zip(values, like, strict=True)
    ]  # fmt: skip


# ---- arguments -------------------------------------------------------------------------------------------------


def chosen(args: tuple, argnums: Any) -> tuple[Any, Callable[[Any], tuple]]:
    """The arguments to differentiate by, as given for an int, as a tuple for several; and how to put them back."""
    if isinstance(argnums, bool) or not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    if isinstance(argnums, tuple):
        if not argnums:
            raise RuntimeError("argnums must be non-empty")
        if not all(isinstance(k, int) for k in argnums):
            raise RuntimeError(f"argnum elements must be int, got {[type(k) for k in argnums]}")
    numbers = (argnums,) if isinstance(argnums, int) else argnums
    places = []
    for k in numbers:
        if not -len(args) <= k < len(args):
            raise RuntimeError(f"Got argnum={k}, but only {len(args)} positional inputs")
        places.append(k % len(args))
    if len(set(places)) < len(places):
        raise RuntimeError(f"argnums elements must be unique, got {numbers}")

    def put(parts: Any) -> tuple:
        out = list(args)
        for k, p in zip(places, (parts,) if isinstance(argnums, int) else parts, strict=True):
            out[k] = p
        return tuple(out)

    parts = args[places[0]] if isinstance(argnums, int) else tuple(args[k] for k in places)
    return parts, put


def with_aux(out: Any, what: str) -> tuple[Any, Any]:
    """(output, aux) of a function that has_aux."""
    if not (isinstance(out, tuple) and len(out) == 2):
        raise RuntimeError(f"{what}: output of function f should be a tuple: (output, aux) if has_aux is True")
    return out


def only_tensors(tree: Any, what: str) -> tuple[list[Tensor], TreeSpec]:
    """The results of a function, all of which must be tensors."""
    leaves, spec = tree_flatten(tree)
    if all(x is None for x in leaves):
        raise RuntimeError(f"{what}: Expected f to be a function that has non-empty output (got output = {leaves})")
    for x in leaves:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"{what}: expected f(*primals) to return only tensors, got unsupported type {type(x)}")
    return leaves, spec


# ---- the transformations ---------------------------------------------------------------------------------------


def grad_and_value(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns (gradient, value) of ``func``, or (gradient, (value, aux)) with ``has_aux``.

    func:     returns a tensor of one element without dimensions; with ``has_aux`` a tuple (that, anything else).
    argnums:  which positional arguments to differentiate by, an int or a tuple of them (the gradient is a tuple then);
              each may be a nested container of tensors, and so is the gradient.

    The gradient is differentiable itself, by the arguments and by tensors that ``func`` refers to.
    Raises:  RuntimeError if the output is no scalar tensor, or argnums do not fit; ValueError if an argument to
             differentiate by holds something else than tensors.
    """
    what = "grad_and_value(f)(*args)"

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        parts, put = chosen(args, argnums)
        flat, spec = tree_flatten(parts)
        watched = Watched(flat)
        with transforming("grad", grad=True):
            out = func(*put(tree_unflatten(watched.tensors(), spec)), **kwargs)
            aux = None
            if has_aux:
                out, aux = with_aux(out, what)
            if not isinstance(out, Tensor):
                raise RuntimeError(f"{what}: Expected f(*args) to return a Tensor, got {type(out)}")
            if out.dim() != 0:
                raise RuntimeError(
                    f"{what}: Expected f(*args) to return a scalar Tensor, got tensor with {out.dim()} dims. Maybe you "
                    "wanted to use the vjp or jacrev APIs instead?"
                )
            if out.is_complex():
                raise RuntimeError(
                    f"{what}: grad can be implicitly created only for real scalar outputs but got {out.dtype}; take "
                    "the real part, or use vjp"
                )
            value, told = watched.unwrap(out), watched.unwrap(aux)
            keep = any(isinstance(t, Tensor) and t.requires_grad for t in (value, *tree_flatten(told)[0]))
            grads = reverse(watched, [out], [None], keep)
        if not watched.outer:
            value, told = _detached(value), _detached(told)
        grads = tree_unflatten([t if watched.outer else _detached(t) for t in grads], spec)
        return (grads, (value, told)) if has_aux else (grads, value)

    return wrapper


def _detached(tree: Any) -> Any:
    return tree_map_only(Tensor, lambda t: Tensor._of(_plain(t._get())) if t.requires_grad else t, tree)


def grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of ``func``, or (gradient, aux) with ``has_aux``; see grad_and_value."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        grads, value = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapper


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """(output, vjp_fn), or (output, vjp_fn, aux) with ``has_aux``: ``func(*primals)`` and its pullback.

    ``vjp_fn(cotangents)`` takes a tree of the output's structure, and returns a tuple of the gradients by the primals.
    It may be called again, under ``vmap`` too, and is differentiable.

    Raises:  RuntimeError if an output is no tensor or cotangents do not fit in structure or shape; ValueError if a
             primal holds something else than tensors.
    """
    flat, spec = tree_flatten(primals)
    watched = Watched(flat)
    with transforming("vjp", grad=True):
        out = func(*tree_unflatten(watched.tensors(), spec))
        aux = None
        if has_aux:
            out, aux = with_aux(out, "vjp(f, *primals)")
        outs, out_spec = only_tensors(out, "vjp(f, *primals)")
        result, told = watched.unwrap(out), watched.unwrap(aux)
    if not watched.outer:
        result, told = _detached(result), _detached(told)

    def pullback(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        return _pull(watched, outs, out_spec, cotangents, spec, retain_graph, create_graph)

    return (result, pullback, told) if has_aux else (result, pullback)


def _pull(watched: Watched, outs: list[Tensor], out_spec: TreeSpec, cotangents: Any, spec: TreeSpec, retain: bool,
          create: bool | None) -> Any:  # fmt: skip
    given, given_spec = tree_flatten(cotangents)
    if given_spec != out_spec:
        raise RuntimeError(
            "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the function. "
            f"cotangents: {given_spec}, primal output: {out_spec}"
        )
    seeds = []
    for k, (c, out) in enumerate(zip(given, outs, strict=True)):
        if not isinstance(c, Tensor):
            raise RuntimeError(f"vjp_fn(cotangents): expected Tensors as cotangents, got {type(c)} for output {k}")
        if c.shape != out.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{k}] has a shape of {c.shape} and output[{k}] has a shape of "
                f"{out.shape}."
            )
        seeds.append(c if c.dtype == out.dtype else c.to(out.dtype))
    goes_on = get_mode().grad if create is None else create
    before = get_mode()
    set_mode(before.replace(grad=True, inference=False))
    try:
        grads = reverse(watched, outs, seeds, retain)
    finally:
        set_mode(get_mode().replace(grad=before.grad, inference=before.inference))
    if not goes_on:
        grads = [_detached(g) for g in grads]
    return tree_unflatten(grads, spec)


def jvp(func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
    """(output, its tangent), or (output, tangent, aux) with ``has_aux``: ``func`` at ``primals`` along ``tangents``.

    primals, tangents:  tuples of the same structure and shapes.
    strict:   raise where the output does not depend on the primals, instead of a tangent of zeros.

    Differs:  in PyTorch tangents pass through ``no_grad``; here they stop there, as gradients do.
    Raises:   RuntimeError if primals is no tuple, holds no tensor or something else, tangents do not fit, or an output
              is no tensor.
    """
    what = "jvp(f, primals, tangents)"
    flat, spec, moving = _moving(primals, tangents, what)
    watched = Watched(flat)
    with transforming("jvp", grad=True):
        out = func(*tree_unflatten(watched.tensors(), spec))
        aux = None
        if has_aux:
            out, aux = with_aux(out, what)
        outs, out_spec = only_tensors(out, what)
        moved = _pushed(watched, moving, outs, strict, what)
        result, told = watched.unwrap(out), watched.unwrap(aux)
        moved = [watched.unwrap(t) for t in moved]
    if not watched.outer:
        result, told, moved = _detached(result), _detached(told), [_detached(t) for t in moved]
    tangent = tree_unflatten(moved, out_spec)
    return (result, tangent, told) if has_aux else (result, tangent)


def _moving(primals: Any, tangents: Any, what: str) -> tuple[list[Tensor], TreeSpec, list[Tensor]]:
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{what}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    flat, spec = tree_flatten(primals)
    given, given_spec = tree_flatten(tangents)
    if spec != given_spec:
        raise RuntimeError(
            f"{what}: Expected primals and tangents to have the same python structure. For example, if primals is a "
            f"tuple of 3 tensors, tangents also must be. Got primals with structure {spec} and tangents with structure "
            f"{given_spec}"
        )
    for name, leaves in (("primals", flat), ("tangents", given)):
        if not leaves:
            raise RuntimeError(f"{what}: Expected {name} to contain at least one Tensor.")
        for x in leaves:
            if not isinstance(x, Tensor):
                raise RuntimeError(f"{what}: Expected {name} to only contain Tensors, got {type(x)}")
    for x, t in zip(flat, given, strict=True):
        if x.shape != t.shape:
            raise RuntimeError(
                "Trying to set a forward gradient that has a different size than that of the original Tensor, this is "
                f"not supported. Tensor is of size {list(x.shape)} while the given forward gradient is of size "
                f"{list(t.shape)}."
            )
        if not (x.is_floating_point() or x.is_complex()):
            raise ValueError(f"Expected primal to be floating point or complex, but got: {x.dtype}")
    return flat, spec, given


def _pushed(watched: Watched, moving: Sequence[Tensor], outs: Sequence[Tensor], strict: bool,
            what: str) -> list[Tensor]:  # fmt: skip
    sources = watched.values
    tangents = [
        (t if t.dtype.numpy == v.meta.dtype else t.to(Tensor._of(v).dtype))._get()
        for t, v in zip(moving, sources, strict=True)
    ]
    values = [o._get() for o in outs]
    found = push(sources, tangents, values)
    if strict and any(t is None for t in found):
        raise RuntimeError(
            f"{what.removesuffix(')')}, strict=True): The output of f is independent of the inputs. This is not "
            "allowed with strict=True."
        )
    return _filled(found, values)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """(output, jvp_fn): ``func(*primals)``, and its derivative there as a linear function of tangents.

    ``func`` is called once; ``jvp_fn(*tangents)`` goes along what it recorded.

    Raises:  RuntimeError if tangents do not fit the primals in structure or shape, or an output is no tensor.
    """
    flat, spec = tree_flatten(primals)
    watched = Watched(flat)
    with transforming("linearize", grad=True):
        out = func(*tree_unflatten(watched.tensors(), spec))
        outs, out_spec = only_tensors(out, "linearize(f, *primals)")
        result = watched.unwrap(out)
    if not watched.outer:
        result = _detached(result)

    def jvp_fn(*tangents: Any) -> Any:
        given, given_spec = tree_flatten(tangents)
        if given_spec != spec:
            raise RuntimeError(
                f"Expected the tangents {given_spec} to have the same argspec as the primals {spec}"
            )
        for k, (t, x) in enumerate(zip(given, flat, strict=True)):
            if t.shape != x.shape:
                raise RuntimeError(
                    f"tangent:{k} with shape {t.shape} in flattened pytree doesn't match the shape {x.shape} of the "
                    "corresponding primal."
                )
        with transforming("linearize", grad=True):
            moved = [watched.unwrap(t) for t in _pushed(watched, given, outs, False, "jvp_fn(*tangents)")]
        return tree_unflatten(moved if get_mode().grad else [_detached(t) for t in moved], out_spec)

    return result, jvp_fn


__all__ = ["Watched", "chosen", "grad", "grad_and_value", "jvp", "linearize", "only_tensors", "transforming", "vjp",
           "with_aux"]  # fmt: skip
