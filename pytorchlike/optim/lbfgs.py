"""Limited-memory BFGS."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd.mode import enable_grad, no_grad
from ..tensor import Tensor
from ..tensor import functions as T
from .optimizer import Optimizer, ParamsT, check_lr

__all__ = ["LBFGS"]


@dataclass
class _Point:
    """A point of the line: step, value, gradient and slope along the line."""

    t: float
    f: float
    g: np.ndarray
    slope: float


def _cubic_minimum(a: _Point, b: _Point, bounds: tuple[float, float] | None = None) -> float:
    """Minimum of the cubic through two points with their slopes, within bounds (the points); their middle if it has
    none.

    Source: Nocedal & Wright, Numerical Optimization, 2006, eq. 3.59.
    """
    if a.t > b.t:
        a, b = b, a
    low, high = bounds if bounds is not None else (a.t, b.t)
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = math.sqrt(square)
    best = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    return min(max(best, low), high)


def _strong_wolfe(evaluate: Callable[[float], _Point], start: _Point, t: float, reach: float, max_ls: int,
                  tolerance_change: float = 1e-9, c1: float = 1e-4, c2: float = 0.9) -> tuple[_Point, int]:
    """A step along a descent direction that satisfies the strong Wolfe conditions, and the number of evaluations.

    First the step grows until an interval must hold such a point, then the interval shrinks around it. ``reach`` is the
    direction's largest entry. Source: Nocedal & Wright 2006, algorithms 3.5 and 3.6, with minFunc's safeguards.
    """
    new, previous = evaluate(t), start
    evaluations, rounds, done = 1, 0, False
    bracket = [start, new]
    while rounds < max_ls:
        bracket = [previous, new]
        if new.f > start.f + c1 * new.t * start.slope or (rounds > 1 and new.f >= previous.f):
            break
        if abs(new.slope) <= -c2 * start.slope:
            bracket, done = [new], True
            break
        if new.slope >= 0:
            break
        t = _cubic_minimum(previous, new, (new.t + 0.01 * (new.t - previous.t), new.t * 10))
        previous, new = new, evaluate(t)
        evaluations += 1
        rounds += 1
    else:
        bracket = [start, new]

    stuck = False
    low, high = (0, 1) if bracket[0].f <= bracket[-1].f else (1, 0)
    while not done and rounds < max_ls:
        ends = sorted(point.t for point in bracket)
        width = ends[1] - ends[0]
        if width * reach < tolerance_change:
            break
        t = _cubic_minimum(*bracket)
        # Twice in a row close to an end, or on it, means no progress: step a tenth away from that end.
        if min(ends[1] - t, t - ends[0]) < 0.1 * width:
            if stuck or t >= ends[1] or t <= ends[0]:
                t = ends[1] - 0.1 * width if abs(t - ends[1]) < abs(t - ends[0]) else ends[0] + 0.1 * width
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        new = evaluate(t)
        evaluations += 1
        rounds += 1
        if new.f > start.f + c1 * t * start.slope or new.f >= bracket[low].f:
            bracket[high] = new
            low, high = (0, 1) if bracket[0].f <= bracket[1].f else (1, 0)
        else:
            if abs(new.slope) <= -c2 * start.slope:
                done = True
            elif new.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = new
    return bracket[low if len(bracket) > 1 else 0], evaluations


class LBFGS(Optimizer):
    """L-BFGS with a fixed step or a strong-Wolfe line search; full batches, one parameter group.

    ``step(closure)`` makes up to ``max_iter`` iterations, each along ``-H g`` with H from the last ``history_size``
    steps and gradient differences, and calls ``closure`` (which computes loss and gradients) up to ``max_eval`` times
    (default 1.25 max_iter). It stops when no gradient exceeds ``tolerance_grad`` or step and loss change by less than
    ``tolerance_change``. Loss and gradient are read at every iteration anyway, so H is applied on the host, in NumPy:
    the recorded programs stay the same however long the history is.

    State, under the first parameter: "func_evals", "n_iter", "d", "t", "old_dirs", "old_stps", "ro", "H_diag", "al",
    "prev_flat_grad", "prev_loss".
    Source: torch.optim.LBFGS; Nocedal & Wright 2006, algorithm 7.4; Schmidt's minFunc.
    Raises: ValueError for several groups or a negative rate; RuntimeError for another line search than "strong_wolfe".
    """

    counted = False
    elementwise = False

    def __init__(self, params: ParamsT, lr: float | Tensor = 1, max_iter: int = 20, max_eval: int | None = None,
                 tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None) -> None:
        check_lr(lr)
        super().__init__(params, {"lr": lr, "max_iter": max_iter,
                                  "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                                  "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
                                  "history_size": history_size, "line_search_fn": line_search_fn})
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def _evaluate(self, closure: Callable[[], Any]) -> tuple[Any, float, np.ndarray]:
        """Loss as returned, as a number, and all gradients in one vector."""
        loss, parts = closure(), []
        for p in self._params:
            g = T.zeros_like(p) if p.grad is None else p.grad
            if g.is_sparse:
                g = g.to_dense()
            parts.append((T.view_as_real(g) if g.is_complex() else g).reshape(-1))
        flat = T.cat(parts, 0)  # recorded before the loss is read, so that one program computes both
        return loss, float(loss.detach() if isinstance(loss, Tensor) else loss), _host(flat)

    def _move(self, t: float, direction: np.ndarray) -> None:
        offset = 0
        for p in self._params:
            real = T.view_as_real(p) if p.is_complex() else p
            n = real.numel()
            part = T.from_numpy(direction[offset:offset + n].reshape(tuple(real.shape)))
            real.add_(part.to(device=real.device, dtype=real.dtype), alpha=t)
            offset += n

    def step(self, closure: Callable[[], Any]) -> Any:
        """Up to ``max_iter`` iterations; returns what the first call of ``closure`` returned."""

        def loss_of() -> Any:
            with enable_grad():
                return closure()

        with no_grad():
            return self._minimize(loss_of)

    def _minimize(self, closure: Callable[[], Any]) -> Any:
        group, params = self.param_groups[0], self._params
        lr, max_iter, max_eval = float(group["lr"]), group["max_iter"], group["max_eval"]
        small_grad, small_change = group["tolerance_grad"], group["tolerance_change"]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(f"only 'strong_wolfe' is supported, but got line_search_fn={group['line_search_fn']!r}")
        state = self.state[params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss, loss, grad = self._evaluate(closure)
        evaluations = 1
        state["func_evals"] += 1
        if np.max(np.abs(grad)) <= small_grad:
            return first_loss
        memory = _Memory(state, group["history_size"])
        d, t, before = (state.get(name) for name in ("d", "t", "prev_flat_grad"))
        d, before, t = _host(d), _host(before), None if t is None else float(t)
        for iteration in range(1, max_iter + 1):
            state["n_iter"] += 1
            begins = state["n_iter"] == 1
            if begins:
                memory.forget()
            else:
                memory.take(d * t, grad - before)
            d = memory.direction(grad)
            before, loss_before = grad, loss
            t = lr / max(1.0, float(np.sum(np.abs(grad)))) if begins else lr
            slope = _dot(grad, d)
            if slope > -small_change:
                break
            used = 0
            if group["line_search_fn"] is not None:
                origin = [p.clone() for p in params]

                def at(t: float, d: np.ndarray = d, origin: list[Tensor] = origin) -> _Point:
                    self._move(t, d)
                    _, value, g = self._evaluate(closure)
                    for p, old in zip(params, origin, strict=True):
                        p.copy_(old)
                    return _Point(t, value, g, _dot(g, d))

                found, used = _strong_wolfe(at, _Point(0.0, loss, grad, slope), t, float(np.max(np.abs(d))),
                                            max_eval - evaluations)
                loss, grad, t = found.f, found.g, found.t
                self._move(t, d)
            else:
                self._move(t, d)
                if iteration != max_iter:  # the last gradient would not be used
                    _, loss, grad = self._evaluate(closure)
                    used = 1
            evaluations += used
            state["func_evals"] += used
            if (iteration == max_iter or evaluations >= max_eval or np.max(np.abs(grad)) <= small_grad
                    or np.max(np.abs(d)) * abs(t) <= small_change or abs(loss - loss_before) < small_change):
                break
        memory.store(state)
        state.update(d=T.from_numpy(d), t=t, prev_flat_grad=T.from_numpy(before), prev_loss=loss_before)
        return first_loss


def _host(x: Tensor | None) -> np.ndarray | None:
    """A tensor as a NumPy vector, in float32 if its own dtype is shorter."""
    if x is None:
        return None
    x = x.detach().cpu()
    return (x if x.element_size() >= 4 else x.float())._look()


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """Scalar product, in the vectors' dtype."""
    return float(a @ b)


