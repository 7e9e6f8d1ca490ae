"""Objects that save and load themselves."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

__all__ = ["Stateful", "StatefulT"]


@runtime_checkable
class Stateful(Protocol):
    """Has ``state_dict`` and ``load_state_dict``: modules, optimizers, schedulers, loaders, or the user's own."""

    def state_dict(self) -> dict[str, Any]:
        """What is to be saved."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what was saved."""
        ...


StatefulT = Stateful
