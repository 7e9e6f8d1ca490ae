"""Settings of PyTorch's ahead-of-time autograd, which are kept: there is nothing that they would change."""

from .._kept_settings import patcher

donated_buffer = enable_autograd_cache = True
activation_memory_budget = 1.0

patch = patcher(globals())
