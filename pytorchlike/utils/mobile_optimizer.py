"""``torch.utils.mobile_optimizer``: refused when used, since there is no TorchScript."""

from __future__ import annotations

from typing import Any, NoReturn


def optimize_for_mobile(script_module: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Refused: there is no TorchScript."""
    raise NotImplementedError(
        "torch.utils.mobile_optimizer: there is no TorchScript; for other runtimes see torch.export"
    )
