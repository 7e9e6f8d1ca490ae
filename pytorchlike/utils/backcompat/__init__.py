"""``torch.utils.backcompat``: warnings about code for very old versions; none are given here."""

from __future__ import annotations


class Warning:
    """A switch of a warning: ``enabled`` is kept, and there is nothing to warn of."""

    def __init__(self) -> None:
        self.enabled = False


broadcast_warning = Warning()
keepdim_warning = Warning()
