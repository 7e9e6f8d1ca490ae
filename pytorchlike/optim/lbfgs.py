"""Limited-memory BFGS."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
    g: Tensor
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
    ``tolerance_change``. Values are read at every iteration, so that each is a program of its own.

    State, under the first parameter: "func_evals", "n_iter", "d", "t", "old_dirs", "old_stps", "ro", "H_diag", "al",
    "prev_flat_grad", "prev_loss".
    Source: torch.optim.LBFGS; Nocedal & Wright 2006, algorithm 7.4; Schmidt's minFunc.
    Raises: ValueError for several groups or a negative rate; RuntimeError for another line search than "strong_wolfe".
    """

    counted = False

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

    def _flat_grad(self) -> Tensor:
        parts = []
        for p in self._params:
            g = T.zeros_like(p) if p.grad is None else p.grad
            if g.is_sparse:
                g = g.to_dense()
            parts.append((T.view_as_real(g) if g.is_complex() else g).reshape(-1))
        return T.cat(parts, 0)

    def _move(self, t: float, direction: Tensor) -> None:
        offset = 0
        for p in self._params:
            real = T.view_as_real(p) if p.is_complex() else p
            n = real.numel()
            real.add_(direction[offset:offset + n].reshape(real.shape), alpha=t)
            offset += n

    def _direction(self, state: dict[str, Any], grad: Tensor, history: int) -> Tensor:
        """``-H grad``, after taking the last step into the history."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return grad.neg()
        dirs, stps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        y, s = grad - state["prev_flat_grad"], state["d"] * state["t"]
        ys = y.dot(s)
        if float(ys) > 1e-10:
            if len(dirs) == history:
                for column in (dirs, stps, ro):
                    column.pop(0)
            dirs.append(y)
            stps.append(s)
            ro.append(1.0 / ys)
            state["H_diag"] = ys / y.dot(y)
        q, alphas = grad.neg(), []
        for y, s, r in zip(reversed(dirs), reversed(stps), reversed(ro), strict=True):
            alphas.append(s.dot(q) * r)
            q = q - alphas[-1] * y
        # PyTorch keeps its working list in the state; with it, the state dicts have the same keys.
        state["al"] = [*reversed(alphas), *[None] * (history - len(alphas))]
        q = q * state["H_diag"]
        for y, s, r, alpha in zip(dirs, stps, ro, reversed(alphas), strict=True):
            q = q + (alpha - y.dot(q) * r) * s
        return q

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
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(f"only 'strong_wolfe' is supported, but got line_search_fn={group['line_search_fn']!r}")
        state = self.state[params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = closure()
        loss, evaluations = float(first_loss), 1
        state["func_evals"] += 1
        grad = self._flat_grad()

        def flat() -> bool:
            return float(grad.abs().max()) <= group["tolerance_grad"]

        if flat():
            return first_loss
        for iteration in range(1, max_iter + 1):
            state["n_iter"] += 1
            d = state["d"] = self._direction(state, grad, group["history_size"])
            state["prev_flat_grad"], state["prev_loss"] = grad, loss
            t = min(1.0, 1.0 / float(grad.abs().sum())) * lr if state["n_iter"] == 1 else lr
            state["t"] = t
            slope = float(grad.dot(d))
            if slope > -group["tolerance_change"]:
                break
            used = 0
            if group["line_search_fn"] is not None:
                origin = [p.clone() for p in params]

                def evaluate(at: float, d: Tensor = d, origin: list[Tensor] = origin) -> _Point:
                    self._move(at, d)
                    value = float(closure())
                    g = self._flat_grad()
                    for p, old in zip(params, origin, strict=True):
                        p.copy_(old)
                    return _Point(at, value, g, float(g.dot(d)))

                found, used = _strong_wolfe(evaluate, _Point(0.0, loss, grad, slope), t, float(d.abs().max()),
                                            max_eval - evaluations)
                loss, grad, t = found.f, found.g, found.t
                state["t"] = t
                self._move(t, d)
                done = flat()
            else:
                self._move(t, d)
                done = False
                if iteration != max_iter:  # the last gradient would not be used
                    loss = float(closure())
                    grad = self._flat_grad()
                    done, used = flat(), 1
            evaluations += used
            state["func_evals"] += used
            if (iteration == max_iter or evaluations >= max_eval or done
                    or float(d.abs().max()) * t <= group["tolerance_change"]
                    or abs(loss - state["prev_loss"]) < group["tolerance_change"]):
                break
        return first_loss
