"""PyTorch's programming model on JAX.

``import pytorchlike as torch`` and write PyTorch: operations are recorded as they are called and executed, fused into
one XLA program, when a value is read or an optimizer step ends.
"""

from __future__ import annotations

import importlib as _importlib
import math as _math
import os as _os
from typing import Any

from . import _forks as _forks
from . import _numbers_kept as _numbers_kept
from .tensor import Size as Size
from .tensor import Tensor as Tensor
from .tensor import as_tensor as as_tensor
from .tensor import dtype as _dtype
from .tensor import from_jax as from_jax
from .tensor import from_numpy as from_numpy
from .tensor import tensor as tensor
from .tensor._names import find as _find
from .tensor._names import names as _names
from .tensor.device import device as device
from .tensor.device import get_default_device as get_default_device
from .tensor.device import set_default_device as set_default_device
from .tensor.dtype import can_cast as can_cast
from .tensor.dtype import channels_last as channels_last
from .tensor.dtype import channels_last_3d as channels_last_3d
from .tensor.dtype import contiguous_format as contiguous_format
from .tensor.dtype import dtype as dtype
from .tensor.dtype import finfo as finfo
from .tensor.dtype import get_default_dtype as get_default_dtype
from .tensor.dtype import iinfo as iinfo
from .tensor.dtype import jagged as jagged
from .tensor.dtype import layout as layout
from .tensor.dtype import memory_format as memory_format
from .tensor.dtype import per_channel_affine as per_channel_affine
from .tensor.dtype import per_channel_affine_float_qparams as per_channel_affine_float_qparams
from .tensor.dtype import per_channel_symmetric as per_channel_symmetric
from .tensor.dtype import per_tensor_affine as per_tensor_affine
from .tensor.dtype import per_tensor_symmetric as per_tensor_symmetric
from .tensor.dtype import preserve_format as preserve_format
from .tensor.dtype import promote_types as promote_types
from .tensor.dtype import qscheme as qscheme
from .tensor.dtype import set_default_dtype as set_default_dtype
from .tensor.dtype import sparse_bsc as sparse_bsc
from .tensor.dtype import sparse_bsr as sparse_bsr
from .tensor.dtype import sparse_coo as sparse_coo
from .tensor.dtype import sparse_csc as sparse_csc
from .tensor.dtype import sparse_csr as sparse_csr
from .tensor.dtype import strided as strided
from .tensor.printing import set_printoptions as set_printoptions
from .tensor.random import Generator as Generator
from .tensor.random import default_generator as default_generator
from .tensor.random import get_rng_state as get_rng_state
from .tensor.random import initial_seed as initial_seed
from .tensor.random import manual_seed as manual_seed
from .tensor.random import seed as seed
from .tensor.random import set_rng_state as set_rng_state

from . import version as _version  # isort: skip
from .version import __version__ as __version__  # isort: skip

from .autograd.mode import enable_grad as enable_grad  # isort: skip
from .autograd.mode import inference_mode as inference_mode  # isort: skip
from .autograd.mode import is_grad_enabled as is_grad_enabled  # isort: skip
from .autograd.mode import is_inference_mode_enabled as is_inference_mode_enabled  # isort: skip
from .autograd.anomaly_mode import is_anomaly_check_nan_enabled as is_anomaly_check_nan_enabled  # isort: skip
from .autograd.anomaly_mode import is_anomaly_enabled as is_anomaly_enabled  # isort: skip
from .autograd.mode import no_grad as no_grad  # isort: skip
from .autograd.mode import set_grad_enabled as set_grad_enabled  # isort: skip

#: The version of PyTorch whose behaviour is followed.
__torch_version__ = _version.torch

globals().update(_dtype.NAMES)

inf = _math.inf
nan = _math.nan
pi = _math.pi
e = _math.e
newaxis = None
legacy_contiguous_format = contiguous_format
#: What PyTorch was built with; JAX brings a LAPACK (SciPy's), but neither MKL nor OpenMP.
has_lapack, has_mkl, has_openmp = True, False, False

