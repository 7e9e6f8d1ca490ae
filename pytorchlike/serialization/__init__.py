"""Saving and loading: ``torch.save``, ``torch.load`` and what belongs to them."""

from ._globals import add_safe_globals as add_safe_globals
from ._globals import clear_safe_globals as clear_safe_globals
from ._globals import get_safe_globals as get_safe_globals
from ._globals import safe_globals as safe_globals
from ._load import MAP_LOCATION as MAP_LOCATION
from ._load import get_unsafe_globals_in_checkpoint as get_unsafe_globals_in_checkpoint
from ._load import load as load
from ._reader import PyTorchFileReader as PyTorchFileReader
from ._rebuild import StorageType as StorageType
from ._rebuild import get_layout as _get_layout  # noqa: F401 - PyTorch's pickles of sparse tensors name it
from ._save import save as save
from ._settings import DEFAULT_PROTOCOL as DEFAULT_PROTOCOL
from ._settings import MAGIC_NUMBER as MAGIC_NUMBER
from ._settings import PROTOCOL_VERSION as PROTOCOL_VERSION
from ._settings import LoadEndianness as LoadEndianness
from ._settings import SourceChangeWarning as SourceChangeWarning
from ._settings import check_module_version_greater_or_equal as check_module_version_greater_or_equal
from ._settings import default_restore_location as default_restore_location
from ._settings import get_crc32_options as get_crc32_options
from ._settings import get_default_load_endianness as get_default_load_endianness
from ._settings import get_default_mmap_options as get_default_mmap_options
from ._settings import location_tag as location_tag
from ._settings import mkdtemp as mkdtemp
from ._settings import normalize_storage_type as normalize_storage_type
from ._settings import register_package as register_package
from ._settings import set_crc32_options as set_crc32_options
from ._settings import set_default_load_endianness as set_default_load_endianness
from ._settings import set_default_mmap_options as set_default_mmap_options
from ._settings import skip_data as skip_data
from ._settings import storage_to_tensor_type as storage_to_tensor_type
from ._settings import validate_cuda_device as validate_cuda_device
from ._settings import validate_hpu_device as validate_hpu_device
from ._zip import is_zipfile as _is_zipfile  # noqa: F401 - programs tell old files from new ones by it
