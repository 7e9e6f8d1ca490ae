"""Fourier transforms (``torch.fft``), short-time transforms, and window functions (``torch.signal.windows``)."""

import jax
import jax.numpy as jnp
import numpy as np

from ..engine import check
from ._dtypes import is_complex, is_inexact, real_dtype, type_name
from ._sizes import reduced_dims, wrap_dim
from ._table import ONCE, Array, default_float, op, to_float

_SWAPPED = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _norm(norm: str | None) -> str:
    norm = "backward" if norm is None else norm
    if norm not in _SWAPPED:
        raise RuntimeError(f'Invalid normalization mode: "{norm}" (backward, forward or ortho)')
    return norm


def _input(x: jax.Array, *, real: str | None = None) -> jax.Array:
    """Floating or complex array of single precision at least; ``real`` names an op that refuses complex input."""
    if real is not None and is_complex(x.dtype):
        raise RuntimeError(f"{real} expects a real input tensor, but got {type_name(x.dtype)}")
    if is_inexact(x.dtype) and real_dtype(x.dtype).itemsize < 4:
        raise RuntimeError(f"Unsupported dtype {type_name(x.dtype)}")
    return to_float(x)


def _complex(x: jax.Array) -> jax.Array:
    return x if is_complex(x.dtype) else x.astype(np.complex128 if x.dtype == np.float64 else np.complex64)


def _length(n: int) -> int:
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return n


def _fit(x: jax.Array, axis: int, n: int) -> jax.Array:
    """Cut or zero-pad an axis to length n."""
    have = x.shape[axis]
    if have > n:
        return jax.lax.slice_in_dim(x, 0, n, axis=axis)
    if have < n:
        return jnp.pad(x, [(0, n - have if a == axis else 0) for a in range(x.ndim)])
    return x


def _one(name: str, x: jax.Array, n: int | None, dim: int) -> tuple[int, int]:
    if x.ndim == 0:
        raise IndexError(f"{name}: Dimension specified as {dim} but tensor has no dimensions")
    axis = wrap_dim(dim, x.ndim)
    return axis, _length(x.shape[axis] if n is None else n)


