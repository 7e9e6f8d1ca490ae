"""``torch.distributed.remote_device``: a device of a process."""

from __future__ import annotations

from ..tensor.device import device

__all__ = ["_remote_device"]


class _remote_device:
    """``rank:1/cuda:0``, ``worker/cpu`` or ``cpu``: who, and which device there. ValueError for anything else."""

    def __init__(self, remote_device: str | device) -> None:
        given = str(remote_device)
        who, slash, where = given.rpartition("/")
        if who.count("/") or (slash and not who) or not where:
            raise ValueError(f"Could not parse remote_device: {given}. The valid format is '<workername>/<device>' or "
                             "'rank:<rank>/<device>' or '<device>'")
        try:
            self._device = device(where)
        except RuntimeError:
            if slash:
                raise
            who, self._device = where, device("cpu")  # a worker's name alone
        self._rank: int | None = int(who[5:]) if who.startswith("rank:") and who[5:].isdigit() else None
        self._worker = who if who and self._rank is None else None

    def worker_name(self) -> str | None:
        """The worker's name, if it was given."""
        return self._worker

    def rank(self) -> int | None:
        """The rank, if it was given."""
        return self._rank

    def device(self) -> device:
        """The device there."""
        return self._device

    def __repr__(self) -> str:
        who = self._worker if self._rank is None else f"rank:{self._rank}"
        return f"{who}/{self._device}" if who else str(self._device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _remote_device) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))
