"""Write ops.json and ops.npz: what PyTorch makes of the expressions below, and its gradients.  Needs torch.

A case is an expression over ``t`` (the library) and the named inputs of :func:`inputs`.  Those that it names and that
are floating or complex are leaves; the cotangents of its results are drawn from ``RandomState(7)``.  ``ops.json``
tells, for each entry of the operators' table (``namespace.name``), its cases, and where in the flat arrays of
``ops.npz`` the inputs, results and gradients lie: [dtype, shape, offset], or null for no gradient.
"""

import json
import re
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
CASES: dict[str, list[str]] = {}


def case(names: str, *forms: str, space: str = "torch") -> None:
    """Cases of several operators at once: ``{n}`` stands for the name, ``{f}`` for the function."""
    for n in names.split():
        f = f"t.{n}" if space in ("torch", "") else f"t.{space}.{n}"
        CASES.setdefault(f"{space}.{n}", []).extend(form.replace("{n}", n).replace("{f}", f) for form in forms)


def inputs() -> dict[str, np.ndarray]:
    rng = np.random.RandomState(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    m = normal(4, 4)
    return {
        "a": normal(3, 4), "b": normal(3, 4), "m": m, "n": normal(4, 4), "v": normal(4), "w": normal(3),
        "p": rng.uniform(0.5, 2.5, (3, 4)).astype(np.float32), "u": rng.uniform(0.05, 0.95, (3, 4)).astype(np.float32),
        "x": normal(2, 3, 4), "y": normal(2, 4, 3), "s": np.sort(normal(8)), "sig": normal(2, 16),
        "spd": (m @ m.T + 4 * np.eye(4)).astype(np.float32), "tri": (np.tril(m) + 3 * np.eye(4)).astype(np.float32),
        "z": rng.choice([-1.0, 0.0, 1.0, 2.0], (3, 4)).astype(np.float32),
        "edge": np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], np.float32),
        "c": (normal(3, 4) + 1j * normal(3, 4)).astype(np.complex64),
        "e": (normal(4, 4) + 1j * normal(4, 4)).astype(np.complex64),
        "i": rng.randint(-9, 10, (3, 4)), "j": rng.randint(1, 6, (3, 4)), "k": rng.randint(0, 3, (3, 4)),
        "r": np.array([2, 0, 1]), "q": rng.rand(3, 4) < 0.5, "o": rng.rand(3, 4) < 0.5,
    }  # fmt: skip


