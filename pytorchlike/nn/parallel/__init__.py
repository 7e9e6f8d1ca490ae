"""``torch.nn.parallel``: wrappers of modules for several devices or processes."""

from . import distributed as distributed
from .data_parallel import DataParallel as DataParallel
from .data_parallel import data_parallel as data_parallel
from .distributed import DistributedDataParallel as DistributedDataParallel
from .scatter_gather import gather as gather
from .scatter_gather import scatter as scatter
