"""Single operators: ours beside the plain JAX call, jitted, and PyTorch.  ``python -m benchmarks.ops --help``.

Each case is timed forward, and forward and backward with gradients of all floating-point arguments.  The three run in
turns; what is shown are medians of the ratios within the rounds.  Ours is called as in a user's program, recording
included, which is tens of microseconds: below a tenth of a millisecond that is what one sees.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .harness import PYTORCHLIKE, TORCH, torch_module


@dataclass(frozen=True)
class Case:
    """An operator on given shapes.

    shapes: of the float32 arguments, standard normal;  ints: (exclusive bound, shape) of the int64 ones after them.
    torch: ``f(torch, *arguments)``;  jax: the plain call, ``f(*arguments)``;  backward: whether it is differentiated.
    """

    name: str
    shapes: Sequence[tuple[int, ...]]
    torch: Callable[..., Any]
    jax: Callable[..., Any]
    ints: Sequence[tuple[int, tuple[int, ...]]] = ()
    backward: bool = True


def _conv(stride: int = 1, padding: int = 0, groups: int = 1) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def plain(x: Any, w: Any) -> Any:
        import jax

        return jax.lax.conv_general_dilated(
            x, w, (stride, stride), [(padding, padding)] * 2, feature_group_count=groups,
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
        )  # fmt: skip

    return lambda t, x, w: t.nn.functional.conv2d(x, w, None, stride, padding, 1, groups), plain


def _pool(kind: str, size: int, stride: int, padding: int = 0) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def plain(x: Any) -> Any:
        from jax import lax

        window = ((1, 1, size, size), (1, 1, stride, stride), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        if kind == "max":
            return lax.reduce_window(x, -np.inf, lax.max, *window)
        return lax.reduce_window(x, 0.0, lax.add, *window) / size**2

    return lambda t, x: getattr(t.nn.functional, f"{kind}_pool2d")(x, size, stride, padding), plain


def _jax(path: str, **fixed: Any) -> Callable[..., Any]:
    """A function of JAX's by its path, looked up when it is called."""

    def plain(*args: Any) -> Any:
        import jax
        import jax.numpy

        found: Any = jax
        for part in path.split("."):
            found = getattr(found, part)
        return found(*args, **fixed)

    return plain


