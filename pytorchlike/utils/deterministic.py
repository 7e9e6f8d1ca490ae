"""``torch.utils.deterministic``: settings of deterministic algorithms."""

from __future__ import annotations

from ..backends._settings import Settings, hint, use


class _Deterministic(Settings):
    fill_uninitialized_memory = hint("fill_uninitialized_memory", True, bool, "torch.utils.deterministic")


#: ``fill_uninitialized_memory``: ``torch.empty`` gives zeros here in any case.
use(__name__, _Deterministic)
