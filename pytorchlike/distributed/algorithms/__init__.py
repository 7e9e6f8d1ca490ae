"""``torch.distributed.algorithms``: what libraries ask of it."""

from . import ddp_comm_hooks as ddp_comm_hooks
