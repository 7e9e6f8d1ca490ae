"""Products with Jacobians and Hessians, and these themselves, of functions of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from ..tensor import functions as T
from . import forward_ad
from .mode import enable_grad
from .passes import grad as _grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _tuple(x: Any, what: str, fn: str) -> tuple[tuple[Tensor, ...], bool]:
    """(tensors as a tuple, whether there was only one); TypeError for anything else."""
    single = not isinstance(x, tuple)
    out = (x,) if single else x
    for i, t in enumerate(out):
        if not isinstance(t, Tensor):
            where = f"The {what} given to {fn}" if what == "inputs" else f"The {what} of {fn}"
            raise TypeError(
                f"{where} must be either a Tensor or a tuple of Tensors but the value"
                f"{'' if single else f' at index {i}'} has type {type(t)}."
            )
    return out, single


def _prepared(inputs: tuple, create_graph: bool) -> tuple[Tensor, ...]:
    """Tensors to differentiate by: parts of the caller's graph, or leaves of their own."""
    return tuple(
        x.view_as(x) if create_graph and x.requires_grad else x.detach().clone().requires_grad_(True) for x in inputs
    )


def _finished(x: Any, create_graph: bool) -> Any:
    if isinstance(x, tuple):
        return tuple(_finished(t, create_graph) for t in x)
    return x if create_graph or not isinstance(x, Tensor) else x.detach()


def _check_outputs(outputs: tuple, fn: str, strict: bool) -> None:
    if not strict:
        return
    for i, o in enumerate(outputs):
        if not o.requires_grad:
            raise RuntimeError(
                f"Output {i} of the user-provided function does not require gradients. The outputs must be computed in "
                f"a differentiable manner from the input when running in strict mode."
            )


def _filled(grads: tuple, like: tuple, strict: bool, stage: str) -> tuple[Tensor, ...]:
    """Gradients with zeros in place of None; RuntimeError for None in strict mode."""
    out = []
    for i, (g, x) in enumerate(zip(grads, like, strict=True)):
        if g is None:
            if strict:
                raise RuntimeError({
                    "back": f"The output of the user-provided function is independent of input {i}. This is not "
                            "allowed in strict mode.",
                    "double": f"The jacobian of the user-provided function is independent of input {i}. This is not "
                              "allowed in strict mode when create_graph=True.",
                }[stage])  # fmt: skip
            g = T.zeros_like(x)
        out.append(g)
    return tuple(out)


def _backed(outputs: tuple, inputs: tuple, v: tuple | None, create: bool, strict: bool, stage: str = "back") -> tuple:
    """Gradients of those outputs that have any."""
    used = [k for k, o in enumerate(outputs) if o.requires_grad]
    if not used:
        return _filled((None,) * len(inputs), inputs, strict, stage)
    found = _grad(
        [outputs[k] for k in used], inputs, None if v is None else [v[k] for k in used], create_graph=create,
        allow_unused=True, retain_graph=True,
    )  # fmt: skip
    return _filled(found, inputs, strict, stage)


