"""``torchdata.stateful_dataloader``: this package's own loader is one."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from ..utils.data import DataLoader

__all__ = ["Stateful", "StatefulDataLoader"]


@runtime_checkable
class Stateful(Protocol):
    """What has a state that can be saved: data sets and samplers that go on by themselves."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class StatefulDataLoader(DataLoader):
    """A DataLoader, whose ``state_dict`` is exact after each batch, whatever ``snapshot_every_n_steps`` says.

    The states are this package's own, not torchdata's.
    """

    def __init__(self, *args: Any, snapshot_every_n_steps: int | None = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.snapshot_every_n_steps = snapshot_every_n_steps