def _many(name: str, x: jax.Array, s, dim, *, last_half: bool = False) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Axes and signal lengths of an n-dimensional transform; ``last_half``: the last axis holds a half spectrum."""
    s = (s,) if isinstance(s, int) else s
    dim = (dim,) if isinstance(dim, int) else dim
    if dim is not None and s is not None and len(dim) != len(s):
        raise RuntimeError(f"When given, dim and shape arguments must have the same length, but got {dim} and {s}")
    if dim is not None:
        axes = tuple(wrap_dim(d, x.ndim) for d in dim)
        if len(set(axes)) != len(axes):
            raise RuntimeError(f"FFT dims must be unique, but got {dim}")
    elif s is not None:
        if len(s) > x.ndim:
            raise RuntimeError(f"Got shape with {len(s)} values but input tensor only has {x.ndim} dimensions.")
        axes = tuple(range(x.ndim - len(s), x.ndim))
    else:
        axes = tuple(range(x.ndim))
    sizes = [x.shape[a] for a in axes]
    if last_half:
        if not axes:
            raise RuntimeError(f"{name} must transform at least one axis")
        sizes[-1] = 2 * (sizes[-1] - 1)
    if s is not None:
        sizes = [have if want == -1 else want for have, want in zip(sizes, s, strict=True)]
    return axes, tuple(_length(n) for n in sizes)


def _c2c(x: jax.Array, axes: tuple[int, ...], sizes: tuple[int, ...], norm: str, inverse: bool) -> jax.Array:
    x = _complex(x)
    for a, n in zip(axes, sizes, strict=True):
        x = _fit(x, a, n)
    if x.size == 0:
        return x
    # XLA transforms at most three axes at once.
    for i in range(0, len(axes), 3):
        x = (jnp.fft.ifftn if inverse else jnp.fft.fftn)(x, axes=axes[i : i + 3], norm=norm)
    return x


def _r2c(x: jax.Array, axes, sizes, norm: str) -> jax.Array:
    for a, n in zip(axes, sizes, strict=True):
        x = _fit(x, a, n)
    if x.size == 0:
        shape = list(x.shape)
        shape[axes[-1]] = shape[axes[-1]] // 2 + 1
        return jnp.zeros(shape, _complex(x).dtype)
    x = jnp.fft.rfft(x, axis=axes[-1], norm=norm)
    return _c2c(x, axes[:-1], sizes[:-1], norm, False)


def _c2r(x: jax.Array, axes, sizes, norm: str) -> jax.Array:
    x = _c2c(x, axes[:-1], sizes[:-1], norm, True)
    x = _fit(x, axes[-1], sizes[-1] // 2 + 1)
    if x.size == 0:
        shape = list(x.shape)
        shape[axes[-1]] = sizes[-1]
        return jnp.zeros(shape, real_dtype(x.dtype))
    return jnp.fft.irfft(x, sizes[-1], axes[-1], norm)


@op(namespace="fft")
def fft(input: Array, n: int | None = None, dim: int = -1, norm: str | None = None):
    """Discrete Fourier transform along ``dim``, cut or padded to ``n``; complex.

    ``norm``: "backward" (None) scales only the inverse by 1/n, "forward" only this, "ortho" both by 1/sqrt(n).
    Integers are converted to the default float dtype.  Raises: RuntimeError for n < 1, half precision, unknown norm.
    """
    x = _input(input)
    axis, n = _one("fft", x, n, dim)
    return _c2c(x, (axis,), (n,), _norm(norm), False)


@op(namespace="fft")
def ifft(input: Array, n: int | None = None, dim: int = -1, norm: str | None = None):
    """Inverse of ``fft``."""
    x = _input(input)
    axis, n = _one("ifft", x, n, dim)
    return _c2c(x, (axis,), (n,), _norm(norm), True)


@op(namespace="fft")
def rfft(input: Array, n: int | None = None, dim: int = -1, norm: str | None = None):
    """``fft`` of real input, only the n // 2 + 1 non-negative frequencies."""
    x = _input(input, real="rfft")
    axis, n = _one("rfft", x, n, dim)
    return _r2c(x, (axis,), (n,), _norm(norm))


@op(namespace="fft")
def irfft(input: Array, n: int | None = None, dim: int = -1, norm: str | None = None):
    """Inverse of ``rfft``: real, of length ``n`` (2 * (m - 1) for m frequencies if None)."""
    x = _complex(_input(input))
    axis, n = _one("irfft", x, 2 * (x.shape[dim] - 1) if n is None and x.ndim else n, dim)
    return _c2r(x, (axis,), (n,), _norm(norm))


@op(namespace="fft")
def hfft(input: Array, n: int | None = None, dim: int = -1, norm: str | None = None):
    """``fft`` of a Hermitian signal given by its first half: real, of length ``n`` (2 * (m - 1) if None)."""
    x = _complex(_input(input))
    axis, n = _one("hfft", x, 2 * (x.shape[dim] - 1) if n is None and x.ndim else n, dim)
    return _c2r(x.conj(), (axis,), (n,), _SWAPPED[_norm(norm)])


@op(namespace="fft")
def ihfft(input: Array, n: int | None = None, dim: int = -1, norm: str | None = None):
    """Inverse of ``hfft``: of real input, n // 2 + 1 values."""
    x = _input(input, real="ihfft")
    axis, n = _one("ihfft", x, n, dim)
    return _r2c(x, (axis,), (n,), _SWAPPED[_norm(norm)]).conj()


def _fftn(name: str, input, s, dim, norm, inverse):
    x = _input(input)
    axes, sizes = _many(name, x, s, dim)
    return _c2c(x, axes, sizes, _norm(norm), inverse)


def _rfftn(name: str, input, s, dim, norm):
    x = _input(input, real=name)
    axes, sizes = _many(name, x, s, dim)
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")
    return _r2c(x, axes, sizes, _norm(norm))


def _irfftn(name: str, input, s, dim, norm):
    x = _complex(_input(input))
    axes, sizes = _many(name, x, s, dim, last_half=True)
    return _c2r(x, axes, sizes, _norm(norm))