def _vectors(v: Any, like: tuple, single: bool, what: str, fn: str) -> tuple[Tensor, ...] | None:
    """The user's vector, checked; None if it is not needed."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            who = "user-provided function returns" if what == "output" else "input to the user-provided function is"
            raise RuntimeError(f"The vector v can only be None if the {who} a single Tensor with a single element.")
        return None
    v, _ = _tuple(v, "v", fn)
    if len(v) != len(like):
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(v)}.")
    for k, (a, b) in enumerate(zip(v, like, strict=True)):
        if a.shape != b.shape:
            raise RuntimeError(f"v has invalid size: should be {b.shape} but got {a.shape} (entry {k}).")
    return v


def _run(func: Callable[..., Any], inputs: tuple, fn: str, strict: bool) -> tuple[tuple[Tensor, ...], bool]:
    outputs, single = _tuple(func(*inputs), "outputs", f"the user-provided function given to {fn}")
    _check_outputs(outputs, fn, strict)
    return outputs, single


def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:  # fmt: skip
    """(``func(*inputs)``, the product of ``v`` with the Jacobian): ``v`` has the shapes of the outputs.

    v: may be None for a single output of one element.   create_graph: the results can be differentiated.
    strict: RuntimeError if an output does not depend on an input; zeros otherwise.
    """
    with enable_grad():
        xs, single = _tuple(inputs, "inputs", "vjp")
        xs = _prepared(xs, create_graph)
        outputs, single_out = _run(func, xs, "vjp", strict)
        v = _vectors(v, outputs, single_out, "output", "vjp")
        found = _backed(outputs, xs, v, create_graph, strict)
    outputs, found = _finished(outputs, create_graph), _finished(found, create_graph)
    return outputs[0] if single_out else outputs, found[0] if single else found


def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:  # fmt: skip
    """(``func(*inputs)``, the product of the Jacobian with ``v``): ``v`` has the shapes of the inputs.

    Two reverse passes: the first gives a linear function of its cotangents, whose transpose is the product.
    Parameters as for :func:`vjp`.
    """
    with enable_grad():
        xs, single = _tuple(inputs, "inputs", "jvp")
        xs = _prepared(xs, create_graph)
        v = _vectors(v, xs, single, "input", "jvp")
        outputs, single_out = _run(func, xs, "jvp", strict)
        found = _pushed(outputs, xs, v, create_graph, strict)
    outputs, found = _finished(outputs, create_graph), _finished(found, create_graph)
    return outputs[0] if single_out else outputs, found[0] if single_out else found


def _pushed(outputs: tuple, xs: tuple, v: tuple | None, create: bool, strict: bool) -> tuple:
    zeros = tuple(T.zeros_like(o).requires_grad_(True) for o in outputs)
    back = _backed(outputs, xs, zeros, True, strict)
    moving = [k for k, g in enumerate(back) if g.requires_grad]
    if not moving:
        return _filled((None,) * len(outputs), outputs, strict, "back")
    ones = tuple(T.ones_like(x) for x in xs) if v is None else v
    found = _grad([back[k] for k in moving], zeros, [ones[k] for k in moving], create_graph=create, allow_unused=True)
    return _filled(found, outputs, strict, "back")


def jacobian(
    func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The Jacobian of ``func``: a tensor of ``(*output.shape, *input.shape)``, nested in tuples (outputs outside).

    vectorize: all rows in one reverse pass (not with ``strict``).   strategy: 'reverse-mode', or 'forward-mode', which
    needs ``vectorize`` and goes column by column.   create_graph, strict: as for :func:`vjp`.
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs '
            'than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode":
        if create_graph:
            raise NotImplementedError(
                "torch.autograd.functional.jacobian: `create_graph=True` and `strategy='forward-mode'` are not "
                "supported together (yet). Please either set `create_graph=False` or `strategy='reverse-mode'`."
            )
        return _jacfwd(func, inputs, strict, vectorize)
    if strict and vectorize:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. "
            "Please either set `strict=False` or `vectorize=False`."
        )
    with enable_grad():
        xs, single = _tuple(inputs, "inputs", "jacobian")
        xs = _prepared(xs, create_graph)
        outputs, single_out = _run(func, xs, "jacobian", strict)
        rows = []
        for o in outputs:
            parts = _rows(o, xs, create_graph, strict, vectorize)
            rows.append(tuple(p.reshape((*o.shape, *x.shape)) for p, x in zip(parts, xs, strict=True)))
    result = _finished(tuple(rows), create_graph)
    if single:
        result = tuple(r[0] for r in result)
    return result[0] if single_out else result


def _rows(o: Tensor, xs: tuple, create: bool, strict: bool, vectorize: bool) -> tuple:
    """The Jacobian of one output, its elements along one leading dimension."""
    n = o.numel()
    if not o.requires_grad or n == 0:
        return tuple(x.new_zeros((n, *x.shape)) for x in xs)
    if vectorize or not strict:
        units = T.eye(n, dtype=o.dtype, device=o.device).reshape((n, *o.shape))
        found = _grad(o, xs, units, create_graph=create, retain_graph=True, allow_unused=True, is_grads_batched=True)
        return tuple(x.new_zeros((n, *x.shape)) if g is None else g for g, x in zip(found, xs, strict=True))
    parts: list[list[Tensor]] = [[] for _ in xs]
    for k in range(n):
        found = _backed((o.reshape(-1)[k],), xs, None, create, strict)
        for i, g in enumerate(found):
            if strict and create and not g.requires_grad:
                raise RuntimeError(
                    f"The jacobian of the user-provided function is independent of input {i}. This is not allowed in "
                    "strict mode when create_graph=True."
                )
            parts[i].append(g)
    return tuple(T.stack(p) for p in parts)


def _jacfwd(func: Callable[..., Any], inputs: Any, strict: bool, vectorize: bool) -> Any:
    """Column by column: one forward pass for each element of the inputs."""
    if strict:
        raise RuntimeError(
            'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are not supported '
            'together. Please either set `strict=False` or `strategy="reverse-mode"`.'
        )
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only implemented for "
            "`vectorize=True`."
        )
    xs, single = _tuple(inputs, "inputs", "jacobian")
    columns: list[list[list[Tensor]]] = []
    single_out, shapes = True, []
    for i, x in enumerate(xs):
        of_input: list[list[Tensor]] = []
        for k in range(x.numel()):
            unit = T.zeros_like(x).reshape(-1)
            unit[k] = 1
            with forward_ad.dual_level():
                made = tuple(forward_ad.make_dual(t, unit.reshape(x.shape)) if j == i else t for j, t in enumerate(xs))
                outputs, single_out = _tuple(func(*made), "outputs", "the user-provided function given to jacobian")
                shapes = [o.shape for o in outputs]
                tangents = [forward_ad.unpack_dual(o).tangent for o in outputs]
                of_input.append([
                    T.zeros(o.shape, dtype=o.dtype, device=o.device) if t is None else t
                    for o, t in zip(outputs, tangents, strict=True)
                ])  # fmt: skip
        columns.append(of_input)
    result = tuple(
        tuple(
            T.stack([c[o] for c in columns[i]], dim=-1).reshape((*shape, *x.shape)) for i, x in enumerate(xs)
        )
        for o, shape in enumerate(shapes)
    )  # fmt: skip
    result = _finished(result, False)
    if single:
        result = tuple(r[0] for r in result)
    return result[0] if single_out else result


def _scalar(func: Callable[..., Any], fn: str) -> Callable[..., Any]:
    def checked(*args: Any) -> Tensor:
        out = func(*args)
        if isinstance(out, tuple) and len(out) == 1:
            out = out[0]
        if not isinstance(out, Tensor):
            raise RuntimeError(f"The function given to {fn} should return a single Tensor")
        if out.numel() != 1:
            raise RuntimeError(f"The Tensor returned by the function given to {fn} should contain a single element")
        return out.reshape(())

    return checked


def hessian(
    func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The Hessian of a function with one element as its result: ``(*input.shape, *input.shape)``, nested in tuples.

    It is the Jacobian of the gradient; parameters as for :func:`jacobian`.
    """
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')
    xs, single = _tuple(inputs, "inputs", "hessian")
    scalar = _scalar(func, "hessian")
    forward = outer_jacobian_strategy == "forward-mode"

    def gradient(*xs: Tensor) -> Any:
        if forward:
            xs = tuple(x if x.requires_grad else _leaf(x) for x in xs)
        with enable_grad():
            out = scalar(*xs)
            _check_outputs((out,), "hessian", strict)
            return _backed((out,), xs, None, True, strict)

    found = jacobian(gradient, xs, create_graph=create_graph, strict=strict, vectorize=vectorize,
                     strategy=outer_jacobian_strategy)  # fmt: skip
    return found[0][0] if single else found


