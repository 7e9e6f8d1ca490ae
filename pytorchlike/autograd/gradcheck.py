"""Gradients against finite differences: of functions of float64 or complex128 tensors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor
from ..tensor import functions as T
from . import forward_ad
from .mode import enable_grad, no_grad
from .passes import grad as _grad

__all__ = ["GradcheckError", "get_analytical_jacobian", "get_numerical_jacobian",
           "get_numerical_jacobian_wrt_specific_input", "gradcheck", "gradgradcheck"]  # fmt: skip


class GradcheckError(RuntimeError):
    """What gradients and finite differences disagree in."""


def _is_float(t: Any) -> bool:
    return isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex())


def _moving(inputs: Sequence[Any]) -> list[int]:
    return [k for k, t in enumerate(inputs) if _is_float(t) and t.requires_grad]


def _as_tuple(x: Any) -> tuple:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _outputs(fn: Callable[..., Any], inputs: Sequence[Any]) -> list[Tensor]:
    """The differentiable outputs of a function."""
    return [o for o in _as_tuple(fn(*inputs)) if _is_float(o)]


def _at(fn: Callable[..., Any], inputs: Sequence[Any], k: int, data: np.ndarray) -> list[np.ndarray]:
    """Outputs when one input is replaced."""
    args = [t.detach().clone() if isinstance(t, Tensor) else t for t in inputs]
    args[k] = T.tensor(data, device=inputs[k].device)
    with no_grad():
        return [np.array(o.detach().cpu().numpy(), copy=True) for o in _outputs(fn, args)]


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1)


def _difference(fn: Callable[..., Any], inputs: Sequence[Any], k: int, step: np.ndarray) -> list[np.ndarray]:
    """Central difference of the outputs along ``step`` of one input, not divided by anything."""
    x = np.array(inputs[k].detach().cpu().numpy(), copy=True)
    up, down = _at(fn, inputs, k, x + step), _at(fn, inputs, k, x - step)
    return [a - b for a, b in zip(up, down, strict=True)]


def get_numerical_jacobian_wrt_specific_input(
    fn: Callable[..., Any], input_idx: int, inputs: Sequence[Any], outputs: Any = None, eps: float = 1e-6,
    input: Tensor | None = None, is_forward_ad: bool = False,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The Jacobians of all outputs by one input, ``(input.numel(), output.numel())`` each, by central differences.

    By a complex input: along the real axis, plus i times that along the imaginary axis if the output is real, which is
    the gradient in PyTorch's convention (not with ``is_forward_ad``).
    """
    x = inputs[input_idx]
    n = x.numel()
    shapes = [o.numel() for o in _outputs(fn, inputs)]
    kinds = [o.dtype.numpy for o in _outputs(fn, inputs)]
    complex_in = x.is_complex()
    out = [np.zeros((n, m), np.result_type(d, x.dtype.numpy)) for m, d in zip(shapes, kinds, strict=True)]
    for j in range(n):
        unit = np.zeros(n, x.dtype.numpy)
        unit[j] = eps
        real = [_flat(d) / (2 * eps) for d in _difference(fn, inputs, input_idx, unit.reshape(tuple(x.shape)))]
        if complex_in:
            unit[j] = 1j * eps
            imag = [_flat(d) / (2 * eps) for d in _difference(fn, inputs, input_idx, unit.reshape(tuple(x.shape)))]
        for i, row in enumerate(real):
            out[i][j] = row + 1j * imag[i] if complex_in and not is_forward_ad and kinds[i].kind != "c" else row
    return tuple(T.tensor(o) for o in out)


def get_numerical_jacobian(
    fn: Callable[..., Any], inputs: Any, target: Any = None, eps: float = 1e-6, grad_out: float = 1.0
) -> tuple[Tensor, ...]:  # fmt: skip
    """The Jacobians of the first output by each input that requires gradients."""
    _only_ones("get_numerical_jacobian", grad_out)
    inputs = _as_tuple(inputs)
    wanted = _moving(inputs)
    if target is not None:
        wanted = [k for k in wanted if any(inputs[k] is t for t in _as_tuple(target))]

    def first(*args: Any) -> Tensor:
        return _outputs(fn, args)[0]

    return tuple(get_numerical_jacobian_wrt_specific_input(first, k, inputs, eps=eps)[0] for k in wanted)


