"""``torch.cuda.random``: generators of the GPUs."""

from __future__ import annotations

from .._devices import DeviceModule

__all__ = [
    "get_rng_state", "get_rng_state_all", "initial_seed", "manual_seed", "manual_seed_all", "seed", "seed_all",
    "set_rng_state", "set_rng_state_all",
]  # fmt: skip

_module = DeviceModule("cuda")
get_rng_state = _module.get_rng_state
get_rng_state_all = _module.get_rng_state_all
initial_seed = _module.initial_seed
manual_seed = _module.manual_seed
manual_seed_all = _module.manual_seed_all
seed = _module.seed
seed_all = _module.seed_all
set_rng_state = _module.set_rng_state
set_rng_state_all = _module.set_rng_state_all