def fill() -> None:
    # ---- elementwise
    case("add sub mul div true_divide", "{f}(a, b)", "{f}(a, 2)", "{f}(i, j)", "{f}(c, a)", "{f}(x, v)",
         "a.bfloat16().{n}(b)", "a.clone().{n}_(b)")  # fmt: skip
    case("add sub", "{f}(a, b, alpha=2.5)", "{f}(i, j, alpha=3)")
    case("rsub", "{f}(a, b)", "{f}(a, 2, alpha=3)", "{f}(i, 1.5)")
    case("div", "{f}(a, b, rounding_mode='floor')", "{f}(i, j, rounding_mode='trunc')")
    case("floor_divide remainder fmod", "{f}(a, p)", "{f}(i, j)", "{f}(a, 0.7)", "{f}(i, -3)")
    case("pow", "{f}(p, a)", "{f}(a, 2)", "{f}(a, 3.0)", "{f}(2.0, a)", "{f}(j, 2)", "{f}(z, 2)", "p ** 0.5", "2 ** i")
    case("float_power", "{f}(p, a)", "{f}(i, 2)")
    case("addcmul addcdiv", "{f}(a, b, p)", "{f}(a, b, p, value=0.5)")
    case("lerp", "{f}(a, b, 0.3)", "{f}(a, b, u)")
    case("eq ne gt ge lt le", "{f}(a, b)", "{f}(z, 1)", "{f}(i, k)")
    case("isclose", "{f}(a, a + 1e-9)", "{f}(a, b, rtol=0.5)")
    case("logical_and logical_or logical_xor", "{f}(q, o)", "{f}(z, i)")
    case("bitwise_and bitwise_or bitwise_xor", "{f}(q, o)", "{f}(i, j)", "{f}(i, 3)")
    case("bitwise_left_shift bitwise_right_shift", "{f}(j, k)", "{f}(j, 2)")
    case("where", "{f}(q, a, b)", "{f}(q, a, 2.0)", "{f}(q, 1, i)", "a.where(q, b)")
    case("clamp", "{f}(a, -0.5, 0.5)", "{f}(z, min=0)", "{f}(z, max=1)", "{f}(a, b, p)", "{f}(i, 2, 5)")
    case("clamp_min clamp_max", "{f}(z, 0)", "{f}(a, b)")
    case("maximum minimum fmax fmin", "{f}(a, b)", "{f}(z, z.flip(0))", "{f}(edge, edge.flip(0))")
    case("heaviside", "{f}(z, u)")
    case("atan2 hypot copysign", "{f}(a, b)", "{f}(a, p)")
    case("nextafter", "{f}(a, b)")
    case("ldexp", "{f}(a, k)")
    case("logaddexp logaddexp2", "{f}(a, b)")
    case("xlogy", "{f}(z, p)", "{f}(a, 2)", "{f}(2, p)")
    case("xlogy xlog1py", "{f}(z, p)", space="special")
    case("gcd lcm", "{f}(i, j)")
    # ---- of one argument
    case("abs neg positive square exp sin cos tanh sigmoid sinh cosh asinh atan sgn reciprocal", "{f}(a)", "{f}(c)")
    case("sign ceil floor trunc round", "{f}(a)", "{f}(z)")
    case("abs neg sign square", "{f}(i)")
    case("frac expm1 exp2 erf erfc deg2rad rad2deg sinc i0 tan relu", "{f}(a)", "{f}(z)")
    case("log log2 log10 log1p sqrt rsqrt lgamma digamma", "{f}(p)", "{f}(j)")
    case("log sqrt rsqrt", "{f}(c)")
    case("asin acos atanh erfinv logit", "{f}(u)")
    case("acosh", "{f}(p + 1)")
    case("logit", "{f}(a, 0.2)")
    case("round", "{f}(a, decimals=2)")
    case("signbit isnan isinf isfinite isposinf isneginf isreal logical_not", "{f}(edge)")
    case("nan_to_num", "{f}(edge)", "{f}(edge, 1.0, 2.0, 3.0)")
    case("bitwise_not", "{f}(i)", "{f}(q)")
    case("frexp", "{f}(p)")
    case("mvlgamma", "{f}(p + 2, 3)")
    case("angle", "{f}(a)", "{f}(c)")
    case("real imag view_as_real conj conj_physical resolve_conj", "{f}(c)")
    case("resolve_neg clone", "{f}(a)")
    case("view_as_complex", "{f}(t.stack([a, b], -1))")
    case("complex", "{f}(a, b)")
    case("polar", "{f}(p, a)")
    case("polygamma", "{f}(1, p)", "{f}(2, p)", "p.polygamma(1)")
    case("igamma igammac", "{f}(p.detach(), u)")
    case("digamma psi erf erfc exp2 expit expm1 i0 round sinc", "{f}(p)", space="special")
    case("erfinv logit", "{f}(u)", space="special")
    case("gammaln log1p i0e i1 i1e entr erfcx log_ndtr ndtr", "{f}(p)", space="special")
    case("ndtri", "{f}(u)", space="special")
    case("multigammaln", "{f}(p + 2, 3)", space="special")
    case("polygamma", "{f}(1, p)", space="special")
    case("gammainc gammaincc", "{f}(p.detach(), u)", space="special")
    case("zeta", "{f}(p + 1, j)", space="special")
    case("bessel_j0 bessel_j1 bessel_y0 bessel_y1 modified_bessel_i0 modified_bessel_i1 modified_bessel_k0 "
         "modified_bessel_k1 scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0 airy_ai",
         "{f}(p.detach())", space="special")  # fmt: skip
    case("chebyshev_polynomial_t chebyshev_polynomial_u chebyshev_polynomial_v chebyshev_polynomial_w "
         "shifted_chebyshev_polynomial_t shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v "
         "shifted_chebyshev_polynomial_w hermite_polynomial_h hermite_polynomial_he laguerre_polynomial_l "
         "legendre_polynomial_p", "{f}(u.detach(), k)", space="special")  # fmt: skip
    case("log_softmax softmax", "{f}(a, 1)", space="special")
    case("logsumexp", "{f}(a, 1)", space="special")
    # ---- reductions
    case("sum nansum mean nanmean", "{f}(a)", "{f}(a, 1)", "{f}(x, (0, 2), keepdim=True)")
    case("sum", "{f}(i)", "{f}(q, 0)", "{f}(a, dtype=t.float64)")
    case("prod", "{f}(a)", "{f}(z, 1)", "{f}(i, 0)")
    case("sum_to_size", "x.{n}(3, 1)")
    case("count_nonzero", "{f}(z)", "{f}(z, 1)")
    case("trace", "{f}(m)")
    case("all any", "{f}(q)", "{f}(q, 1)", "{f}(z, 0, keepdim=True)")
    case("max min", "{f}(z)", "{f}(a, 1)", "{f}(a, b)")
    case("amax amin", "{f}(z)", "{f}(z, 1)", "{f}(x, (0, 2))")
    case("aminmax", "{f}(z)", "{f}(a, dim=1)")
    case("argmax argmin", "{f}(a)", "{f}(a, 1)", "{f}(a, 0, keepdim=True)")
    case("var std", "{f}(a)", "{f}(a, 1)", "{f}(x, (0, 2), correction=0)")
    case("var_mean std_mean", "{f}(a, 1)")
    case("cov corrcoef", "{f}(a)")
    case("logsumexp", "{f}(a, 1)", "{f}(x, (0, 2))")
    case("norm", "{f}(a)", "{f}(a, 1, 1)", "{f}(z, 2, 0)")
    case("dist", "{f}(a, b)", "{f}(a, b, 1)")
    case("renorm", "{f}(a, 2, 0, 1.0)")
    case("median nanmedian", "{f}(a)", "{f}(a, 1)")
    case("kthvalue", "{f}(a, 2, 1)")
    case("mode", "{f}(k, 1)")
    case("quantile nanquantile", "{f}(a, 0.3)", "{f}(a, t.tensor([0.1, 0.6]), 1)")
    case("histc", "{f}(a.detach(), 5)")
    case("histogram", "{f}(a.detach(), 5, range=(-2.0, 2.0))", "{f}(a.detach(), s.detach())")
    case("hash_tensor", "{f}(a)", "{f}(i, 1)")
    # ---- along one dim
    case("cumsum cumprod", "{f}(a, 1)", "{f}(i, 0)")
    case("cumprod", "{f}(z, 1)")
    case("cummax cummin", "{f}(a, 1)")
    case("logcumsumexp", "{f}(a, 1)", "{f}(c, 1)")
    case("diff", "{f}(a)", "{f}(a, 2, 1, b)")
    case("trapezoid cumulative_trapezoid", "{f}(a)", "{f}(a, dx=0.5, dim=0)", "{f}(a, v)")
    case(
        "gradient",
        "{f}(a, spacing=0.5)",
        "{f}(a, dim=1, edge_order=2)",
        "{f}(a, spacing=(t.arange(3.0), t.arange(4.0) ** 2))",
    )
    case("sort", "{f}(a)", "{f}(a, 0, True)", "{f}(k, dim=1, stable=True)")
    case("argsort", "{f}(a)", "{f}(k, dim=1, stable=True)")
    case("msort", "{f}(a)")
    case("topk", "{f}(a, 2)", "{f}(a, 2, 0, False)")
    case("searchsorted", "{f}(s, a)", "{f}(s, a, right=True)")
    case("bucketize", "{f}(a, s)")
    case("isin", "{f}(i, k)", "{f}(i, k, invert=True)")
    # ---- products
    case("matmul", "{f}(a, m)", "{f}(a, v)", "{f}(v, m)", "{f}(x, y)", "{f}(v, v)", "{f}(c, e)", "{f}(i, j.T)", "a @ m")
    case("mm", "{f}(a, m)")
    case("bmm", "{f}(x, y)")
    case("mv", "{f}(a, v)")
    case("dot vdot inner", "{f}(v, v.exp())")
    case("vdot", "{f}(c[0], c[1])")
    case("inner", "{f}(a, b)")
    case("outer", "{f}(v, w)")
    case("addmm", "{f}(v, a, m)", "{f}(a, b, m, beta=0.5, alpha=2)")
    case("addmv", "{f}(w, a, v, beta=0.5)")
    case("addbmm", "{f}(w, x, y)")
    case("baddbmm", "{f}(w, x, y, alpha=2)")
    case("addr", "{f}(a, w, v)")
    case("einsum", "{f}('ij,jk->ik', a, m)", "{f}('bij,bjk->bk', x, y)", "{f}('ii->i', m)", "{f}('...j,j', x, v)")
    case("tensordot", "{f}(x, y, dims=([2], [1]))", "{f}(a, m, 1)")
    case("kron", "{f}(w, v)", "{f}(a, w)")
    case("chain_matmul", "{f}(a, m, n)")
    case("block_diag", "{f}(a, v, m)")
    case("cartesian_prod", "{f}(v, w)")
    case("combinations", "{f}(v)", "{f}(v, 2, True)")
    case("cross", "{f}(y, y.flip(0), dim=2)")
    case("cdist", "{f}(a, m)", "{f}(a, m, 1.0)")
    # ---- linear algebra
    L = "linalg"
    case("vector_norm", "{f}(a)", "{f}(a, 1, 0)", "{f}(a, float('inf'), 1)", space=L)
    case("matrix_norm", "{f}(a)", "{f}(a, 'nuc')", "{f}(x, 1)", space=L)
    case("norm", "{f}(a)", "{f}(a, 2)", "{f}(v, 3)", space=L)
    case("cond pinv inv", "{f}(spd)", space=L)
    case("inv_ex cholesky cholesky_ex", "{f}(spd)[0]", space=L)
    case("cholesky", "{f}(spd, upper=True)", space=L)
    case("matrix_rank", "{f}(a.detach())", space=L)
    case("solve", "{f}(spd, m)", "{f}(spd, v)", "{f}(spd, a, left=False)", space=L)
    case("solve_ex", "{f}(spd, m)[0]", space=L)
    case("solve_triangular", "{f}(tri, m, upper=False)", space=L)
    case("lstsq", "{f}(y, y[..., :2]).solution", space=L)
    case("qr", "{f}(m)[0].abs()", "{f}(y)[1].abs()", space=L)
    case("svd", "{f}(a)[1]", "{f}(a, full_matrices=False)[0].abs()", space=L)
    case("svdvals", "{f}(a)", space=L)
    case("eig", "{f}(m)[0].abs().sort()[0]", space=L)
    case("eigvals", "{f}(m).abs().sort()[0]", space=L)
    case("eigh", "{f}(spd)[0]", "{f}(spd)[1].abs()", space=L)
    case("eigvalsh", "{f}(spd)", space=L)
    case("lu_factor", "{f}(m)", space=L)
    case("lu_factor_ex", "{f}(m)[:2]", space=L)
    case("lu", "{f}(m)", space=L)
    case("lu_solve", "{f}(*t.linalg.lu_factor(spd), m)", space=L)
    case("householder_product", "{f}(m, v)", space=L)
    case("tensorinv", "{f}(spd.reshape(2, 2, 2, 2))", space=L)
    case("tensorsolve", "{f}(spd.reshape(2, 2, 2, 2), m[:2, :2])", space=L)
    case("vander", "{f}(w)", "{f}(w, N=4)", space=L)
    case("ldl_factor", "{f}(spd - 3 * t.eye(4))", space=L)
    case("ldl_factor_ex", "{f}(m @ m.T - t.eye(4))[:2]", space=L)
    case("ldl_solve", "{f}(*t.linalg.ldl_factor(m + m.T), n)", space=L)
    case("vecdot", "{f}(a, b)", "{f}(c, c.flip(0))", space=L)
    case("cross", "{f}(y, y.flip(0))", space=L)
    case("matmul", "{f}(a, m)", space=L)
    case("multi_dot", "{f}([a, m, n])", space=L)
    case("diagonal", "{f}(x)", space=L)
    case("det slogdet inverse pinverse logdet matrix_exp", "{f}(spd / 4)")
    case("det", "{f}(m)")
    case("matrix_power", "{f}(m, 3)", "{f}(spd, -1)")
    case("det slogdet matrix_exp", "{f}(spd / 4)", space=L)
    case("matrix_power", "{f}(m, 3)", space=L)
    case("triangular_solve", "{f}(m, tri, upper=False)")
    case("cholesky", "{f}(spd)")
    case("cholesky_solve", "{f}(m, tri.tril())")
    case("cholesky_inverse", "{f}(tri.tril())")
    case("qr", "{f}(m)[1].abs()")
    case("svd", "{f}(a)[1]")
    case("lu", "{f}(m)")
    case("lu_unpack", "{f}(*t.linalg.lu_factor(m))")
    case("lu_solve", "{f}(m, *t.linalg.lu_factor(spd))")
    case("orgqr", "{f}(m, v)")
    case("ormqr", "{f}(m, v, n)")
    case("vander", "{f}(w)")
    case("geqrf", "{f}(m)[0]")
    # ---- Fourier
    F = "fft"
    case("fft ifft fft2 ifft2 fftn ifftn", "{f}(c)", "{f}(a)", space=F)
    case("fft ifft", "{f}(c, 6)", "{f}(c, 3, 0, 'ortho')", space=F)
    case("rfft rfft2 rfftn ihfft ihfft2 ihfftn", "{f}(a)", space=F)
    case("irfft irfft2 irfftn hfft hfft2 hfftn", "{f}(c)", space=F)
    case("rfft", "{f}(a, norm='forward')", space=F)
    case("fftfreq rfftfreq", "{f}(5)", "{f}(6, d=0.5)", space=F)
    case("fftshift ifftshift", "{f}(x)", "{f}(a, 1)", space=F)
    case("stft", "{f}(sig, 8, 4, window=t.hann_window(8), return_complex=True)")
    case("istft", "{f}(t.stft(sig, 8, 4, window=t.hann_window(8), return_complex=True), 8, 4, window=t.hann_window(8))")
    case("hann_window hamming_window blackman_window bartlett_window kaiser_window", "{f}(7)", "{f}(7, periodic=False)")
    W = "signal.windows"
    case("hann hamming general_hamming blackman nuttall bartlett kaiser cosine gaussian exponential", "{f}(7)",
         "{f}(8, sym=False)", space=W)  # fmt: skip
    case("general_cosine", "{f}(7, a=[0.4, 0.5, 0.1])", space=W)
    # ---- shapes
    case("view reshape", "a.{n}(2, 6)", "x.{n}(-1)", "a.clone().{n}(4, 3).mul_(2)")
    case("flatten", "{f}(x)", "{f}(x, 1)")
    case("ravel", "{f}(a)")
    case("unflatten", "{f}(a, 1, (2, 2))")
    case("transpose swapaxes swapdims", "{f}(x, 0, 2)")
    case("t", "{f}(a)", "a.clone().t().mul_(2)")
    case("T mT mH H", "a.{n}", "c.{n}")
    case("adjoint", "{f}(c)")
    case("permute", "{f}(x, (2, 0, 1))")
    case("movedim", "{f}(x, 0, 2)", "{f}(x, (0, 1), (1, 2))")
    case("unsqueeze", "{f}(a, 1)", "{f}(a, -1)")
    case("squeeze", "{f}(a.reshape(1, 3, 1, 4))", "{f}(a.reshape(1, 3, 4), 0)")
    case("expand", "v.{n}(3, 4)", "v.{n}(2, -1)")
    case("broadcast_to", "{f}(v, (3, 4))")
    case("diagonal", "{f}(m)", "{f}(x, 1, 1, 2)", "m.clone().diagonal().mul_(2)")
    case("unfold", "a.{n}(1, 2, 1)", "a.{n}(1, 2, 2)")
    case("cat", "{f}([a, b])", "{f}([a, i], 1)")
    case("stack", "{f}([a, b])", "{f}([a, b], -1)")
    case("hstack vstack dstack", "{f}([a, b])", "{f}([v, v])")
    case("column_stack", "{f}([a, b])", "{f}([w, a])")
    case("repeat", "a.{n}(2, 1)", "v.{n}(2, 3)")
    case("tile", "{f}(a, (2,))", "{f}(v, (2, 2))")
    case("flip", "{f}(x, (0, 2))")
    case("fliplr flipud", "{f}(a)")
    case("roll", "{f}(a, 2)", "{f}(a, (1, 2), (0, 1))")
    case("rot90", "{f}(a)", "{f}(a, 2)", "{f}(a, 3)")
    case("tril triu", "{f}(m)", "{f}(x, 1)", "{f}(a, -1)")
    case("diag_embed", "{f}(a)", "{f}(a, 1, 0, 2)")
    case("diag", "{f}(v)", "{f}(m, 1)")
    case("diagflat", "{f}(w, 1)")
    case("constant_pad_nd", "{f}(a, (1, 2))", "{f}(a, (1, -1, 0, 2), 3.0)")
    case("diagonal_scatter", "{f}(m, v)")
    case("as_strided_scatter", "{f}(a.detach(), m.detach()[:2, :2], (2, 2), (4, 1), 1)")
    # ---- creation
    case("zeros ones empty", "{f}(2, 3).shape[0] * t.ones(1)", "{f}((2,), dtype=t.int64) * 0")
    case("zeros ones", "{f}(2, 3)")
    case("full", "{f}((2, 3), 1.5)", "{f}((2,), 3)", "{f}((2,), True)")
    case("linspace", "{f}(0, 1, 5)", "{f}(-2, 3, 4, dtype=t.int64)")
    case("logspace", "{f}(0, 2, 5)", "{f}(0, 3, 4, 2.0)")
    case("eye", "{f}(3)", "{f}(2, 3)")
    case("fill", "{f}(a, 2)", "a.clone().fill_(3)")
    # ---- indices
    case("gather", "{f}(a, 0, k)", "{f}(a, 1, k)")
    case("scatter", "{f}(a, 0, k[:1], b)", "{f}(a, 0, k[:1], 2.0)", "{f}(a, 0, k, b, reduce='add')")
    case("scatter_add", "{f}(a, 0, k, b)")
    case("scatter_reduce", *[f"{{f}}(a, 0, k, b, '{r}')" for r in ("sum", "prod", "mean", "amax", "amin")],
         "{f}(a, 0, k, b, 'mean', include_self=False)")  # fmt: skip
    case("index_select", "{f}(a, 0, r)", "{f}(a, 1, r)")
    case("index_add index_copy", "{f}(a, 0, r, b)")
    case("index_add", "{f}(a, 0, r, b, alpha=2)")
    case("index_fill", "{f}(a, 0, r[:2], 2.0)")
    case("index_reduce", *[f"{{f}}(a, 0, r, b, '{r}')" for r in ("prod", "mean", "amax", "amin")])
    case("take", "{f}(a, k)")
    case("nonzero_static", "{f}(z, size=5)")
    case("put", "{f}(a, r, w)", "{f}(a, r, w, True)")
    case("take_along_dim", "{f}(a, k, 0)", "{f}(a, k)")
    case("masked_fill", "{f}(a, q, 2.0)")
    case("masked_scatter", "{f}(a, q, b)")
    # ---- functions of nn.functional that torch has, too
    case("selu", "{f}(a)")
    case("celu", "{f}(a, 0.5)")
    case("prelu", "{f}(a, v)")
    case("threshold", "{f}(a, 0.1, 2.0)")
    case("hardshrink", "{f}(a)")
    case("softmax log_softmax", "{f}(a, 1)", "{f}(a, 0)")
    case("cosine_similarity pairwise_distance", "{f}(a, b)")
    # ---- without an entry of their own in the table
    for name in ("sum", "mean", "amax", "logsumexp", "norm", "var"):
        CASES[f"masked.{name}"] = [f"t.masked.{name}(a, dim=1, mask=q | o)"]
    for name in ("softmax", "log_softmax", "cumsum"):
        CASES[f"masked.{name}"] = [f"t.masked.{name}(a, 1, mask=q | (k == 0))" if name == "cumsum" else
                                   f"t.masked.{name}(a, 1, mask=t.ones_like(q))"]  # fmt: skip
    CASES["composite"] = [
        "a[1]", "a[:, 1:3]", "a[r]", "a[:, r]", "a[q]", "a[1, ::2]", "x[..., None, 1]", "x[r[1:], :, r[1:]]",
        "a[r, k[:, 0]]",
        "t.nonzero(z)", "t.masked_select(a, q)", "t.unique(i)", "t.unique(k, return_inverse=True, return_counts=True)",
        "t.unique_consecutive(k, return_counts=True)", "t.bincount(r)", "t.repeat_interleave(a, 2, 1)",
        "t.repeat_interleave(a, r, 0)", "t.index_put(a, (r,), b)", "t.index_put(a, (r, r), w, True)",
        "t.split(a, 3, 1)", "t.chunk(a, 2)", "t.tensor_split(a, 3, 1)", "t.unbind(a, 1)",
        "t.meshgrid(v, w, indexing='xy')",
        "t.broadcast_tensors(v, a)", "t.narrow(a, 1, 1, 2)", "t.select_scatter(a, v, 0, 1)",
        "t.slice_scatter(a, b[:, :2], 1, 1, 3)", "t.as_strided(a.contiguous(), (2, 2), (1, 2), 1)", "t.atleast_3d(a)",
        "t.histogramdd(a.detach()[:, :2], [2, 3])", "t.unravel_index(k, (2, 3))", "t.t_copy(a)",
        "a.clone().unsqueeze_(0)",
        "t.segment_reduce(a, 'mean', lengths=t.tensor([2, 1]))", "t.segment_reduce(a, 'max', lengths=t.tensor([1, 2]))",
        "t.arange(2, 9, 3)", "t.arange(0.0, 1.0, 0.25)", "t.tril_indices(3, 4)", "a.clone().fill_diagonal_(2.0)",
        "2 - a", "2 / p", "2 // j", "7 % j", "2 ** a", "i // 2", "-a", "~q", "q & o", "i << 1", "abs(a)", "1 << k",
        "64 >> k",
    ]  # fmt: skip


