"""``torch.utils.bundled_inputs``: refused when used, since there is no TorchScript."""

from __future__ import annotations

from typing import Any, NoReturn


def bundle_inputs(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Refused: there is no TorchScript."""
    raise NotImplementedError("torch.utils.bundled_inputs: there is no TorchScript to bundle inputs with")