_MODULES = {
    "autograd", "nn", "optim", "utils", "linalg", "fft", "special", "compiler", "serialization", "random", "engine",
    "masked", "return_types", "signal", "amp", "storage", "types", "version", "torch_version", "testing", "cuda", "cpu",
    "mps", "xpu", "mtia", "accelerator", "backends", "hub", "jit", "library", "overrides", "multiprocessing", "futures",
    "fx", "monitor", "package", "distributions", "distributed", "func", "functional", "sparse", "nested", "export",
    "onnx", "profiler", "quantization", "ao", "_C", "_logging", "_utils", "_dynamo", "_jit_internal", "__config__",
    "__future__", "vision", "text", "audio", "_higher_order_ops", "_subclasses", "_tensor_str", "_VF",
    "quasirandom", "_six", "_inductor", "_functorch", "_guards", "_tensor",
}  # fmt: skip
_ELSEWHERE = {
    "cond": "_higher_order_ops", "while_loop": "_higher_order_ops",
    "save": "serialization", "load": "serialization", "PyTorchFileReader": "serialization",
    "ScriptModule": "jit", "ScriptFunction": "jit",
    "vmap": "func", "compile": "compiler", "autocast": "amp",
    "GradScaler": "amp", "Stream": "_streams", "Event": "_streams", "OutOfMemoryError": "_errors",
    "AcceleratorError": "_errors", "UntypedStorage": "storage", "TypedStorage": "storage", "Storage": "storage",
    "StorageBase": "storage",
    **{f"_check{kind}": "_checks" for kind in (
        "", "_index", "_is_size", "_not_implemented", "_tensor_all", "_tensor_all_with", "_type", "_value", "_with",
    )},
    "set_debug": "_debug", "get_debug": "_debug",
    **dict.fromkeys((
        "lstm", "gru", "rnn_tanh", "rnn_relu", "_log_softmax", "_log_softmax_backward_data", "_softmax",
        "_softmax_backward_data", "alpha_dropout", "alpha_dropout_", "batch_norm", "binary_cross_entropy_with_logits",
        "convolution", "cosine_embedding_loss", "ctc_loss", "dropout", "dropout_", "embedding",
        "feature_alpha_dropout", "hinge_embedding_loss", "instance_norm", "kl_div",
        "margin_ranking_loss", "native_batch_norm", "native_dropout", "native_group_norm", "native_layer_norm",
        "poisson_nll_loss", "triplet_margin_loss", "_assert", "_assert_async", "_convert_indices_from_coo_to_csr",
        "_convert_indices_from_csr_to_coo", "_reshape_from_tensor", "_segment_reduce", "_shape_as_tensor",
        "_weight_norm", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_efficientzerotensor", "_embedding_bag",
        "_euclidean_dist", "_int_mm", "_scaled_mm", "_trilinear", "_unique", "_unique2", "adaptive_max_pool1d",
        "embedding_bag", "feature_dropout", "feature_dropout_", "max_pool1d_with_indices", "native_channel_shuffle",
    ), "_VF"),
    "_sample_dirichlet": "tensor.functions", "_standard_gamma": "tensor.functions",
    "get_device_module": "_devices", "Future": "futures", "SymInt": "_unmapped", "SymFloat": "_unmapped",
    "SymBool": "_unmapped", "Tag": "_unmapped", "TensorType": "_unmapped",
    "DeviceObjType": "_unmapped", "DisableTorchFunction": "overrides",
    "DisableTorchFunctionSubclass": "overrides", "install_as_torch": "_hook", "uninstall_as_torch": "_hook",
    **{f"{kind}Storage": "storage" for kind in (
        "Double", "Float", "Half", "Long", "Int", "Short", "Char", "Byte", "Bool", "BFloat16", "ComplexDouble",
        "ComplexFloat",
    )},
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        try:
            return _importlib.import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
            raise AttributeError(f"module 'torch' has no attribute '{name}': pytorchlike lacks it") from None
    if name.startswith("__"):
        raise AttributeError(f"module 'torch' has no attribute '{name}'")
    if name == "torch":  # PyTorch's module has itself as an attribute, which annotations of some programs name
        return _importlib.import_module(__name__)
    if name in _ELSEWHERE:
        try:
            found = getattr(_importlib.import_module(f"{__name__}.{_ELSEWHERE[name]}"), name)
        except ModuleNotFoundError:
            found = None
    else:
        from .tensor import functions

        found = getattr(functions, name, None) if not name.startswith("_") else _find("", name)
    if found is None:
        raise AttributeError(
            f"module 'torch' has no attribute '{name}': pytorchlike lacks it (see docs/differences.md)"
        )
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*(n for n in globals() if not n.startswith("_")), *_MODULES, *_ELSEWHERE, *_names("torch")})


if _os.environ.get("TORCH_LOGS"):
    from ._logging import from_environment as _logs_from_environment

    _logs_from_environment(_os.environ["TORCH_LOGS"])
if _os.environ.get("PYTORCHLIKE_DEBUG"):
    from ._debug import from_environment as _from_environment

    _from_environment(_os.environ["PYTORCHLIKE_DEBUG"])
