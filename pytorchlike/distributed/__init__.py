"""``torch.distributed``: what there is of it. ``checkpoint`` saves and loads sharded state."""

from . import checkpoint as checkpoint


def is_available() -> bool:
    """Whether process groups exist: no. One process drives all its devices."""
    return False


def is_initialized() -> bool:
    """Whether there is a default process group: no."""
    return False
