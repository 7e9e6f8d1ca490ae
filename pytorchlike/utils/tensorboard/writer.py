"""``torch.utils.tensorboard.writer``: where some programs import the writers from."""

from ._writer import FileWriter as FileWriter
from ._writer import SummaryWriter as SummaryWriter
