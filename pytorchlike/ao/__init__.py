"""``torch.ao``: smaller and faster models by quantisation (:mod:`.quantization`, layers in :mod:`.nn`)."""

from . import nn as nn
from . import quantization as quantization
