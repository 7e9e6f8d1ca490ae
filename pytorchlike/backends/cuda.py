"""``torch.backends.cuda``: settings of matrix products on GPUs, and of attention."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from ..tensor.device import device_count
from ..tensor.functions_settings import get_float32_matmul_precision, set_float32_matmul_precision
from . import _PRECISIONS, set_precision
from ._settings import checked_bool

__all__ = [
    "SDPAParams", "allow_fp16_bf16_reduction_math_sdp", "blas_workspace_size", "can_use_cudnn_attention",
    "can_use_efficient_attention", "can_use_flash_attention", "cuFFTPlanCacheAttrContextProp",
    "cuFFTPlanCacheManager", "cublas_workspace_size", "cublaslt_workspace_size", "cudnn_sdp_enabled",
    "cufft_plan_cache", "enable_cudnn_sdp", "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp",
    "flash_sdp_enabled", "fp16_bf16_reduction_math_sdp_allowed", "is_built", "is_ck_sdpa_available",
    "is_flash_attention_available", "math_sdp_enabled", "matmul", "mem_efficient_sdp_enabled",
    "preferred_blas_library", "preferred_linalg_library", "sdp_kernel",
]  # fmt: skip


def is_built() -> bool:
    """Whether JAX brings CUDA here; not whether there is a GPU."""
    from .. import version

    return version.cuda is not None


class cuBLASModule:
    """Settings of matrix products; ``torch.backends.cuda.matmul`` is the one of this process."""

    __slots__ = ("_reduced",)

    def __init__(self) -> None:
        self._reduced = {"fp16": True, "bf16": True}

    @property
    def allow_tf32(self) -> bool:
        """Whether products of float32 may be less exact; the same setting as ``set_float32_matmul_precision``."""
        return get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        set_float32_matmul_precision("high" if checked_bool("allow_tf32", value) else "highest")

    @property
    def fp32_precision(self) -> str:
        """'ieee', 'tf32' or 'bf16'; the same setting as :attr:`allow_tf32`."""
        return next(k for k, v in _PRECISIONS.items() if v == get_float32_matmul_precision())

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        set_precision(value)

    @property
    def allow_fp16_reduced_precision_reduction(self) -> bool:
        """A permission, which is kept; XLA accumulates products of float16 in float32."""
        return self._reduced["fp16"]

    @allow_fp16_reduced_precision_reduction.setter
    def allow_fp16_reduced_precision_reduction(self, value: bool) -> None:
        self._reduced["fp16"] = checked_bool("allow_fp16_reduced_precision_reduction", value)

    @property
    def allow_bf16_reduced_precision_reduction(self) -> bool:
        """A permission, which is kept; XLA accumulates products of bfloat16 in float32."""
        return self._reduced["bf16"]

    @allow_bf16_reduced_precision_reduction.setter
    def allow_bf16_reduced_precision_reduction(self, value: bool) -> None:
        self._reduced["bf16"] = checked_bool("allow_bf16_reduced_precision_reduction", value)


#: Settings of matrix products.
matmul = cuBLASModule()


class cuFFTPlanCache:
    """XLA keeps the plans of Fourier transforms in its programs: nothing is counted, and nothing can be limited."""

    size, max_size = 0, 0

    def clear(self) -> None:
        """Nothing is to be cleared."""

    def __getitem__(self, index: Any) -> cuFFTPlanCache:
        return self


class cuFFTPlanCacheAttrContextProp:
    """An attribute of a device's plan cache: read by ``getter(device_index)``, set by ``setter(device_index, value)``.

    A ``setter`` that is a text is what RuntimeError says of an attribute that cannot be set.
    """

    def __init__(self, getter: Any, setter: Any) -> None:
        self.getter, self.setter = getter, setter

    def __get__(self, obj: Any, objtype: Any = None) -> Any:
        return self.getter(obj.device_index)

    def __set__(self, obj: Any, val: Any) -> None:
        if isinstance(self.setter, str):
            raise RuntimeError(self.setter)
        self.setter(obj.device_index, val)


class cuFFTPlanCacheManager(cuFFTPlanCache):
    """The plan caches of all devices, by index: see :class:`cuFFTPlanCache`."""


#: See :class:`cuFFTPlanCache`.
cufft_plan_cache = cuFFTPlanCacheManager()

_workspaces = {"cublas": 0, "cublaslt": 0}


def _workspace(library: str, size: int | None) -> int:
    if size is not None:
        if not isinstance(size, int) or size < 0:
            raise RuntimeError(f"{library}_workspace_size: expected a number of bytes, got {size!r}")
        _workspaces[library] = size
    return _workspaces[library]


def cublas_workspace_size(size: int | None = None) -> int:
    """The wish for bytes of working memory, which is kept; 0: none. XLA allots working memory by itself."""
    return _workspace("cublas", size)


def cublaslt_workspace_size(size: int | None = None) -> int:
    """As :func:`cublas_workspace_size`."""
    return _workspace("cublaslt", size)


def blas_workspace_size(size: int | None = None, backend: str | None = None) -> int:
    """:func:`cublas_workspace_size` or :func:`cublaslt_workspace_size`, by ``backend`` (the preferred library)."""
    name = str(preferred_blas_library() if backend is None else backend).lower()
    return _workspace("cublaslt" if name.endswith("cublaslt") else "cublas", size)


def is_ck_sdpa_available() -> bool:
    """False: composable_kernel is not among XLA's libraries."""
    return False


