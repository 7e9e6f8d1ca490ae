"""``torch.utils.tensorboard``: event files for TensorBoard, written by tensorboardX.

Needs ``pip install "pytorchlike[tensorboard]"``; ImportError says so.
"""

try:
    import tensorboardX as _library  # noqa: F401
except ImportError as _error:
    raise ImportError('torch.utils.tensorboard needs tensorboardX: pip install "pytorchlike[tensorboard]"') from _error

from ._writer import FileWriter as FileWriter
from ._writer import RecordWriter as RecordWriter
from ._writer import SummaryWriter as SummaryWriter