def _hfftn(name: str, input, s, dim, norm):
    x = _complex(_input(input))
    axes, sizes = _many(name, x, s, dim, last_half=True)
    norm = _norm(norm)
    # Forward transforms on all axes: the half spectrum's by way of irfft of the conjugate.
    x = _c2c(x, axes[:-1], sizes[:-1], norm, False)
    return _c2r(x.conj(), axes[-1:], sizes[-1:], _SWAPPED[norm])


def _ihfftn(name: str, input, s, dim, norm):
    x = _input(input, real=name)
    axes, sizes = _many(name, x, s, dim)
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")
    norm = _norm(norm)
    for a, n in zip(axes, sizes, strict=True):
        x = _fit(x, a, n)
    x = _r2c(x, axes[-1:], sizes[-1:], _SWAPPED[norm]).conj()
    return _c2c(x, axes[:-1], sizes[:-1], norm, True)


Shape = int | tuple[int, ...] | None


@op(namespace="fft")
def fftn(input: Array, s: Shape = None, dim: Shape = None, norm: str | None = None):
    """``fft`` over several axes: ``dim``, else the last len(s), else all; ``s``: lengths, -1 keeps an axis."""
    return _fftn("fftn", input, s, dim, norm, False)


@op(namespace="fft")
def ifftn(input: Array, s: Shape = None, dim: Shape = None, norm: str | None = None):
    """Inverse of ``fftn``."""
    return _fftn("ifftn", input, s, dim, norm, True)


@op(namespace="fft")
def fft2(input: Array, s: Shape = None, dim: Shape = (-2, -1), norm: str | None = None):
    """``fftn`` over two axes."""
    return _fftn("fft2", input, s, dim, norm, False)


@op(namespace="fft")
def ifft2(input: Array, s: Shape = None, dim: Shape = (-2, -1), norm: str | None = None):
    """Inverse of ``fft2``."""
    return _fftn("ifft2", input, s, dim, norm, True)


@op(namespace="fft")
def rfftn(input: Array, s: Shape = None, dim: Shape = None, norm: str | None = None):
    """``fftn`` of real input; the last axis keeps only the non-negative frequencies."""
    return _rfftn("rfftn", input, s, dim, norm)


@op(namespace="fft")
def rfft2(input: Array, s: Shape = None, dim: Shape = (-2, -1), norm: str | None = None):
    """``rfftn`` over two axes."""
    return _rfftn("rfft2", input, s, dim, norm)


@op(namespace="fft")
def irfftn(input: Array, s: Shape = None, dim: Shape = None, norm: str | None = None):
    """Inverse of ``rfftn``; the last length is 2 * (m - 1) unless ``s`` says otherwise."""
    return _irfftn("irfftn", input, s, dim, norm)


@op(namespace="fft")
def irfft2(input: Array, s: Shape = None, dim: Shape = (-2, -1), norm: str | None = None):
    """Inverse of ``rfft2``."""
    return _irfftn("irfft2", input, s, dim, norm)


@op(namespace="fft")
def hfftn(input: Array, s: Shape = None, dim: Shape = None, norm: str | None = None):
    """``fftn`` of a signal that is Hermitian in the last axis, given by its first half; real."""
    return _hfftn("hfftn", input, s, dim, norm)


@op(namespace="fft")
def hfft2(input: Array, s: Shape = None, dim: Shape = (-2, -1), norm: str | None = None):
    """``hfftn`` over two axes."""
    return _hfftn("hfft2", input, s, dim, norm)


@op(namespace="fft")
def ihfftn(input: Array, s: Shape = None, dim: Shape = None, norm: str | None = None):
    """Inverse of ``hfftn``."""
    return _ihfftn("ihfftn", input, s, dim, norm)


@op(namespace="fft")
def ihfft2(input: Array, s: Shape = None, dim: Shape = (-2, -1), norm: str | None = None):
    """Inverse of ``hfft2``."""
    return _ihfftn("ihfft2", input, s, dim, norm)


@op(namespace="fft", differentiable=False)
def fftfreq(n: int, d: float = 1.0, *, dtype: np.dtype | None = None):
    """Frequencies of ``fft``'s bins for sample spacing ``d``: 0, 1, ..., -1 over n * d; default float dtype."""
    return jnp.asarray(np.fft.fftfreq(n, d) if n else np.zeros(0), dtype or default_float())


