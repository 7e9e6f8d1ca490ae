"""Saving and loading: ``torch.save``, ``torch.load`` and what belongs to them."""

from ._globals import add_safe_globals as add_safe_globals
from ._globals import clear_safe_globals as clear_safe_globals
from ._globals import get_safe_globals as get_safe_globals
from ._globals import safe_globals as safe_globals
from ._load import MAP_LOCATION as MAP_LOCATION
from ._load import get_unsafe_globals_in_checkpoint as get_unsafe_globals_in_checkpoint
from ._load import load as load
from ._reader import PyTorchFileReader as PyTorchFileReader
from ._save import save as save
