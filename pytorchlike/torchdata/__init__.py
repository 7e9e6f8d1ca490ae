"""``torchdata``: the loader that tells where it stands. Nodes and data pipes are missing."""

from .._hook import VERSIONS
from . import stateful_dataloader as stateful_dataloader

#: The torchdata that is followed.
__version__ = VERSIONS["torchdata"]
