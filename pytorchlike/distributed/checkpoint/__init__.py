"""``torch.distributed.checkpoint``: state dicts to and from directories, sharded and in the background, by Orbax.

Needs ``pip install "pytorchlike[checkpoint]"``. The directories are Orbax's, not PyTorch's ``.distcp`` files.
"""

from . import state_dict as state_dict
from ._storage import FileSystemReader as FileSystemReader
from ._storage import FileSystemWriter as FileSystemWriter
from ._storage import StorageReader as StorageReader
from ._storage import StorageWriter as StorageWriter
from .state_dict_loader import load as load
from .state_dict_loader import load_state_dict as load_state_dict
from .state_dict_saver import async_save as async_save
from .state_dict_saver import save as save
from .state_dict_saver import save_state_dict as save_state_dict
from .stateful import Stateful as Stateful