class _Memory:
    """The last steps s and gradient differences y: an approximation of the inverse Hessian.

    Every number is rounded to the parameters' dtype where PyTorch rounds it: errors of the two loops are amplified from
    iteration to iteration, so that wider sums would take another path.
    Source: Nocedal & Wright 2006, algorithm 7.4 (the two loops) and eq. 7.20 (the initial scale).
    """

    def __init__(self, state: dict[str, Any], size: int) -> None:
        self.size = size
        self.y = deque(map(_host, state.get("old_dirs") or ()), maxlen=size)
        self.s = deque(map(_host, state.get("old_stps") or ()), maxlen=size)
        self.ro = deque(map(float, state.get("ro") or ()), maxlen=size)
        self.scale = float(state.get("H_diag", 1))
        self.alphas: list[float] = []

    def forget(self) -> None:
        """Begin with the identity."""
        for column in (self.y, self.s, self.ro):
            column.clear()
        self.scale = 1.0

    def take(self, s: np.ndarray, y: np.ndarray) -> None:
        """Take in a step and the change of the gradient, unless the curvature along it is not positive."""
        ys = y @ s
        if ys > 1e-10:
            self.y.append(y)
            self.s.append(s)
            self.ro.append(float(1 / ys))
            self.scale = float(ys / (y @ y))

    def direction(self, grad: np.ndarray) -> np.ndarray:
        """Minus the inverse Hessian times the gradient."""
        q, alphas, kind = -grad, [], grad.dtype.type
        for y, s, r in zip(reversed(self.y), reversed(self.s), reversed(self.ro), strict=True):
            alphas.append((s @ q) * kind(r))
            q -= alphas[-1] * y
        q *= kind(self.scale)
        for y, s, r, alpha in zip(self.y, self.s, self.ro, reversed(alphas), strict=True):
            q += (alpha - (y @ q) * kind(r)) * s
        self.alphas = [float(alpha) for alpha in reversed(alphas)]
        return q

    def store(self, state: dict[str, Any]) -> None:
        """Write the memory in PyTorch's layout ("al" is its working list)."""
        state.update(old_dirs=[T.from_numpy(y) for y in self.y], old_stps=[T.from_numpy(s) for s in self.s],
                     ro=list(self.ro), H_diag=self.scale,
                     al=[*self.alphas, *[None] * (self.size - len(self.alphas))])
