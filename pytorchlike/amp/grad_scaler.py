"""Scaling of losses, so that gradients do not vanish in float16."""

from __future__ import annotations

import inspect
import warnings
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Any

from ..autograd.mode import no_grad
from ..optim import optimizer as _optimizer
from ..optim.optimizer import Optimizer
from ..tensor import Tensor
from ..tensor import dtype as d
from ..tensor import functions as T
from ..tensor.device import device_count
from ..tensor.functions_amp import unscale_, update_scale_
from ..tensor.recorded import concrete_zeros, held_boundary, step_boundary

__all__ = ["GradScaler", "OptState"]


class OptState(Enum):
    """How far an optimizer has come since the last `GradScaler.update`."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _fresh() -> dict[str, Any]:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


class GradScaler:
    """Multiplies losses by a scale that adapts itself, divides gradients by it, and leaves out steps that overflowed.

        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)          # only to look at gradients, or clip them
        scaler.step(optimizer)              # not taken if a gradient is infinite or NaN
        scaler.update()                     # scale * backoff_factor after such a step, * growth_factor after
                                            # growth_interval steps in a row without one

    Nothing is read on the way: whether there was an overflow is a value of the recorded program, and a step that is
    left out is a selection of the old parameters and state (step counters too).  Exceptions are optimizers whose
    ``step`` is Python of their own, those with step hooks, and SGD with dampening: there the flag is read, as in
    PyTorch.

    device: "cuda", "cpu" or "tpu"; with "cuda" where JAX has no GPU it warns and is disabled.  Defaults: init_scale 2
    ** 16, growth_factor 2, backoff_factor 0.5, growth_interval 2000.  With enabled=False `step` is the optimizer's and
    everything else does nothing.

    Raises: AssertionError for growth_factor <= 1 or backoff_factor >= 1.
    Source: torch.amp.GradScaler; Micikevicius et al. 2018, arXiv:1710.03740.
    """

    def __init__(
        self, device: str = "cuda", init_scale: float = 2.0**16, growth_factor: float = 2.0,
        backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        self._device, self._enabled = device, enabled
        if enabled and device == "cuda" and not device_count("cuda"):
            warnings.warn("torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.", UserWarning,
                          stacklevel=2)
            self._enabled = False
        if not self._enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError(f"The growth factor must be > 1.0, but it is {growth_factor}.")
        if backoff_factor >= 1.0:
            raise AssertionError(f"The backoff factor must be < 1.0, but it is {backoff_factor}.")
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._init_scale, self._init_growth_tracker = init_scale, 0
        self._scale: Tensor | None = None
        self._growth_tracker: Tensor | None = None
        self._per_optimizer_states: defaultdict[int, dict[str, Any]] = defaultdict(_fresh)

    # ---- scaling ---------------------------------------------------------------------------------------------------

    def _begin(self, like: Tensor) -> None:
        """Make scale and tracker, on the device of the first output."""
        if self._scale is None:
            self._scale = concrete_zeros(like, d.float32, (), fill=self._init_scale)
            self._growth_tracker = concrete_zeros(like, d.int32, (), fill=self._init_growth_tracker)

    def _begun(self, what: str) -> Tensor:
        if self._scale is None:
            raise AssertionError(
                f"Attempted {what} but _scale is None.  This may indicate your script did not use scaler.scale(loss or "
                "outputs) earlier in the iteration."
            )
        return self._scale

    def scale(self, outputs: Any) -> Any:
        """A tensor times the scale, or lists, tuples and other iterables of tensors; unchanged if not enabled.

        Raises: ValueError for anything else.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            self._begin(outputs)
            return outputs * self._scale.to(outputs.device)  # type: ignore[union-attr]
        if isinstance(outputs, (list, tuple)):
            return type(outputs)([self.scale(x) for x in outputs])
        if isinstance(outputs, Iterable) and not isinstance(outputs, (str, bytes)):
            return map(self.scale, outputs)
        raise ValueError(f"outputs must be a Tensor or an iterable of Tensors, not {type(outputs).__name__}")

    def _unscale(self, optimizer: Any, inverse: Tensor, allow_fp16: bool) -> dict[Any, Tensor]:
        """Multiply all gradients by ``inverse``; a flag for each device on which there are any."""
        by_device: dict[Any, list[Tensor]] = {}
        for group in optimizer.param_groups:
            for p in group["params"]:
                g = p.grad
                if g is None:
                    continue
                if g.dtype is d.float16 and not allow_fp16:
                    raise ValueError("Attempting to unscale FP16 gradients.")
                by_device.setdefault(g.device, []).append(g)
        found = {}
        with no_grad():
            for device, grads in by_device.items():
                found[device] = T.zeros((), dtype=d.float32, device=device)
                unscale_(grads, found[device], inverse.to(device))
                for spread in {g._spread.group: g._spread for g in grads if g._spread is not None}.values():
                    found[device] = spread.any_of(found[device])  # a gradient divided among processes
        return found

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, in place, and look for overflow.

        For use between backward and `step`, once; `step` does it otherwise.
        Raises: RuntimeError if it was already done or the optimizer has stepped since `update`; ValueError for float16
        gradients; AssertionError if nothing was scaled before.
        """
        if not self._enabled:
            return
        scale = self._begun("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        state["found_inf_per_device"] = self._unscale(optimizer, scale.reciprocal(), _is_fused(optimizer))
        state["stage"] = OptState.UNSCALED

    # ---- the step --------------------------------------------------------------------------------------------------

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step(*args, **kwargs)`` on unscaled gradients, unless one of them is infinite or NaN.

        Returns what the optimizer returned; None if a step was left out after its flag was read.
        Raises: RuntimeError for a ``closure`` or a second step before `update`; AssertionError if nothing was scaled
        before or no parameter has a gradient.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        scale = self._begun("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")

        plain = getattr(type(optimizer), "step", None) is Optimizer.step
        holds = "_takes_found_inf" if plain else "_step_supports_amp_scaling"
        recorded = getattr(optimizer, holds, False) and not _has_hooks(optimizer)
        if recorded and not plain and _wants_scaler(optimizer):
            out = optimizer.step(*args, **{**kwargs, "grad_scaler": self})
            state["stage"] = OptState.STEPPED
            return out
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        found = list(state["found_inf_per_device"].values())
        if not found:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        with held_boundary():  # the update of the scale belongs to the same program
            if recorded:
                flag = found[0].to(scale.device)
                for other in found[1:]:
                    flag = flag + other.to(scale.device)
                optimizer.found_inf, optimizer.grad_scale = flag, getattr(optimizer, "grad_scale", None)
                try:
                    out = optimizer.step(*args, **kwargs)
                finally:
                    del optimizer.found_inf, optimizer.grad_scale
            else:
                out = None if any(flag.item() for flag in found) else optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return out

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale to what the steps since the last update found, or set it to ``new_scale``.

        Raises: AssertionError if nothing was scaled or stepped before, or for a ``new_scale`` that is neither a float
        nor a tensor of one element on the scaler's device without gradient.
        """
        if not self._enabled:
            return
        scale = self._begun("update")
        if new_scale is None:
            found = [
                flag.to(scale.device)
                for state in self._per_optimizer_states.values()
                for flag in state["found_inf_per_device"].values()
            ]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            with no_grad():
                flag = found[0]
                for other in found[1:]:
                    flag = flag + other
                update_scale_(scale, self._growth_tracker, flag, self._growth_factor, self._backoff_factor,
                              self._growth_interval)  # fmt: skip
        elif isinstance(new_scale, float):
            self._scale = concrete_zeros(scale, fill=new_scale)
        else:
            kind = "cuda" if not isinstance(new_scale, Tensor) else new_scale.device.type
            if not isinstance(new_scale, Tensor) or kind != self._device or new_scale.numel() != 1 or (
                new_scale.requires_grad
            ):  # fmt: skip
                raise AssertionError(
                    f"new_scale should be a float or a 1-element Tensor on '{self._device}' with requires_grad=False."
                )
            with no_grad():
                scale.copy_(new_scale.reshape(()))
        self._per_optimizer_states = defaultdict(_fresh)
        step_boundary()

    # ---- what it knows ---------------------------------------------------------------------------------------------

    def _get_scale_async(self) -> Tensor | None:
        return self._scale

    def _found_inf_per_device(self, optimizer: Any) -> dict[Any, Tensor]:
        return self._per_optimizer_states[id(optimizer)]["found_inf_per_device"]

    def get_scale(self) -> float:
        """The scale; 1.0 if not enabled.  Reads it, which waits for the device."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        return self._init_growth_tracker if self._growth_tracker is None else self._growth_tracker.item()

    def get_growth_factor(self) -> float:
        """By what the scale is multiplied after growth_interval steps without overflow."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set the growth factor."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """By what the scale is multiplied after an overflow."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set the backoff factor."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many steps without overflow the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set the growth interval."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether this scaler does anything."""
        return self._enabled

    # ---- saving ----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Scale, factors, interval and ``"_growth_tracker"`` as numbers, to be taken after `update`; {} if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(), "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval, "_growth_tracker": self._get_growth_tracker(),
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`, this library's or PyTorch's; nothing if not enabled.

        Raises: RuntimeError if it is empty, as a disabled scaler's is.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("The source state dict is empty, possibly because it was saved from a disabled instance "
                               "of GradScaler.")  # fmt: skip
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_scale, self._init_growth_tracker = state_dict["scale"], state_dict["_growth_tracker"]
        if self._scale is not None:
            like, self._scale = self._scale, None
            self._begin(like)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self._enabled:
            if self._per_optimizer_states:
                raise AssertionError("A GradScaler instance may only be pickled at the beginning of an iteration, or "
                                     "at the end after scaler.update().")  # fmt: skip
            state |= {"_init_scale": self.get_scale(), "_init_growth_tracker": self._get_growth_tracker()}
            state |= {"_scale": None, "_growth_tracker": None}
        return state


def _is_fused(optimizer: Any) -> bool:
    """PyTorch's fused kernels take float16 gradients, its other ones do not."""
    return any(group.get("fused") for group in optimizer.param_groups)


def _has_hooks(optimizer: Any) -> bool:
    """Hooks must not be called for a step that is left out, which only reading the flag can tell."""
    return bool(
        _optimizer._global_step_pre_hooks or _optimizer._global_step_post_hooks
        or getattr(optimizer, "_optimizer_step_pre_hooks", None)
        or getattr(optimizer, "_optimizer_step_post_hooks", None)
    )  # fmt: skip


def _wants_scaler(optimizer: Any) -> bool:
    """Whether a user's optimizer asks for the scaler, the older of PyTorch's two ways."""
    return "grad_scaler" in inspect.signature(optimizer.step).parameters
