"""``torch.backends.opt_einsum``: how ``einsum`` orders the products of several operands."""

from __future__ import annotations

from typing import Any

from ._settings import Settings, hint, use


def is_available() -> bool:
    """True: JAX depends on opt_einsum."""
    return True


def get_opt_einsum() -> Any:
    """The opt_einsum package."""
    import opt_einsum

    return opt_einsum


class _OptEinsum(Settings):
    enabled = hint("enabled", True, bool, "opt_einsum")
    _kept_strategy = hint("strategy", "auto", str, "opt_einsum")

    @property
    def strategy(self) -> str | None:
        """A strategy of opt_einsum, such as 'auto', 'auto-hq' or 'optimal'; all orders give the same sums."""
        return self._kept_strategy if self.enabled else None

    @strategy.setter
    def strategy(self, value: str) -> None:
        self._kept_strategy = value


use(__name__, _OptEinsum)