def _leaf(x: Tensor) -> Tensor:
    """The tensor, tangent included, as one that requires gradients."""
    zero = T.zeros_like(x).requires_grad_(True)
    return x + zero


def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:  # fmt: skip
    """(``func(*inputs)``, the product of ``v`` with the Hessian) of a function whose result has one element."""
    return _second(func, inputs, v, create_graph, strict, "vhp")


def hvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:  # fmt: skip
    """(``func(*inputs)``, the product of the Hessian with ``v``); as it is symmetric, :func:`vhp` gives the same."""
    return _second(func, inputs, v, create_graph, strict, "hvp")


def _second(func: Callable[..., Any], inputs: Any, v: Any, create: bool, strict: bool, fn: str) -> tuple[Any, Any]:
    with enable_grad():
        xs, single = _tuple(inputs, "inputs", fn)
        xs = _prepared(xs, create)
        v = _vectors(v, xs, single, "input", fn)
        out = _scalar(func, fn)(*xs)
        _check_outputs((out,), fn, strict)
        first = _backed((out,), xs, None, True, strict)
        if fn == "hvp":
            zeros = tuple(T.zeros_like(x).requires_grad_(True) for x in xs)
            back = _backed(first, xs, zeros, True, strict, "double")
            found = _transposed(back, zeros, v, create, xs)
        else:
            ones = tuple(T.ones_like(x) for x in xs) if v is None else v
            found = _backed(first, xs, ones, create, strict, "double")
    out, found = _finished(out, create), _finished(found, create)
    return out, found[0] if single else found


def _transposed(back: tuple, zeros: tuple, v: tuple | None, create: bool, xs: tuple) -> tuple:
    moving = [k for k, g in enumerate(back) if g.requires_grad]
    if not moving:
        return tuple(T.zeros_like(x) for x in xs)
    ones = tuple(T.ones_like(x) for x in xs) if v is None else v
    found = _grad([back[k] for k in moving], zeros, [ones[k] for k in moving], create_graph=create, allow_unused=True)
    return tuple(T.zeros_like(x) if g is None else g for g, x in zip(found, xs, strict=True))


