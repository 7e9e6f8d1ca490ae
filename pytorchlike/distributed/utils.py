"""``torch.distributed.utils``: what libraries call of it."""

from __future__ import annotations

from collections.abc import Iterable

from ..nn.modules.module import Module
from ._gradients import send_all
from ._group import ProcessGroup

__all__: list[str] = []


def _sync_module_states(module: Module, process_group: ProcessGroup, broadcast_bucket_size: int, src: int,
                        params_and_buffers_to_ignore: Iterable[str] = (), broadcast_buffers: bool = True) -> None:
    """Give everybody the parameters (and buffers) of the member src. All at once, whatever broadcast_bucket_size."""
    ignored = set(params_and_buffers_to_ignore)
    states = [*module.named_parameters(), *(module.named_buffers() if broadcast_buffers else ())]
    send_all(process_group, [tensor for name, tensor in states if name not in ignored], src)
