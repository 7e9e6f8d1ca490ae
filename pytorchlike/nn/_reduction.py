"""``torch.nn._reduction``: the ``reduction`` argument of losses, and the two boolean arguments it replaced."""

from ..ops._reduction import get_enum, legacy_get_enum, legacy_get_string

__all__ = ["get_enum", "legacy_get_enum", "legacy_get_string"]