def _layer_norm(x: Any, w: Any, b: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / (x.var(-1, keepdims=True) + 1e-5) ** 0.5 * w + b


def _batch_norm(x: Any, w: Any, b: Any) -> Any:
    mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return (x - mean) / (var + 1e-5) ** 0.5 * w[:, None, None] + b[:, None, None]


def _cross_entropy(x: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean()


def _attention(q: Any, k: Any, v: Any) -> Any:
    import jax

    heads_last = [a.transpose(0, 2, 1, 3) for a in (q, k, v)]
    return jax.nn.dot_product_attention(*heads_last, is_causal=True).transpose(0, 2, 1, 3)


def _dropout(x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    return jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, x.shape), 2 * x, 0)


CASES = [
    Case("conv 3x3, 1 channel", [(64, 1, 28, 28), (32, 1, 3, 3)], *_conv()),
    Case("conv 3x3, 32 channels", [(16, 32, 26, 26), (64, 32, 3, 3)], *_conv()),
    Case("conv 3x3, 64 channels, padded", [(16, 64, 28, 28), (64, 64, 3, 3)], *_conv(1, 1)),
    Case("conv 3x3, 1x1 maps", [(16, 512, 1, 1), (512, 512, 3, 3)], *_conv(1, 1)),
    Case("conv 3x3, stride 2", [(16, 128, 4, 4), (256, 128, 3, 3)], *_conv(2, 1)),
    Case("conv 7x7, stride 2", [(16, 3, 32, 32), (64, 3, 7, 7)], *_conv(2, 3)),
    Case("conv 1x1", [(8, 256, 28, 28), (64, 256, 1, 1)], *_conv()),
    Case("conv 1x1, stride 2", [(8, 64, 28, 28), (128, 64, 1, 1)], *_conv(2)),
    Case("conv 3x3, depthwise", [(8, 128, 28, 28), (128, 1, 3, 3)], *_conv(1, 1, 128)),
    Case("linear on 3-D", [(8, 128, 128), (512, 128)], lambda t, x, w: t.nn.functional.linear(x, w),
         lambda x, w: x @ w.T),
    Case("matmul 512", [(512, 512), (512, 512)], lambda t, a, b: a @ b, lambda a, b: a @ b),
    Case("vector @ matrix", [(1024,), (1024, 1024)], lambda t, a, b: a @ b, lambda a, b: a @ b),
    Case("matmul, then mean", [(512, 512), (512, 512)], lambda t, a, b: (a @ b).mean(), lambda a, b: (a @ b).mean()),
    Case("attention, causal, 128", [(8, 4, 128, 32)] * 3,
         lambda t, q, k, v: t.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True), _attention),
    Case("attention, causal, 512", [(2, 4, 512, 32)] * 3,
         lambda t, q, k, v: t.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True), _attention),
    Case("gelu", [(512, 2048)], lambda t, x: t.nn.functional.gelu(x), _jax("nn.gelu", approximate=False)),
    Case("softmax", [(512, 1024)], lambda t, x: x.softmax(-1), _jax("nn.softmax")),
    Case("cross entropy", [(1024, 1000)], lambda t, x, y: t.nn.functional.cross_entropy(x, y), _cross_entropy,
         ints=[(1000, (1024,))]),
    Case("layer norm", [(1024, 768), (768,), (768,)],
         lambda t, x, w, b: t.nn.functional.layer_norm(x, (768,), w, b), _layer_norm),
    Case("batch norm", [(64, 32, 28, 28), (32,), (32,)],
         lambda t, x, w, b: t.nn.functional.batch_norm(x, None, None, w, b, True), _batch_norm),
    Case("max pool 2", [(64, 32, 28, 28)], *_pool("max", 2, 2)),
    Case("max pool 3, stride 2", [(16, 64, 32, 32)], *_pool("max", 3, 2, 1)),
    Case("avg pool 2", [(64, 32, 28, 28)], *_pool("avg", 2, 2)),
    Case("cumsum", [(512, 1024)], lambda t, x: x.cumsum(-1), _jax("numpy.cumsum", axis=-1)),
    Case("sort", [(256, 4096)], lambda t, x: x.sort(-1)[0], _jax("numpy.sort", axis=-1)),
    Case("argmax", [(1024, 1024)], lambda t, x: x.argmax(-1), _jax("numpy.argmax", axis=-1), backward=False),
    Case("embedding", [(5000, 128)], lambda t, w, i: t.nn.functional.embedding(i, w), lambda w, i: w[i],
         ints=[(5000, (64, 64))]),
    Case("index_add", [(5000, 64), (4096, 64)], lambda t, x, s, i: x.index_add(0, i, s), lambda x, s, i: x.at[i].add(s),
         ints=[(5000, (4096,))]),
    Case("dropout", [(1024, 1024)], lambda t, x: t.nn.functional.dropout(x, 0.5), _dropout),
    Case("randn", [(1, 1)], lambda t, x: x + t.randn(1024, 1024), lambda x: x + _jax("random.normal")(
        _jax("random.key")(0), (1024, 1024)), backward=False),
]  # fmt: skip


