"""What the operators of linear algebra share: checks of matrices, and those of one triangle."""

import jax
import jax.numpy as jnp
import numpy as np

from ..engine import check
from ._dtypes import is_complex, is_inexact, real_dtype, type_name


class LinAlgError(RuntimeError):
    """A factorisation or solution failed because of the values of a matrix."""

    __module__ = "pytorchlike.linalg"


def mT(a: jax.Array) -> jax.Array:
    return jnp.swapaxes(a, -1, -2)


def mH(a: jax.Array) -> jax.Array:
    return mT(a).conj()


def need_matrix(name: str, a: jax.Array, what: str = "A") -> None:
    if a.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor {what} must have at least 2 dimensions, but got shape {list(a.shape)}."
        )
    if not is_inexact(a.dtype):
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {type_name(a.dtype)}")
    if real_dtype(a.dtype).itemsize < 4:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {type_name(a.dtype)}")


def need_square(name: str, a: jax.Array, what: str = "A") -> None:
    if a.ndim >= 2 and a.shape[-1] != a.shape[-2]:
        raise RuntimeError(
            f"{name}: {what} must be batches of square matrices, but they are {a.shape[-2]} by {a.shape[-1]} matrices"
        )
    need_matrix(name, a, what)


def need_finite(name: str, a: jax.Array) -> None:
    check(
        jnp.all(jnp.isfinite(a)),
        LinAlgError,
        f"{name}: The algorithm failed to converge because the input matrix contained non-finite values.",
    )


@jax.custom_jvp
def from_lower(a: jax.Array) -> jax.Array:
    """The Hermitian matrix in the lower triangle of ``a``; as in PyTorch the gradient is the Hermitian one."""
    low = jnp.tril(a, -1)
    diagonal = jnp.tril(jnp.triu(a))
    return low + (diagonal.real.astype(a.dtype) if is_complex(a.dtype) else diagonal) + mH(low)


@from_lower.defjvp
def _from_lower_jvp(primals, tangents):
    return from_lower(primals[0]), (tangents[0] + mH(tangents[0])) / 2


def broadcast_batches(a: jax.Array, b: jax.Array, name: str) -> tuple[jax.Array, jax.Array]:
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise RuntimeError(
            f"{name}: batch dimensions {list(a.shape[:-2])} and {list(b.shape[:-2])} do not broadcast"
        ) from None
    return jnp.broadcast_to(a, batch + a.shape[-2:]), jnp.broadcast_to(b, batch + b.shape[-2:])
