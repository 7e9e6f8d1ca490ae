"""Settings of PyTorch's bytecode compiler, which are kept: there is nothing that they would change."""

from .._kept_settings import patcher

suppress_errors = capture_scalar_outputs = capture_dynamic_output_shape_ops = verbose = error_on_recompile = False
dynamic_shapes = automatic_dynamic_shapes = assume_static_by_default = optimize_ddp = inline_inbuilt_nn_modules = True
cache_size_limit = recompile_limit = 8
accumulated_cache_size_limit = accumulated_recompile_limit = 256

patch = patcher(globals())
