"""Which operators autocast treats, by the platform they run on: PyTorch's lists, in this table's names.

``lower``: floating arguments go to the lower precision. ``float32``: they go to float32, unless a ``dtype`` is asked
for. ``promote``: to the widest among them. ``result``: floating results go to the lower precision. ``refuse``: an
error. Operators that are on no list take what they are given. float64 arguments are never touched, and neither are
in-place and ``out=`` forms.

PyTorch lists its primitives, so that what it composes of them (``einsum`` on the CPU, ``cross_entropy`` on the GPU)
follows; such operators are single ones here and are listed for what comes out.

Sources: the autocast registrations of PyTorch 2.13 (CPU and CUDA), and those of torch_xla for TPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

LOWER, FLOAT32, PROMOTE, RESULT, REFUSE = "lower", "float32", "promote", "result", "refuse"

#: A policy, or a function of the bound arguments that returns one or None.
Policy = str | Callable[[dict[str, Any]], str | None]

_PRODUCTS = """
    addbmm addmm baddbmm bmm chain_matmul linalg_matmul linalg_multi_dot linalg_vecdot linear matmul mm _rmatmul
    conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d prelu
    scaled_dot_product_attention _scaled_dot_product_attention_dropout
"""
_NETWORKS = "_lstm _lstm_dropout _gru _gru_dropout _rnn _rnn_dropout rnn_relu_cell rnn_tanh_cell"
_LOSSES = """
    binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy hinge_embedding_loss huber_loss kl_div
    l1_loss margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss nll_loss poisson_nll_loss
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


def _contracting(bound: dict[str, Any]) -> str | None:
    """A product of matrices unless no label is summed over two operands at once."""
    inputs, _, output = bound["equation"].replace(" ", "").partition("->")
    parts = inputs.split(",")
    shared = {c for part in parts for c in part if c.isalpha() and sum(c in p for p in parts) > 1}
    if "->" not in bound["equation"]:
        return LOWER if shared else None
    return LOWER if shared - set(output) else None


def _matching(bound: dict[str, Any]) -> str | None:
    """A product of matrices unless there is nothing to sum over."""
    dims = bound["dims"]
    return LOWER if (dims if isinstance(dims, int) else dims[0]) else None


def _powering(bound: dict[str, Any]) -> str | None:
    """A power with a product in it."""
    return RESULT if abs(bound["n"]) > 1 else None


def _pooling(bound: dict[str, Any]) -> str | None:
    """The form that returns indices is not listed."""
    return None if bound.get("return_indices") else FLOAT32


def _gating(bound: dict[str, Any]) -> str | None:
    """oneDNN's LSTM takes everything lower; what it does not compute has lower products and a state in full."""
    each = (4 if bound["has_biases"] else 2) * bound["num_layers"] * (2 if bound["bidirectional"] else 1)
    return LOWER if bound["lengths"] is None and len(bound["weights"]) == each else None


def _spreading(bound: dict[str, Any]) -> str | None:
    """Local response normalisation is a mean over three axes, but over two for inputs of three."""
    return FLOAT32 if bound["input"].ndim > 3 else None


def _padding(bound: dict[str, Any]) -> str | None:
    """Reflected padding of three dimensions is the one that is not listed."""
    mode, spatial = bound.get("mode"), len(bound["pad"]) // 2
    return FLOAT32 if mode == "replicate" or (mode == "reflect" and spatial < 3) else None


def _resizing(bound: dict[str, Any]) -> str | None:
    """Resizing by areas is a mean, not an interpolation."""
    return None if bound.get("mode") == "area" else FLOAT32


POLICIES: dict[str, dict[str, Policy]] = {
    "cpu": _table(
        f"{_PRODUCTS} _rnn _rnn_dropout rnn_relu_cell rnn_tanh_cell",
        f"""{_LOSSES} {_FACTORISATIONS} adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d fractional_max_pool2d
        fractional_max_pool3d lu max_unpool1d max_unpool2d max_unpool3d""",
        "cat stack index_copy",
        einsum=_contracting, max_pool3d=_pooling, pad=_padding, linalg_matrix_power=_powering, linalg_pinv=RESULT,
        cov=RESULT, corrcoef=RESULT, tensordot=_matching, _lstm=_gating, _lstm_dropout=_gating,
        local_response_norm=_spreading,
    ),
    "gpu": _table(
        f"{_PRODUCTS} {_NETWORKS} addmv addr einsum gru_cell lstm_cell mv",
        f"""{_LOSSES} acos asin cdist cosh cosine_similarity cumprod cumsum dist erfinv exp expm1 gaussian_nll_loss
        group_norm layer_norm linalg_matrix_norm linalg_norm linalg_vector_norm log log10 log1p log2 log_softmax
        logsumexp norm pairwise_distance pdist pow prod reciprocal renorm rms_norm rsqrt sinh softmax softmin softplus
        sum tan""",
        "addcdiv addcmul atan2 bilinear cross dot grid_sample scatter_add tensordot vdot",
        binary_cross_entropy=REFUSE, interpolate=_resizing, linalg_matrix_power=_powering, cov=RESULT, corrcoef=RESULT,
    ),
    "tpu": _table(
        f"{_PRODUCTS} {_NETWORKS} relu",
        f"{_LOSSES} {_FACTORISATIONS} _batch_norm _instance_norm log_softmax",
        "cat stack index_copy",
        einsum=_contracting, pad=_padding, linalg_matrix_power=_powering, linalg_pinv=RESULT, cov=RESULT,
        corrcoef=RESULT, tensordot=_matching,
    ),
}  # fmt: skip


def policies(name: str, namespaces: tuple[str, ...]) -> Mapping[str, Policy] | None:
    """Policy by platform of an operator, or None if it is on no list."""
    prefix = next((space + "_" for space in namespaces if space in ("linalg", "fft")), "")
    found = {platform: table[prefix + name] for platform, table in POLICIES.items() if prefix + name in table}
    return found or None
