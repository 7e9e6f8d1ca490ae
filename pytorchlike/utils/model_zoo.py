"""``torch.utils.model_zoo``: older names of what is in ``torch.hub``."""

from __future__ import annotations

from ..hub import load_state_dict_from_url as load_url  # noqa: F401
