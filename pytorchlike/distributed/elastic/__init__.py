"""``torch.distributed.elastic``: what programs that run under a launcher import of it; the launcher is ``..run``."""