def _only_ones(name: str, grad_out: float) -> None:
    if grad_out != 1.0:
        raise ValueError(f"Expected grad_out to be 1.0. {name} no longer supports values of grad_out != 1.0.")


def get_analytical_jacobian(
    inputs: Any, output: Tensor, nondet_tol: float = 0.0, grad_out: float = 1.0
) -> tuple:  # fmt: skip
    """(Jacobians of ``output`` by each input, whether a second pass agrees within ``nondet_tol``, True, True)."""
    _only_ones("get_analytical_jacobian", grad_out)
    inputs = [t for t in _as_tuple(inputs) if _is_float(t) and t.requires_grad]
    first, second = _reverse_rows(output, inputs), _reverse_rows(output, inputs)
    steady = all(_same(a, b, nondet_tol) for a, b in zip(first, second, strict=True))
    return tuple(T.tensor(f.T) for f in first), steady, True, True


def _reverse_rows(o: Tensor, xs: Sequence[Tensor], unit: complex = 1.0) -> list[np.ndarray]:
    """Gradients for each unit cotangent: ``(output.numel(), input.numel())`` for each input."""
    n = o.numel()
    if n == 0:
        return [np.zeros((0, x.numel()), x.dtype.numpy) for x in xs]
    if not o.requires_grad:
        return [np.zeros((n, x.numel()), x.dtype.numpy) for x in xs]
    rows: list[list[np.ndarray]] = [[] for _ in xs]
    for k in range(n):
        seed = np.zeros(n, o.dtype.numpy)
        seed[k] = unit
        found = _grad(o, xs, T.tensor(seed.reshape(tuple(o.shape)), device=o.device), retain_graph=True,
                      allow_unused=True)  # fmt: skip
        for i, (g, x) in enumerate(zip(found, xs, strict=True)):
            if g is not None and g.shape != x.shape:
                raise GradcheckError(f"Analytical gradient has incorrect size: {list(g.shape)} for {list(x.shape)}")
            rows[i].append(np.zeros(x.numel(), x.dtype.numpy) if g is None else _flat(g.detach().cpu().numpy()))
    return [np.stack(r) for r in rows]


def _same(a: np.ndarray, b: np.ndarray, nondet: float) -> bool:
    """Whether two passes agree: a program may take over from single operations in between, which round otherwise."""
    rounding = 16 * np.finfo(a.dtype).eps * np.abs(a).max(initial=0.0)
    return bool(np.abs(a - b).max(initial=0.0) <= nondet + rounding)


def _expected_rows(
    fn: Callable[..., Any], inputs: Sequence[Any], k: int, eps: float, unit: complex
) -> list[np.ndarray]:  # fmt: skip
    """What :func:`_reverse_rows` should give, for each output: gradients of Re(conj(unit) * output) by one input."""
    x = inputs[k]
    n, kind = x.numel(), x.dtype.numpy
    steps = [eps] if kind.kind != "c" else [eps, 1j * eps]
    columns: list[list[np.ndarray]] = []
    for j in range(n):
        total: list[Any] = []
        for s in steps:
            step = np.zeros(n, kind)
            step[j] = s
            rows = [
                np.real(np.conj(unit) * _flat(d)) / (2 * eps) * (s / eps)
                for d in _difference(fn, inputs, k, step.reshape(tuple(x.shape)))
            ]
            total = rows if not total else [a + b for a, b in zip(total, rows, strict=True)]
        columns.append(total)
    if not columns:
        return [np.zeros((o.numel(), 0), kind) for o in _outputs(fn, inputs)]
    return [np.stack([c[i] for c in columns], axis=1) for i in range(len(columns[0]))]