@op(namespace="fft", differentiable=False)
def rfftfreq(n: int, d: float = 1.0, *, dtype: np.dtype | None = None):
    """Frequencies of ``rfft``'s bins for sample spacing ``d``: 0, ..., n // 2 over n * d."""
    return jnp.asarray(np.fft.rfftfreq(n, d) if n else np.zeros(0), dtype or default_float())


def _shift(x: jax.Array, dim: Shape, inverse: bool) -> jax.Array:
    axes = reduced_dims(dim, x.ndim)
    return jnp.roll(x, [-(x.shape[a] // 2) if inverse else x.shape[a] // 2 for a in axes], axes) if axes else x


@op(namespace="fft", saves=False, out=False)
def fftshift(input: Array, dim: Shape = None):
    """Move frequency 0 from the front to the centre of ``dim`` (all axes if None)."""
    return _shift(input, dim, False)


@op(namespace="fft", saves=False, out=False)
def ifftshift(input: Array, dim: Shape = None):
    """Inverse of ``fftshift``."""
    return _shift(input, dim, True)


# ---------------------------------------------------------------------------------------------- short-time transforms


def _window(name: str, window: jax.Array | None, win_length: int, n_fft: int, dtype: np.dtype) -> jax.Array:
    if window is not None and window.shape != (win_length,):
        raise RuntimeError(
            f"{name}: expected a 1D window tensor of size equal to win_length={win_length}, but got window with size "
            f"{list(window.shape)}"
        )
    w = jnp.ones(win_length, dtype) if window is None else window
    left = (n_fft - win_length) // 2
    return jnp.pad(w, (left, n_fft - win_length - left))


def _stft_lengths(name: str, n_fft: int, hop_length: int | None, win_length: int | None) -> tuple[int, int]:
    hop = n_fft // 4 if hop_length is None else hop_length
    win = n_fft if win_length is None else win_length
    if hop <= 0:
        raise RuntimeError(f"{name}: expected hop_length > 0, but got hop_length={hop}")
    if not 0 < win <= n_fft:
        raise RuntimeError(f"{name}: expected 0 < win_length <= n_fft, but got win_length={win}")
    return hop, win


@op(
    out=False,
    deprecated=(
        "window is None",
        "A window was not provided. A rectangular window will be applied, which is known to cause spectral leakage: "
        "torch.hann_window and its like give others, torch.ones(n_fft) says that it is meant.",
        ONCE,
    ),
)
def stft(
    input: Array,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Array | None = None,
    center: object = True,  # whatever is true, as PyTorch's own Python takes it
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
):
    """Short-time Fourier transform (time,) or (batch, time) -> (*batch, frequencies, frames).

    ``hop_length`` n_fft // 4, ``win_length`` n_fft, ``window`` ones; ``center``: pad by n_fft // 2 so that frame t is
    centred at t * hop; ``align_to_window``, without center: the first window, if shorter than n_fft, begins with the
    signal; ``normalized``: divide by sqrt(n_fft); ``onesided``: n_fft // 2 + 1 frequencies, default for real input and
    window. ``return_complex=False`` gives a last axis of (real, imaginary).  Raises: RuntimeError for lengths that do
    not fit.
    """
    if not is_inexact(input.dtype) or not 1 <= input.ndim <= 2:
        raise RuntimeError(
            f"stft: expected a 1D or 2D tensor of floating point or complex values, but got {type_name(input.dtype)} "
            f"{list(input.shape)}"
        )
    hop, win = _stft_lengths("stft", n_fft, hop_length, win_length)
    if align_to_window is not None and center:
        raise RuntimeError("stft: align_to_window should only be set when center = false")
    anything_complex = is_complex(input.dtype) or window is not None and is_complex(window.dtype)
    if return_complex is None:
        if not anything_complex:
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will further require that "
                "return_complex=True in a future PyTorch release."
            )
        return_complex = True
    onesided = not anything_complex if onesided is None else onesided
    if onesided and anything_complex:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    x = input if input.ndim == 2 else input[None]
    if center:
        modes = {"reflect": "reflect", "constant": "constant", "replicate": "edge", "circular": "wrap"}
        if pad_mode not in modes:
            raise NotImplementedError(f"stft: unrecognised padding mode {pad_mode}")
        if pad_mode == "reflect" and n_fft // 2 >= x.shape[1]:
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
                f"({n_fft // 2}, {n_fft // 2}) at dimension 2 of input {list(x.shape)}"
            )
        x = jnp.pad(x, ((0, 0), (n_fft // 2, n_fft // 2)), mode=modes[pad_mode])
    elif align_to_window:
        x = jnp.pad(x, ((0, 0), ((n_fft - win) // 2,) * 2))  # the window lies in the middle of what is transformed
    length = x.shape[1]
    if not 0 < n_fft <= length:
        raise RuntimeError(f"stft: expected 0 < n_fft <= {length}, but got n_fft={n_fft}")
    frames = 1 + (length - n_fft) // hop
    index = np.arange(frames)[:, None] * hop + np.arange(n_fft)
    w = _window("stft", window, win, n_fft, real_dtype(x.dtype))
    pieces = x[:, index] * w.astype(jnp.result_type(w, x.dtype))
    norm = "ortho" if normalized else "backward"
    axes, sizes = (pieces.ndim - 1,), (n_fft,)
    out = _r2c(pieces, axes, sizes, norm) if onesided else _c2c(pieces, axes, sizes, norm, False)
    out = jnp.swapaxes(out, 1, 2)
    out = out[0] if input.ndim == 1 else out
    return out if return_complex else jnp.stack([out.real, out.imag], -1)


@op(
    out=False,
    deprecated=(
        "window is None",
        "A window was not provided. A rectangular window will be applied: give the window that stft had.",
        ONCE,
    ),
)
def istft(
    input: Array,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Array | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
):
    """Inverse of ``stft`` by overlapping and adding (*batch, frequencies, frames) -> (*batch, time).

    Arguments as for ``stft``; ``length`` cuts or pads the result.  Raises: RuntimeError if input is not complex or
    does not have the frequencies of n_fft, and (at the next read) where the windows add up to 0.
    Source: Griffin & Lim 1984, doi:10.1109/TASSP.1984.1164317 (least squares estimate).
    """
    if not is_complex(input.dtype):
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True."
        )
    if input.ndim not in (2, 3) or input.size == 0:
        raise RuntimeError(f"istft: expected a non-empty tensor with 2 or 3 dimensions, but got {list(input.shape)}")
    hop, win = _stft_lengths("istft", n_fft, hop_length, win_length)
    x = input if input.ndim == 3 else input[None]
    bins = x.shape[1]
    onesided = bins != n_fft if onesided is None else onesided
    if bins != (n_fft // 2 + 1 if onesided else n_fft):
        want = f"onesided: n_fft / 2 + 1 = {n_fft // 2 + 1}" if onesided else f"n_fft = {n_fft}"
        raise RuntimeError(
            f"istft: expected the frequency dimension (3rd to the last) of the input tensor to match {want}, but got "
            f"{bins}"
        )
    if onesided and (return_complex or window is not None and is_complex(window.dtype)):
        raise RuntimeError("Cannot have onesided input with return_complex=True or a complex window")
    frames = x.shape[2]
    real = real_dtype(x.dtype)
    w = _window("istft", window, win, n_fft, real)
    norm = "ortho" if normalized else "backward"
    x = jnp.swapaxes(x, 1, 2)
    if return_complex:
        pieces = _c2c(x, (2,), (n_fft,), norm, True)
    else:  # of a two-sided spectrum only the half that a real signal determines
        pieces = _c2r(x, (2,), (n_fft,), norm)
    pieces = pieces * w.astype(jnp.result_type(w, pieces.dtype))
    total = n_fft + hop * (frames - 1)
    index = (np.arange(frames)[:, None] * hop + np.arange(n_fft)).reshape(-1)
    y = jnp.zeros((x.shape[0], total), pieces.dtype).at[:, index].add(pieces.reshape(x.shape[0], -1))
    weight = jnp.zeros(total, w.dtype).at[index].add(jnp.tile(w * w, frames))
    start = n_fft // 2 if center else 0
    if length is not None:
        end = start + length
    else:
        end = total - n_fft // 2 if center else total
    stop = min(end, total)
    y, weight = y[:, start:stop], weight[start:stop]
    check(
        jnp.all(jnp.abs(weight) > 1e-11),
        RuntimeError,
        "istft: window overlap add min: 0; the windows leave samples that no frame covers",
    )
    y = y / weight
    if end > total:
        y = jnp.pad(y, ((0, 0), (0, end - total)))
    return y[0] if input.ndim == 2 else y


# ------------------------------------------------------------------------------------------------------------- windows


def _points(name: str, m: int, periodic: bool, error: type[Exception]) -> np.ndarray:
    """Sample positions from 0: in units of m steps (periodic) or of m - 1, where the last is 1."""
    if m < 0:
        raise error(f"{name} requires non-negative window length, got window_length={m}")
    steps = m if periodic else m - 1
    return np.arange(m) / steps if steps > 0 else np.zeros(m)


def _finish(w: np.ndarray, dtype: np.dtype | None, name: str = "") -> jax.Array:
    if name and dtype is not None and np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {np.dtype(dtype).name}")
    if dtype is not None and not is_inexact(dtype):
        raise RuntimeError(f"window functions support floating point dtypes, but got {type_name(dtype)}")
    # A single point is the window's peak.
    return jnp.asarray(np.ones(1) if w.size == 1 else w, dtype or default_float())


def _cosines(t: np.ndarray, a: tuple[float, ...]) -> np.ndarray:
    return sum(((-1) ** k * c * np.cos(2 * np.pi * k * t) for k, c in enumerate(a)), np.zeros(t.shape))


_BLACKMAN = (0.42, 0.5, 0.08)
_NUTTALL = (0.3635819, 0.4891775, 0.1365995, 0.0106411)


def _triangle(t: np.ndarray) -> np.ndarray:
    return 1 - np.abs(2 * t - 1)


def _kaiser(t: np.ndarray, beta: float) -> np.ndarray:
    return np.i0(beta * np.sqrt(np.maximum(1 - (2 * t - 1) ** 2, 0))) / np.i0(np.asarray(beta))


@op(method=False, differentiable=False)
def hann_window(window_length: int, periodic: bool = True, *, dtype: np.dtype | None = None):
    """Raised cosine ``sin(pi t) ** 2``; ``periodic``: for spectra, else symmetric.  Default float dtype."""
    return _finish(_cosines(_points("hann_window", window_length, periodic, RuntimeError), (0.5, 0.5)), dtype)


@op(method=False, differentiable=False)
def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: np.dtype | None = None,
):
    """``alpha - beta * cos(2 pi t)``."""
    return _finish(_cosines(_points("hamming_window", window_length, periodic, RuntimeError), (alpha, beta)), dtype)


@op(method=False, differentiable=False)
def blackman_window(window_length: int, periodic: bool = True, *, dtype: np.dtype | None = None):
    """``0.42 - 0.5 cos(2 pi t) + 0.08 cos(4 pi t)``."""
    return _finish(_cosines(_points("blackman_window", window_length, periodic, RuntimeError), _BLACKMAN), dtype)


@op(method=False, differentiable=False)
def bartlett_window(window_length: int, periodic: bool = True, *, dtype: np.dtype | None = None):
    """Triangle from 0 to 1 and back."""
    return _finish(_triangle(_points("bartlett_window", window_length, periodic, RuntimeError)), dtype)


@op(method=False, differentiable=False)
def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: np.dtype | None = None):
    """``I0(beta sqrt(1 - (2t - 1)^2)) / I0(beta)``, I0 the modified Bessel function."""
    return _finish(_kaiser(_points("kaiser_window", window_length, periodic, RuntimeError), beta), dtype)


@op(namespace="signal.windows", out=False, differentiable=False)
def hann(M: int, *, sym: bool = True, dtype: np.dtype | None = None):
    """Raised cosine ``sin(pi t) ** 2`` of M points; ``sym=False``: periodic."""
    return _finish(_cosines(_points("hann", M, not sym, ValueError), (0.5, 0.5)), dtype, "hann")


@op(namespace="signal.windows", out=False, differentiable=False)
def hamming(M: int, *, sym: bool = True, dtype: np.dtype | None = None):
    """``0.54 - 0.46 cos(2 pi t)``."""
    return _finish(_cosines(_points("hamming", M, not sym, ValueError), (0.54, 0.46)), dtype, "hamming")


@op(namespace="signal.windows", out=False, differentiable=False)
def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, dtype: np.dtype | None = None):
    """``alpha - (1 - alpha) cos(2 pi t)``."""
    points = _points("general_hamming", M, not sym, ValueError)
    return _finish(_cosines(points, (alpha, 1 - alpha)), dtype, "general_hamming")


@op(namespace="signal.windows", out=False, differentiable=False)
def general_cosine(M: int, *, a: tuple[float, ...], sym: bool = True, dtype: np.dtype | None = None):
    """``sum_k (-1)^k a_k cos(2 pi k t)``."""
    if not isinstance(a, tuple) or not a:
        raise (TypeError if not isinstance(a, tuple) else ValueError)(
            f"general_cosine: coefficients a must be a non-empty list, but got {a!r}"
        )
    return _finish(_cosines(_points("general_cosine", M, not sym, ValueError), a), dtype, "general_cosine")


@op(namespace="signal.windows", out=False, differentiable=False)
def blackman(M: int, *, sym: bool = True, dtype: np.dtype | None = None):
    """``0.42 - 0.5 cos(2 pi t) + 0.08 cos(4 pi t)``."""
    return _finish(_cosines(_points("blackman", M, not sym, ValueError), _BLACKMAN), dtype, "blackman")


@op(namespace="signal.windows", out=False, differentiable=False)
def nuttall(M: int, *, sym: bool = True, dtype: np.dtype | None = None):
    """Four-term cosine sum with small side lobes (Nuttall 1981, doi:10.1109/TASSP.1981.1163506)."""
    return _finish(_cosines(_points("nuttall", M, not sym, ValueError), _NUTTALL), dtype, "nuttall")


@op(namespace="signal.windows", out=False, differentiable=False)
def bartlett(M: int, *, sym: bool = True, dtype: np.dtype | None = None):
    """Triangle from 0 to 1 and back."""
    return _finish(_triangle(_points("bartlett", M, not sym, ValueError)), dtype, "bartlett")


@op(namespace="signal.windows", out=False, differentiable=False)
def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, dtype: np.dtype | None = None):
    """``I0(beta sqrt(1 - (2t - 1)^2)) / I0(beta)``.  Raises ValueError for beta < 0."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return _finish(_kaiser(_points("kaiser", M, not sym, ValueError), beta), dtype, "kaiser")


@op(namespace="signal.windows", out=False, differentiable=False)
def cosine(M: int, *, sym: bool = True, dtype: np.dtype | None = None):
    """``sin(pi (i + 1/2) / M)`` (M + 1 when periodic)."""
    _points("cosine", M, not sym, ValueError)
    return _finish(np.sin(np.pi * (np.arange(M) + 0.5) / max(M if sym else M + 1, 1)), dtype, "cosine")


@op(namespace="signal.windows", out=False, differentiable=False)
def gaussian(M: int, *, std: float = 1.0, sym: bool = True, dtype: np.dtype | None = None):
    """``exp(-((i - centre) / std)^2 / 2)``.  Raises ValueError for std <= 0."""
    _points("gaussian", M, not sym, ValueError)
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    i = np.arange(M) - (M - 1 if sym else M) / 2
    return _finish(np.exp(-0.5 * (i / std) ** 2), dtype, "gaussian")


@op(namespace="signal.windows", out=False, differentiable=False)
def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: np.dtype | None = None
):
    """``exp(-|i - center| / tau)``; ``center`` the middle, and only with sym=False another.  Raises ValueError for tau
    <= 0.
    """
    _points("exponential", M, not sym, ValueError)
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    center = (M - 1 if sym else M) / 2 if center is None else center
    return _finish(np.exp(-np.abs(np.arange(M) - center) / tau), dtype, "exponential")
