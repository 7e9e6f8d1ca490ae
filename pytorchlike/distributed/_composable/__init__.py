"""``torch.distributed._composable``: older names of functions of ``torch.distributed``."""
