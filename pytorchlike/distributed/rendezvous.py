"""``torch.distributed.rendezvous``: where processes meet, by the scheme of a URL."""

from ._rendezvous import register_rendezvous_handler as register_rendezvous_handler
from ._rendezvous import rendezvous as rendezvous