class _Check:
    """One run of :func:`gradcheck`."""

    def __init__(self, fn: Callable[..., Any], inputs: tuple, eps: float, atol: float, rtol: float,
                 nondet: float) -> None:  # fmt: skip
        self.fn, self.inputs, self.eps, self.atol, self.rtol, self.nondet = fn, inputs, eps, atol, rtol, nondet
        self.moving = _moving(inputs)
        self.xs = [inputs[k] for k in self.moving]

    def close(self, a: np.ndarray, b: np.ndarray) -> bool:
        return np.allclose(a, b, rtol=self.rtol, atol=self.atol, equal_nan=True)

    def compare(self, what: str, i: int, k: int, numerical: np.ndarray, analytical: np.ndarray) -> None:
        if not self.close(analytical, numerical):
            raise GradcheckError(
                f"{what}mismatch for output {i} with respect to input {k},\nnumerical:{T.from_numpy(numerical)}\n"
                f"analytical:{T.from_numpy(analytical)}\n"
            )

    def steady(self, i: int, k: int, a: np.ndarray, b: np.ndarray) -> None:
        if not _same(a, b, self.nondet):
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                "gives different values, although analytical gradient matches numerical gradient. The tolerance for "
                f"nondeterminism was {self.nondet}. (output {i}, input {k})"
            )

    def backward(self) -> None:
        outputs = _outputs(self.fn, self.inputs)
        for i, o in enumerate(outputs):
            for unit in (1.0, 1j) if o.is_complex() else (1.0,):
                rows = _reverse_rows(o, self.xs, unit)
                again = _reverse_rows(o, self.xs, unit)
                for k, (a, b) in enumerate(zip(rows, again, strict=True)):
                    self.steady(i, k, a, b)
                for k, a in zip(self.moving, rows, strict=True):
                    expected = _expected_rows(self.fn, self.inputs, k, self.eps, unit)[i]
                    what = "While considering the imaginary part of complex outputs only, " if unit == 1j else ""
                    self.compare(what + "Jacobian ", i, k, expected, a)

    def backward_fast(self) -> None:
        """One random projection of each Jacobian: u^T J v, with u of the outputs and v of the inputs."""
        rng = np.random.default_rng(0)
        outputs = _outputs(self.fn, self.inputs)
        for i, o in enumerate(outputs):
            u = _random(rng, o)
            if not o.requires_grad or not o.numel():
                continue
            found, again = (
                _grad(o, self.xs, T.tensor(u, device=o.device), retain_graph=True, allow_unused=True) for _ in range(2)
            )
            for k, x, g, h in zip(self.moving, self.xs, found, again, strict=True):
                if g is not None and h is not None:
                    self.steady(i, k, g.detach().cpu().numpy(), h.detach().cpu().numpy())
                v = _random(rng, x)
                analytical = 0.0 if g is None else float(np.real(np.vdot(g.detach().cpu().numpy(), v)))
                d = _difference(self.fn, self.inputs, k, self.eps * v)[i] / (2 * self.eps)
                self.compare("While considering a random projection (fast mode), Jacobian ", i, k,
                             np.asarray(float(np.real(np.vdot(u, d)))), np.asarray(analytical))  # fmt: skip

    def forward(self, fast: bool) -> None:
        rng = np.random.default_rng(1)
        for k, x in zip(self.moving, self.xs, strict=True):
            n = x.numel()
            units = [np.eye(1, n, j).reshape(n) for j in range(n)] if not fast else [_flat(_random(rng, x))]
            if not fast and x.is_complex():
                units += [1j * u for u in units]
            for j, u in enumerate(units):
                v = u.astype(x.dtype.numpy).reshape(tuple(x.shape))
                numerical = _difference(self.fn, self.inputs, k, self.eps * v)
                with forward_ad.dual_level():
                    args = list(self.inputs)
                    args[k] = forward_ad.make_dual(x.detach(), T.tensor(v, device=x.device))
                    tangents = [
                        None if (t := forward_ad.unpack_dual(o).tangent) is None else t.detach().cpu().numpy()
                        for o in _outputs(self.fn, args)
                    ]
                for i, (d, t) in enumerate(zip(numerical, tangents, strict=True)):
                    d = d / (2 * self.eps)
                    self.compare(f"In direction {j}, Jacobian computed with forward mode ", i, k, d,
                                 np.zeros_like(d) if t is None else t)  # fmt: skip

    def undefined(self) -> None:
        """Missing gradients of outputs must count as zeros."""
        outputs = [o for o in _outputs(self.fn, self.inputs) if o.requires_grad]
        nothing = [T.zeros_like(o) for o in outputs]
        for g in _grad(outputs, self.xs, nothing, retain_graph=True, allow_unused=True):
            if g is not None and np.any(g.detach().cpu().numpy() != 0):
                raise GradcheckError("backward not multiplied by grad_output")
        for drop in range(len(outputs)) if len(outputs) > 1 else ():
            rest = [o for k, o in enumerate(outputs) if k != drop]
            ones = [T.ones_like(o) for o in rest]
            some = _grad(rest, self.xs, ones, retain_graph=True, allow_unused=True)
            whole = _grad([*rest, outputs[drop]], self.xs, [*ones, T.zeros_like(outputs[drop])], retain_graph=True,
                          allow_unused=True)  # fmt: skip
            for k, a, b in zip(self.moving, some, whole, strict=True):
                a, b = (np.zeros(1) if t is None else t.detach().cpu().numpy() for t in (a, b))
                if not np.allclose(a, b):
                    raise GradcheckError(
                        "Expected backward function to handle undefined output grads: the gradient by input "
                        f"{k} differs from that for zeros"
                    )

    def batched(self) -> None:
        """One pass over a batch of cotangents must agree with one pass for each."""
        rng = np.random.default_rng(2)
        for i, o in enumerate(_outputs(self.fn, self.inputs)):
            if not o.requires_grad:
                continue
            seeds = [T.tensor(_random(rng, o), device=o.device) for _ in range(2)]
            single = [_grad(o, self.xs, s, retain_graph=True, allow_unused=True) for s in seeds]
            both = _grad(o, self.xs, T.stack(seeds), retain_graph=True, allow_unused=True, is_grads_batched=True)
            for k, b, *rows in zip(self.moving, both, *single, strict=True):
                if b is not None and not np.allclose(b.detach().cpu().numpy(),
                                                     np.stack([r.detach().cpu().numpy() for r in rows])):  # fmt: skip
                    raise GradcheckError(
                        f"For output {i} and input {k}: the batched gradient (is_grads_batched=True) differs from "
                        "those of single cotangents"
                    )


