"""Settings of PyTorch's code generator, kept for programs that set them. XLA's are told by docs/environment.md."""

from types import SimpleNamespace

from .._kept_settings import patcher

max_autotune = coordinate_descent_tuning = epilogue_fusion = fx_graph_cache = force_fuse_int_mm_with_mul = False
triton, cpp, cuda = (SimpleNamespace(unique_kernel_names=False, cudagraphs=False) for _ in range(3))

patch = patcher(globals())
