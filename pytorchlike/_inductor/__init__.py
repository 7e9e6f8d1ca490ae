"""``torch._inductor``: PyTorch's code generator, in whose place XLA is; its settings can be set, with no effect."""

from . import config as config


def cudagraph_mark_step_begin() -> None:
    """Nothing: there are no CUDA graphs whose results a next step would overwrite."""