def _random(rng: np.random.Generator, t: Tensor) -> np.ndarray:
    x = rng.standard_normal(tuple(t.shape))
    if t.is_complex():
        x = x + 1j * rng.standard_normal(tuple(t.shape))
    return np.asarray(x / max(np.sqrt(np.sum(np.abs(x) ** 2)), 1e-30), t.dtype.numpy)


def gradcheck(
    func: Callable[..., Any], inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
    raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False, check_batched_grad: bool = False, check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False, check_backward_ad: bool = True, fast_mode: bool = False, masked: bool | None = None,
) -> bool:  # fmt: skip
    """Whether the gradients of ``func`` at ``inputs`` agree with central differences of width ``2 * eps``.

    inputs: those that require gradients are checked; they should be float64 or complex128 (a warning otherwise).
    atol, rtol: how close.   nondet_tol: how much two reverse passes may differ.   check_undefined_grad: missing
    gradients of outputs count as zeros.   check_batched_grad: passes over batches of cotangents agree with single ones.
    check_forward_ad, check_backward_ad: which derivatives to check.   check_batched_forward_grad: tangents are checked
    one by one in any case, so it only demands ``check_forward_ad``.   fast_mode: one random projection instead of whole
    Jacobians.   masked: for sparse tensors only.
    Returns True, or raises :class:`GradcheckError` (False if not ``raise_exception``).
    """
    if not check_forward_ad and not check_backward_ad:
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
    if masked:
        raise NotImplementedError("gradcheck: masked=True is for sparse inputs, which are not supported here")
    try:
        inputs = _as_tuple(inputs)
        _check_inputs(inputs)
        check = _Check(func, inputs, eps, atol, rtol, nondet_tol)
        with enable_grad():
            outputs = _as_tuple(func(*inputs))
            _check_outputs(outputs, check)
            if check_forward_ad:
                check.forward(fast_mode)
            if not check_backward_ad or not any(_is_float(o) and o.requires_grad for o in outputs):
                return True
            if fast_mode:
                check.backward_fast()
            else:
                check.backward()
            if check_batched_grad:
                check.batched()
            if check_undefined_grad:
                check.undefined()
            if check_grad_dtypes:
                _check_dtypes(outputs, check)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check_inputs(inputs: tuple) -> None:
    if not _moving(inputs):
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have "
            "requires_grad=True."
        )
    for k in _moving(inputs):
        if str(inputs[k].dtype) not in ("torch.float64", "torch.complex128"):
            warnings.warn(
                f"Input #{k} requires gradient and is not a double precision floating point or complex. This check "
                "will likely fail if all the inputs are not of double precision floating point or complex. ",
                stacklevel=3,
            )
        if any(stride == 0 and n > 1 for stride, n in zip(inputs[k].stride(), inputs[k].shape, strict=True)):
            raise RuntimeError(
                f"The {k}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                "non-overlapping, since finite differences of single elements make no sense otherwise; call "
                ".contiguous() on the input before."
            )
        inputs[k].retain_grad()


