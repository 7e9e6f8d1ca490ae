"""Evaluation by NumPy: for forked processes, where XLA's threads are missing, and for the loading of data.

An operation is traced by JAX as always, which is Python only, and the jaxpr that results is interpreted: each of its
primitives has a NumPy equivalent here. So operations need no second body, and random numbers are the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import _host_primitives as primitives
from . import evaluators, trace
from .evaluators import OpByOp, _cached, _key
from .op import ARRAY, Lifted, _apply_vjp
from .trie import Call


class Host(OpByOp):
    """One NumPy interpretation per operation; XLA's kernels on accelerators and for what NumPy does not have."""

    def takes(self, call: Call) -> bool:
        """Whether a call is to be evaluated here."""
        return not call.op.heavy and _platform(call) == "cpu" and (call.kernel, _key(call)) not in _beyond

    def forward(self, call: Call, arrays: tuple) -> tuple[tuple, tuple]:
        if call.op.walk is not None:
            return call.op.walk(arrays, self), ()
        if not self.takes(call):
            return super().forward(call, arrays)
        try:
            return self._forward(call, arrays)
        except primitives.Missing:
            self.missed(call)
            return super().forward(call, arrays)

    def missed(self, call: Call) -> None:
        """Take note of an operation that NumPy does not have; called while the exception is handled."""
        _beyond.add((call.kernel, _key(call)))

    def _forward(self, call: Call, arrays: tuple) -> tuple[tuple, tuple]:
        run = _cached((call.kernel, _key(call), "host"), lambda: function_of(call.kernel.evaluate, _specs(call)))
        return run(arrays)

    def vjp(self, call: Call, arrays: tuple, cotangents: tuple) -> tuple:
        if not self.takes(call):
            return super().vjp(call, arrays, cotangents)
        try:
            return self._vjp(call, arrays, cotangents)
        except primitives.Missing:
            self.missed(call)
            return super().vjp(call, arrays, cotangents)

    def _vjp(self, call: Call, arrays: tuple, cotangents: tuple) -> tuple:
        kernel, wrt = call.kernel, call.wrt
        present = tuple([c is not None for c in cotangents])
        layout = (tuple((m.shape, m.dtype) for m in call.outs), present)

        def make() -> Callable[..., Any]:
            def vjp(arrays: tuple, given: tuple) -> tuple:
                _, _, pull = kernel._forward_vjp(arrays, wrt)
                return _apply_vjp(pull, given, layout)

            given = tuple(_spec(m) for m, p in zip(call.outs, present, strict=True) if p)
            return function_of(vjp, _specs(call), given)

        run = _cached((kernel, _key(call), wrt, present, "host"), make)
        return run(arrays, tuple(c for c in cotangents if c is not None))

    def add(self, a: Any, b: Any) -> Any:
        return np.asarray(a) + np.asarray(b)

    def place(self, data: Any, meta: Any) -> Any:
        return np.asarray(data) if getattr(meta.place, "platform", "cpu") == "cpu" else super().place(data, meta)


class _Strict(Host):
    """In a forked process: NumPy or nothing."""

    def takes(self, call: Call) -> bool:
        platform = _platform(call)
        if platform != "cpu":
            raise RuntimeError(
                f"{call.op.name}: a forked process cannot use the main process's accelerator ({platform}); compute "
                "on the CPU here, or start workers by multiprocessing_context='forkserver' or 'spawn'"
            )
        return True

    def missed(self, call: Call) -> None:
        raise

    def place(self, data: Any, meta: Any) -> Any:
        return as_numpy(data)


#: Operations with primitives that NumPy does not have.
_beyond: set[tuple] = set()


def as_numpy(data: Any) -> np.ndarray:
    """The array in host memory.  RuntimeError if that would have to wait for another process's threads."""
    if type(data) is np.ndarray:
        return data
    platform = next(iter(data.devices())).platform
    if platform != "cpu":
        raise RuntimeError(f"a forked process cannot read tensors on the main process's accelerator ({platform})")
    if not data.is_ready():
        raise RuntimeError(
            "a tensor was still being computed when this process was forked; read it in the main process first (for "
            "example with .cpu()), or make it part of the dataset, whose tensors are"
        )
    return np.asarray(data)


def _platform(call: Call) -> str:
    return trace.platform_of(call.place)


def _spec(meta: Any) -> Any:
    import jax

    return jax.ShapeDtypeStruct(meta.shape, meta.dtype)


def _specs(call: Call) -> tuple:
    import jax

    metas = iter(call.metas)
    return tuple(
        _spec(next(metas)) if item is ARRAY else jax.ShapeDtypeStruct((), trace._lifted_dtype(item[1]))
        for item in call.kernel.pattern
        if item is ARRAY or (type(item) is tuple and item[0] is Lifted)
    )


def function_of(fn: Callable[..., Any], *specs: Any) -> Callable[..., Any]:
    """``fn``, which JAX can trace for arguments like ``specs``, as a function of NumPy arrays."""
    import jax

    with jax.enable_x64(True):
        closed, shape = jax.make_jaxpr(fn, return_shape=True)(*specs)
    tree = jax.tree.structure(shape)
    constants = [np.asarray(c) for c in closed.consts]

    def run(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            leaves = [np.asarray(a) for a in jax.tree.leaves(args)]
            return jax.tree.unflatten(tree, primitives.interpret(closed.jaxpr, constants, leaves))

    return run


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Evaluate by NumPy what the block records, and at its end; what was pending before stays so.

    For the many small and ever-changing operations of data loading, which would have to be compiled otherwise.
    """
    outer, before = trace.local.trace, trace.local.evaluator
    trace.local.trace, trace.local.evaluator = trace.Trace(outer.mode), before if before is _Strict else Host
    try:
        yield
        trace.flush("data was loaded")
    finally:
        mode = trace.local.trace.mode
        trace.local.trace, trace.local.evaluator = outer, before
        trace.set_mode(mode)


def take_over() -> None:
    """Have this process, freshly forked, evaluate everything here; what it had compiled and recorded is not used."""
    trace._Local.evaluator = trace.local.evaluator = _Strict
    evaluators._forward.clear()
    trace._roots.clear()
    trace.local.trace = trace.Trace(trace.mode_of())
    trace.local.checks.clear()
