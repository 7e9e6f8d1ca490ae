"""``torch.distributed.utils``: what libraries call of it."""

from __future__ import annotations

from collections.abc import Iterable

from ..autograd.mode import no_grad
from ..nn.modules.module import Module
from ._group import ProcessGroup

__all__: list[str] = []


def _sync_module_states(module: Module, process_group: ProcessGroup, broadcast_bucket_size: int, src: int,
                        params_and_buffers_to_ignore: Iterable[str] = (), broadcast_buffers: bool = True) -> None:
    """Give everybody the parameters (and buffers) of the member src. broadcast_bucket_size: XLA decides."""
    ignored = set(params_and_buffers_to_ignore)
    states = [*module.named_parameters(), *(module.named_buffers() if broadcast_buffers else ())]
    with no_grad():
        for name, tensor in states:
            if name not in ignored:
                value = process_group.broadcast(tensor, src)
                if value is not tensor:
                    tensor.copy_(value)