class _Torch:
    """The case on pytorchlike or PyTorch."""

    def __init__(self, name: str, case: Case, arrays: list[np.ndarray]) -> None:
        self.torch, self.case, self.name = torch_module(name), case, name
        self.args = [self.torch.tensor(a) for a in arrays]
        self.leaves = [self.torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
        out = case.torch(self.torch, *self.args)
        self.seed = self.torch.ones_like(out)

    def forward(self) -> None:
        self._wait([self.case.torch(self.torch, *self.args)])

    def both(self) -> None:
        wrt = [a for a in self.leaves if a.requires_grad]
        out = self.case.torch(self.torch, *self.leaves)
        self._wait([out, *self.torch.autograd.grad(out, wrt, self.seed)])

    def _wait(self, results: list[Any]) -> None:
        if self.name == PYTORCHLIKE:
            for r in results:
                r.jax().block_until_ready()


class _Jax:
    """The case as a plain call, jitted."""

    def __init__(self, case: Case, arrays: list[np.ndarray]) -> None:
        import jax
        import jax.numpy as jnp

        self.jax, self.args = jax, [jnp.array(a) for a in arrays]
        n = len(case.shapes)
        self.run = jax.jit(case.jax)
        out = self.run(*self.args)

        self.seed = jnp.ones_like(out)

        def both(seed: Any, *args: Any) -> Any:
            value, pull = jax.vjp(lambda *floats: case.jax(*floats, *args[n:]), *args[:n])
            return value, pull(seed)

        self.run_both = jax.jit(both)

    def forward(self) -> None:
        self.jax.block_until_ready(self.run(*self.args))

    def both(self) -> None:
        self.jax.block_until_ready(self.run_both(self.seed, *self.args))


def measure(case: Case, rounds: int, seconds: float) -> dict[str, Any]:
    """Milliseconds and ratios of one case; the variants take turns."""
    rng = np.random.default_rng(0)
    arrays: list[np.ndarray] = [rng.standard_normal(s, dtype=np.float32) for s in case.shapes]
    arrays += [rng.integers(0, bound, shape) for bound, shape in case.ints]
    variants: dict[str, Any] = {PYTORCHLIKE: _Torch(PYTORCHLIKE, case, arrays), "jax": _Jax(case, arrays)}
    if importlib.util.find_spec(TORCH) is not None:
        variants[TORCH] = _Torch(TORCH, case, arrays)
    result: dict[str, Any] = {"case": case.name}
    for way in ("forward", "both") if case.backward else ("forward",):
        runs = {name: getattr(v, way) for name, v in variants.items()}
        for run in runs.values():
            for _ in range(4):
                run()
        start = time.perf_counter()
        runs[PYTORCHLIKE]()
        n = max(1, min(200, round(seconds / (time.perf_counter() - start))))
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                time.sleep(0.005)  # idle threads of the one before stop spinning
                run()
                start = time.perf_counter()
                for _ in range(n):
                    run()
                taken[name].append((time.perf_counter() - start) / n)
        result[way] = {name: 1e3 * statistics.median(t) for name, t in taken.items()}
        for other in runs:
            if other != PYTORCHLIKE:
                result[f"{way}/{other}"] = statistics.median(
                    a / b for a, b in zip(taken[PYTORCHLIKE], taken[other], strict=True)
                )
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ops", description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="cases whose name contains this")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.05, help="of each variant in a round (default 0.05)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to this file")
    args = parser.parse_args(argv)
    cases = [c for c in CASES if args.only is None or args.only in c.name]
    if not cases:
        parser.error(f"no case is called {args.only!r}; there are: {', '.join(c.name for c in CASES)}")
    print(f"{'':30}{'forward':^30}{'forward and backward':^30}")
    print(f"{'':30}" + f"{'ms':>9}{'/ jax':>9}{'/ torch':>9}{'':3}" * 2)
    results = []
    for case in cases:
        r = measure(case, args.rounds, args.seconds)
        results.append(r)
        line = f"{case.name:30}"
        for way in ("forward", "both"):
            if way in r:
                torch = f"{r[f'{way}/{TORCH}']:.2f}" if f"{way}/{TORCH}" in r else ""
                line += f"{r[way][PYTORCHLIKE]:9.3f}{r[f'{way}/jax']:9.2f}{torch:>9}   "
        print(line.rstrip(), flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