def leaves(form: str, given: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    named = {}
    for name, value in given.items():
        if re.search(rf"(?<![.\w']){name}\b(?!\s*=[^=])", form):
            named[name] = torch.from_numpy(value.copy())
            if value.dtype.kind in "fc":
                named[name].requires_grad_(True)
    return named


def tensors(out: object) -> list:
    if isinstance(out, torch.Tensor):
        return [out]
    return [x for part in out for x in tensors(part)]  # type: ignore[attr-defined]


def main() -> None:
    fill()
    store: dict[str, list[np.ndarray]] = {}
    length: dict[str, int] = {}

    def keep(array: np.ndarray, name: str | None = None) -> list:
        kind = array.dtype.name
        at = length.get(kind, 0)
        store.setdefault(kind, []).append(array.reshape(-1))
        length[kind] = at + array.size
        return [name or kind, list(array.shape), at]

    def told(x: torch.Tensor) -> list:
        name = str(x.dtype).removeprefix("torch.")
        x = x.detach().resolve_conj().resolve_neg().clone()
        return keep((x.float() if x.dtype == torch.bfloat16 else x).numpy(force=True), name)

    given = inputs()
    table: dict = {"inputs": {name: keep(value) for name, value in given.items()}, "cases": {}}
    for key, forms in CASES.items():
        rows = table["cases"][key] = []
        for form in dict.fromkeys(forms):
            named = leaves(form, given)
            try:
                outs = tensors(eval(form, {"t": torch, **named}))
            except Exception as error:
                raise RuntimeError(f"{key}: {form}") from error
            rng = np.random.RandomState(7)
            pairs = []
            for o in outs:
                c = rng.standard_normal((2, *o.shape))
                if o.requires_grad:
                    c = torch.from_numpy(np.asarray(c[0] + 1j * c[1] if o.is_complex() else c[0]))
                    pairs.append((o, c.to(o.dtype)))
            try:
                if pairs:
                    torch.autograd.backward([o for o, _ in pairs], [c for _, c in pairs])
            except RuntimeError as error:
                print("no gradient:", form, str(error)[:80])
                named = {}
            grads = {n: None if x.grad is None else told(x.grad) for n, x in named.items() if x.requires_grad}
            rows.append({"form": form, "out": [told(o) for o in outs], "grad": grads})
    np.savez_compressed(HERE / "ops.npz", **{k: np.concatenate(v) for k, v in store.items()})
    (HERE / "ops.json").write_text(json.dumps(table, separators=(",", ":")).replace('{"form"', '\n{"form"') + "\n")
    print(sum(map(len, CASES.values())), "cases of", len(CASES), "operators")


main()
