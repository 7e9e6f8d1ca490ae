"""``torch.distributed.constants``."""

from datetime import timedelta

#: How long collectives wait for the other processes unless told otherwise.
default_pg_timeout = timedelta(minutes=30)