def _check_outputs(outputs: tuple, check: _Check) -> None:
    """Outputs that do not require gradients must not change with the inputs."""
    if any(_is_float(o) and o.requires_grad for o in outputs):
        return
    for k in check.moving:
        for i, row in enumerate(_expected_rows(check.fn, check.inputs, k, check.eps, 1.0)):
            if not np.allclose(row, 0, atol=check.atol):
                raise GradcheckError(f"Numerical gradient for function expected to be zero (output {i}, input {k})")


def _check_dtypes(outputs: tuple, check: _Check) -> None:
    wanted = [o for o in outputs if _is_float(o) and o.requires_grad]
    found = _grad(wanted, check.xs, [T.ones_like(o) for o in wanted], retain_graph=True, allow_unused=True)
    for k, x, g in zip(check.moving, check.xs, found, strict=True):
        if g is not None and g.dtype != x.dtype:
            raise GradcheckError(f"Gradient has dtype mismatch: {g.dtype} for input {k} of {x.dtype}")


def gradgradcheck(
    func: Callable[..., Any], inputs: Any, grad_outputs: Any = None, *, eps: float = 1e-6, atol: float = 1e-5,
    rtol: float = 1e-3, gen_non_contig_grad_outputs: bool = False, raise_exception: bool = True,
    nondet_tol: float = 0.0, check_undefined_grad: bool = True, check_grad_dtypes: bool = False,
    check_batched_grad: bool = False, check_fwd_over_rev: bool = False, check_rev_over_rev: bool = True,
    fast_mode: bool = False, masked: bool = False,
) -> bool:  # fmt: skip
    """As :func:`gradcheck`, of the gradients of ``func``: as a function of ``inputs`` and of the cotangents.

    grad_outputs: the cotangents; random ones if None (transposed in memory with ``gen_non_contig_grad_outputs``).
    check_rev_over_rev, check_fwd_over_rev: which second derivatives to check.
    """
    if not check_fwd_over_rev and not check_rev_over_rev:
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True")
    inputs = _as_tuple(inputs)
    moving = _moving(inputs)
    outputs = [o for o in _outputs(func, inputs) if o.requires_grad]
    if grad_outputs is None:
        rng = np.random.default_rng(3)
        made = []
        for o in outputs:
            data = rng.standard_normal(tuple(o.shape))
            if o.is_complex():
                data = data + 1j * rng.standard_normal(tuple(o.shape))
            seed = T.tensor(np.asarray(data, o.dtype.numpy), device=o.device)
            if gen_non_contig_grad_outputs and seed.ndim:
                seed = T.stack([seed, seed], dim=-1)[..., 0]
            made.append(seed.detach().requires_grad_(True))
        grad_outputs = tuple(made)
    else:
        grad_outputs = _as_tuple(grad_outputs)
    n = len(grad_outputs)

    def first(*args: Any) -> tuple:
        args, seeds = args[: len(args) - n], args[len(args) - n :]
        with enable_grad():
            args = tuple(
                a + T.zeros_like(a).requires_grad_() if k in moving and not a.requires_grad else a
                for k, a in enumerate(args)
            )
            outs = [o for o in _outputs(func, args) if o.requires_grad]
            found = _grad(outs, [args[k] for k in moving], seeds, create_graph=True, allow_unused=True)
            return tuple(g for g in found if g is not None)

    return gradcheck(
        first, (*inputs, *grad_outputs), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad, check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad, fast_mode=fast_mode, check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev, masked=masked or None,
    )  # fmt: skip