def _preferred(name: str, choices: tuple[str, ...]) -> Any:
    state = {"now": "default"}

    def preferred(backend: str | None = None) -> str:
        if backend is not None:
            if backend not in choices:
                raise RuntimeError(f"Unknown input value {backend!r}; choose from: {', '.join(choices)}.")
            state["now"] = backend
        return state["now"]

    preferred.__name__ = preferred.__qualname__ = name
    preferred.__doc__ = f"The preference ({', '.join(choices)}), which is kept; XLA chooses libraries by itself."
    return preferred


preferred_linalg_library = _preferred("preferred_linalg_library", ("default", "cusolver", "magma"))
preferred_blas_library = _preferred("preferred_blas_library", ("default", "cublas", "cublaslt", "hipblaslt", "ck"))
preferred_rocm_fa_library = _preferred("preferred_rocm_fa_library", ("default", "aotriton", "ck"))

# -- which formulations of attention are allowed: all give the same result, and the choice is made by measurement ------

_sdp = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True, "reduction": False}


def _switch(name: str) -> tuple[Any, Any]:
    def enable(enabled: bool) -> None:
        _sdp[name] = bool(enabled)

    def enabled() -> bool:
        return _sdp[name]

    enable.__doc__ = "A preference, which is kept: attention is computed by the formulation that is quickest here."
    enabled.__doc__ = "The preference that was set."
    return enable, enabled


enable_flash_sdp, flash_sdp_enabled = _switch("flash")
enable_mem_efficient_sdp, mem_efficient_sdp_enabled = _switch("mem_efficient")
enable_math_sdp, math_sdp_enabled = _switch("math")
enable_cudnn_sdp, cudnn_sdp_enabled = _switch("cudnn")
allow_fp16_bf16_reduction_math_sdp, fp16_bf16_reduction_math_sdp_allowed = _switch("reduction")


@contextlib.contextmanager
def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True, enable_cudnn: bool = True
) -> Iterator[None]:
    """The four preferences inside a block; ``torch.nn.attention.sdpa_kernel`` is the newer way."""
    before = dict(_sdp)
    _sdp.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
    try:
        yield
    finally:
        _sdp.update(before)


class SDPAParams:
    """Arguments of an attention call, for :func:`can_use_flash_attention` and its kin."""

    def __init__(
        self, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout: float = 0.0, is_causal: bool = False,
        enable_gqa: bool = False,
    ) -> None:  # fmt: skip
        self.query, self.key, self.value, self.attn_mask = query, key, value, attn_mask
        self.dropout, self.is_causal, self.enable_gqa = dropout, is_causal, enable_gqa


def is_flash_attention_available() -> bool:
    """Whether GPUs are here, where XLA may use a fused attention kernel."""
    return device_count("cuda") > 0


def can_use_flash_attention(params: SDPAParams, debug: bool = False) -> bool:
    """Whether a fused kernel may serve the call: on GPUs, in half precision. debug: warn of what speaks against it."""
    query = params.query
    why = ("the tensors are not on a GPU" if not query.is_cuda else
           f"they are of {query.dtype}, not of half precision" if query.dtype.itemsize != 2 else None)
    if debug and why:
        warnings.warn(f"Fused attention is not used, since {why}.", stacklevel=2)
    return why is None


can_use_efficient_attention = can_use_cudnn_attention = can_use_flash_attention
