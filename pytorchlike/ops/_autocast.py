"""Which operators autocast treats, by the platform they run on: PyTorch's lists, in this table's names.

``lower``: floating arguments go to the lower precision. ``float32``: they go to float32, unless a ``dtype`` is asked
for. ``promote``: to the widest among them. ``refuse``: an error. Operators that are on no list take what they are given.
float64 arguments are never touched, and neither are in-place and ``out=`` forms.

PyTorch lists its primitives, so that what it composes of them (``einsum`` on the CPU, ``cross_entropy`` on the GPU)
follows; such operators are single ones here and are listed for what comes out.

Sources: the autocast registrations of PyTorch 2.13 (CPU and CUDA), and those of torch_xla for TPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

LOWER, FLOAT32, PROMOTE, REFUSE = "lower", "float32", "promote", "refuse"

#: A policy, or a function of the bound arguments that returns one or None.
Policy = str | Callable[[dict[str, Any]], str | None]

_PRODUCTS = """
    addbmm addmm baddbmm bmm chain_matmul einsum linalg_matmul linalg_multi_dot linalg_vecdot linear matmul mm _rmatmul
    conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d prelu
    scaled_dot_product_attention _scaled_dot_product_attention_dropout
"""
_NETWORKS = "_lstm _lstm_dropout _gru _gru_dropout _rnn _rnn_dropout"
_LOSSES = """
    binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy gaussian_nll_loss hinge_embedding_loss huber_loss
    kl_div l1_loss margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss nll_loss poisson_nll_loss
    smooth_l1_loss soft_margin_loss triplet_margin_loss
"""
_FACTORISATIONS = """
    cholesky cholesky_inverse cholesky_solve geqrf inverse lu_solve orgqr ormqr pinverse qr svd trace triangular_solve
    fft_fft fft_fft2 fft_fftn fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ihfft fft_irfft fft_irfft2 fft_irfftn fft_rfft
    fft_rfft2 fft_rfftn linalg_cholesky linalg_cholesky_ex linalg_cond linalg_eig linalg_eigh linalg_eigvals
    linalg_eigvalsh linalg_householder_product linalg_inv linalg_inv_ex linalg_lstsq linalg_matrix_rank linalg_qr
    linalg_solve linalg_svd linalg_svdvals linalg_tensorinv linalg_tensorsolve nanquantile polar prod quantile stft
    view_as_complex binary_cross_entropy cdist ctc_loss grid_sample
"""


def _table(lower: str, float32: str, promote: str, **special: Policy) -> dict[str, Policy]:
    table: dict[str, Policy] = dict.fromkeys(lower.split(), LOWER)
    table |= dict.fromkeys(float32.split(), FLOAT32)
    table |= dict.fromkeys(promote.split(), PROMOTE)
    return table | special


def _padding(bound: dict[str, Any]) -> str | None:
    """Reflected padding of three dimensions is the one that is not listed."""
    mode, spatial = bound.get("mode"), len(bound["pad"]) // 2
    return FLOAT32 if mode == "replicate" or (mode == "reflect" and spatial < 3) else None


def _resizing(bound: dict[str, Any]) -> str | None:
    """Resizing by areas is a mean, not an interpolation."""
    return None if bound.get("mode") == "area" else FLOAT32


POLICIES: dict[str, dict[str, Policy]] = {
    "cpu": _table(
        f"{_PRODUCTS} {_NETWORKS}",
        f"""{_LOSSES} {_FACTORISATIONS} adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d fractional_max_pool2d
        fractional_max_pool3d max_pool3d max_unpool2d max_unpool3d""",
        "cat stack index_copy",
        pad=_padding,
    ),
    "gpu": _table(
        f"{_PRODUCTS} {_NETWORKS} addmv addr gru_cell lstm_cell mv rnn_relu_cell rnn_tanh_cell",
        f"""{_LOSSES} acos asin cdist cosh cosine_similarity cumprod cumsum dist erfinv exp expm1 group_norm layer_norm
        linalg_matrix_norm linalg_norm linalg_vector_norm log log10 log1p log2 log_softmax logsumexp norm
        pairwise_distance pdist pow prod reciprocal renorm rms_norm rsqrt sinh softmax softmin softplus sum tan""",
        "addcdiv addcmul atan2 bilinear cross dot grid_sample scatter_add tensordot vdot",
        binary_cross_entropy=REFUSE, interpolate=_resizing,
    ),
    "tpu": _table(
        f"{_PRODUCTS} {_NETWORKS} relu",
        f"{_LOSSES} {_FACTORISATIONS} _batch_norm _instance_norm log_softmax",
        "cat stack index_copy",
        pad=_padding,
    ),
}  # fmt: skip


def policies(name: str, namespaces: tuple[str, ...]) -> Mapping[str, Policy] | None:
    """Policy by platform of an operator, or None if it is on no list."""
    prefix = next((space + "_" for space in namespaces if space in ("linalg", "fft")), "")
    found = {platform: table[prefix + name] for platform, table in POLICIES.items() if prefix + name in table}
    return found or None
