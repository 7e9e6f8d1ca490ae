"""``torch._inductor``: PyTorch's code generator, in whose place XLA is; its settings can be set, with no effect."""

from . import config as config
