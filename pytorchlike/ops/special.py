"""``torch.special``: error, gamma and Bessel functions and orthogonal polynomials.

What JAX lacks is evaluated from Chebyshev series that were fitted here to 17 digits with mpmath; the variable and the
interval of each series stand beside its use.  Half precision is computed in float32 throughout.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy import special as jsp

from . import activation, reduce, unary
from ._dtypes import refuse
from ._numeric import fit, half_in_float32, partials
from ._table import Array, Operand, op
from .elementwise import xlogy

# --- series ------------------------------------------------

_J0 = (
    0.15772797147489012, -0.008723442352852221, 0.2651786132033368, -0.37009499387264977, 0.15806710233209725,
    -0.034893769411408884, 0.004819180069467605, -0.00046062616620627504, 3.246032882100508e-05,
    -1.7619469077621507e-06, 7.608163592418782e-08, -2.679253530557673e-09, 7.848696314479465e-11,
    -1.9438346867370164e-12, 4.125320595634374e-14, -7.588508125447545e-16, 1.221851587396134e-17,
)  # fmt: skip
_J1 = (
    0.08104484632565812, -0.1489751450676521, 0.1609992623572097, -0.08268049176681791, 0.022213639654966037,
    -0.003646940600769276, 0.0004050337728354822, -3.255554866857259e-05, 1.9858774049915165e-06,
    -9.521984756750436e-08, 3.687133759097148e-09, -1.178026622695885e-10, 3.160154580348003e-12,
    -7.221755239651773e-14, 1.4232144003513942e-15, -2.444197291619053e-17,
)  # fmt: skip
_Y0 = (
    -0.03314611320328494, -0.2744743055297453, 0.17903431407718265, 0.26156734625504663, -0.17730201278114358,
    0.04719668959576339, -0.007287962479552079, 0.0007531135932577742, -5.632079141056987e-05,
    3.206532537654801e-06, -1.44072332740187e-07, 5.248794787330516e-09, -1.5837552541812015e-10,
    4.02633081830612e-12, -8.747341203310769e-14, 1.6434898714919466e-15, -2.697788115256659e-17,
)  # fmt: skip
_Y1 = (
    0.0025380132357417816, -0.01608717304766875, -0.09591204536083074, 0.08445197259652346, -0.028328123944594365,
    0.005289897544167113, -0.0006414551451326356, 5.505982873338744e-05, -3.53808001868935e-06,
    1.7707804556154404e-07, -7.11055004989928e-09, 2.344337905911516e-10, -6.4651518414115946e-12,
    1.51429151205002e-13, -3.0511859694473254e-15, 5.346680385728657e-17,
)  # fmt: skip
_P0 = (
    0.9994603493475187, -0.0005365220468132117, 3.0751847875194745e-06, -5.1705945376060975e-08,
    1.6306464635151382e-09, -7.86409137723707e-11, 5.168262387349193e-12, -4.3045788699253914e-13,
    4.3265957431549404e-14, -5.069034095935236e-15, 6.748072215733867e-16, -1.0011513723467767e-16,
    1.6305919233744016e-17,
)  # fmt: skip
_Q0 = (
    -0.12444683684269607, 0.0005470815954089319, -5.9315987288485175e-06, 1.4377965798375193e-07,
    -5.817532749493056e-09, 3.376097523734991e-10, -2.565397936797308e-11, 2.404916100281365e-12,
    -2.6690625482579404e-13, 3.4041800321963567e-14, -4.879944105311929e-15, 7.729703176241599e-16,
    -1.3348852171493457e-16, 2.4865952389310263e-17, -4.9528926298161445e-18,
)  # fmt: skip
_P1 = (
    1.0009030408600137, 0.0008989898330859408, -3.987284300488908e-06, 6.177633960644299e-08,
    -1.8718907491063067e-09, 8.816898659582339e-11, -5.704863640395645e-12, 4.699195515230542e-13,
    -4.6842237839904895e-14, 5.452674896044717e-15, -7.221180842274024e-16, 1.0667689114335427e-16,
    -1.731231321611654e-17,
)  # fmt: skip
_Q1 = (
    0.3742222965562826, -0.0007702178839325664, 7.3108922063643636e-06, -1.676782510726674e-07,
    6.583354662120443e-09, -3.749090950541556e-10, 2.8121750359748866e-11, -2.6114525394623204e-12,
    2.8774212663332265e-13, -3.6490019160618714e-14, 5.206626366227039e-15, -8.215318025461877e-16,
    1.4141084390244203e-16, -2.6267615898703174e-17, 5.2192649199820764e-18,
)  # fmt: skip
_K0 = (
    -0.2676636966169514, 0.3442898999246285, 0.0359799365153615, 0.001264615411446926, 2.286212103119452e-05,
    2.5347910790261494e-07, 1.904516377220209e-09, 1.0349695257633625e-11, 4.2598161427910826e-14,
    1.3744654358807476e-16,
)  # fmt: skip
_K1 = (
    0.7626501136694739, -0.3531559607765449, -0.12261118082265715, -0.006975723859639864, -0.0001730288957513052,
    -2.4334061415659684e-06, -2.213387630734726e-08, -1.4114883926335278e-10, -6.666901694199329e-13,
    -2.427449850519365e-15,
)  # fmt: skip
_I0 = (
    1.6029228068079633, 0.638809625651177, 0.03685485969436176, 0.00098287812725148, 1.4983654208927293e-05,
    1.4738449008423848e-07, 1.0114797900674826e-09, 5.1149979020112795e-12, 1.9842806226805617e-14,
    6.090516506059027e-17,
)  # fmt: skip
_I1 = (
    0.6417589969911874, 0.1475393201491934, 0.005898742680020788, 0.00011988137174638708, 1.4739165119093128e-06,
    1.2138074968740922e-08, 7.161106692799279e-11, 3.17487931131012e-13, 1.0962998348773072e-15,
)  # fmt: skip
_K0_FAR = (
    1.2201515410329777, -0.0314481013119645, 0.0015698838857300533, -0.00012849549581627802, 1.39498137188765e-05,
    -1.8317555227191195e-06, 2.766813639445015e-07, -4.660489897687948e-08, 8.574034017414225e-09,
    -1.6975345093890614e-09, 3.5773972814003283e-10, -7.957489244477396e-11, 1.8559491149549264e-11,
    -4.514597883374519e-12, 1.1403405882073441e-12, -2.9800969231481784e-13, 8.032890775068375e-14,
    -2.2275133267462965e-14, 6.340076476276647e-15, -1.848593377920907e-15, 5.512055999404334e-16,
    -1.6782311257548915e-16, 5.2103917776436166e-17, -1.6475805939842617e-17,
)  # fmt: skip
_K1_FAR = (
    1.3603130952422213, 0.10392373657681724, -0.002857816859622779, 0.00019521551847135162, -1.936197974166083e-05,
    2.406484947837217e-06, -3.5019606030878126e-07, 5.7410841254500495e-08, -1.0345762465678097e-08,
    2.0150497551970347e-09, -4.1903547593419254e-10, 9.218315187605315e-11, -2.129967838427791e-11,
    5.139639673482343e-12, -1.2891739609498229e-12, 3.348419666052243e-13, -8.976705182010146e-14,
    2.4771544242195988e-14, -7.0198370892147685e-15, 2.038703166239861e-15, -6.057047270643017e-16,
    1.8380935752430546e-16, -5.689462849193583e-17, 1.7940510478863606e-17,
)  # fmt: skip
_ERFCX = (
    1.1774832005374487, -0.007260796620301901, -0.081265123236185, 0.06009212804122225, -0.02875393558027666,
    0.01059566336347286, -0.003136927294554264, 0.0007456494372536184, -0.0001369696503010054,
    1.7183861600300937e-05, -7.158364623450346e-07, -2.4261399442449534e-07, 5.5765709395703566e-08,
    -2.1057869513809494e-09, -1.1717889351884957e-09, 1.9098355172456688e-10, 1.408871764208813e-11,
    -6.901108320480814e-12, 9.167958364111332e-14, 2.145450828655459e-13, -1.4716575027010248e-14,
    -6.668675118770036e-15, 7.50459850988374e-16, 2.2200930066699137e-16, -3.170489895597811e-17,
)  # fmt: skip
_AIRY_RIGHT = (
    0.9844053049171552, -0.014792784850104199, 0.0007327177465426715, -6.12595423417825e-05, 6.83476697557269e-06,
    -9.237229735403982e-07, 1.436225340438052e-07, -2.489319422322096e-08, 4.709793440054328e-09,
    -9.583863708112733e-10, 2.0745855483677591e-10, -4.737267332192277e-11, 1.1336099808224236e-11,
    -2.827706782319351e-12, 7.320712095125599e-13, -1.9599793911089733e-13, 5.4101162570684026e-14,
    -1.5356466802223937e-14, 4.472340393300124e-15, -1.3338094674757644e-15, 4.066582046457161e-16,
    -1.2655832256461797e-16, 4.015126334024596e-17, -1.296997213604446e-17,
)  # fmt: skip
_AIRY_MIDDLE = (
    0.06078525685079726, 0.18996030881729123, -0.250924387032336, -0.09512014013503055, 0.20236324198370076,
    -0.06418728306305249, -0.026814703186039963, 0.024051904281273857, -0.00413259164974895, -0.0020196817905494225,
    0.0011250768750654559, -0.00011697538709676606, -7.125499253060682e-05, 2.8167833107042442e-05,
    -1.7594742389691562e-06, -1.4587201524168717e-06, 4.388747958436033e-07, -1.4627095866197506e-08,
    -1.9495992841846798e-08, 4.660552774163884e-09, -5.106245117904234e-11, -1.8343326708789198e-10,
    3.5857642041278925e-11, 2.658241327479573e-13, -1.2805447574198059e-12, 2.0885896604502407e-13,
    4.8741837202287105e-15, -6.8950809278850346e-15, 9.519650145700166e-16, 3.597899142214492e-17,
    -2.950270583372131e-17, 3.483989442459282e-18,
)  # fmt: skip
_AIRY_P = (
    0.9993708890742778, -0.0006216836584374116, 7.181193774368645e-06, -2.316269813501758e-07,
    1.3216283888528755e-08, -1.0938736172758127e-09, 1.1794620737908535e-10, -1.5518841909929856e-11,
    2.386927411492466e-12, -4.16552889201035e-13, 8.071678110741467e-14, -1.708757321110567e-14,
    3.902945148540815e-15, -9.523976784907064e-16, 2.463281088575257e-16, -6.709077463464817e-17,
    1.9139396837187073e-17,
)  # fmt: skip
_AIRY_Q = (
    0.06882170556308001, -0.0006089151840832694, 1.3174151014089972e-05, -6.014071912908298e-07,
    4.327537342298499e-08, -4.247731732954726e-09, 5.232285376834493e-10, -7.672290975115024e-11,
    1.2923809452698712e-11, -2.438529757108291e-12, 5.059047237872094e-13, -1.137851379225643e-13,
    2.7441377308323233e-14, -7.034482112633529e-15, 1.903211436720815e-15, -5.4030405414182335e-16,
    1.6016711026671072e-16, -4.937527440435124e-17, 1.5773435798572916e-17, -5.206129582592771e-18,
    1.7706787954573833e-18,
)  # fmt: skip


def _series(coefficients: Sequence[float], t: jax.Array) -> jax.Array:
    """Chebyshev series at t in [-1, 1], by Clenshaw's recurrence."""
    back, back2 = jnp.zeros_like(t), jnp.zeros_like(t)
    for c in reversed(coefficients[1:]):
        back, back2 = 2 * t * back - back2 + c, back
    return t * back - back2 + coefficients[0]


_SQRT_HALF = math.sqrt(0.5)


def _waves(x: jax.Array, shift: int) -> tuple[jax.Array, jax.Array]:
    """cos and sin of x - (2 shift + 1) pi/4 without rounding the difference, for shift 0 or 1."""
    cos, sin = lax.cos(x), lax.sin(x)
    plus, minus = (sin + cos) * _SQRT_HALF, (sin - cos) * _SQRT_HALF
    return (plus, minus) if shift == 0 else (minus, -plus)


def _far(x: jax.Array, order: int) -> tuple[jax.Array, jax.Array]:
    """Bessel functions (J, Y) for x > 8 from the amplitudes P and Q, series in 2 (8/x)**2 - 1."""
    r = 8 / x
    t = 2 * r * r - 1
    p = _series(_P0 if order == 0 else _P1, t)
    q = _series(_Q0 if order == 0 else _Q1, t) / x
    cos, sin = _waves(x, order)
    size = lax.rsqrt(x * (math.pi / 2))
    return size * (p * cos - q * sin), size * (p * sin + q * cos)


def _near(x: jax.Array) -> jax.Array:
    """Variable of the series on [0, 8] in x**2."""
    return x * x * (1 / 32) - 1


def _bounded(x: jax.Array, keep: jax.Array, other: float) -> jax.Array:
    """x where kept, else a harmless number, so that the branch not taken gives neither overflow nor nan gradients."""
    return jnp.where(keep, x, jnp.full_like(x, other))


# --- Bessel functions ------------------------------------------------


@partials(lambda out, x: -_j1(x))
def _j0(x: jax.Array) -> jax.Array:
    x = lax.abs(x)
    near = x <= 8
    inner = _series(_J0, _near(_bounded(x, near, 1.0)))
    return jnp.where(near, inner, _far(_bounded(x, ~near, 9.0), 0)[0])


def _ratio(f: jax.Array, x: jax.Array, limit: float) -> jax.Array:
    zero = x == 0
    return jnp.where(zero, jnp.full_like(x, limit), f / jnp.where(zero, jnp.ones_like(x), x))


@partials(lambda out, x: _j0(x) - _ratio(out, x, 0.5))
def _j1(x: jax.Array) -> jax.Array:
    size = lax.abs(x)
    near = size <= 8
    inner = _bounded(x, near, 1.0)
    inner = inner * _series(_J1, _near(inner))
    return jnp.where(near, inner, jnp.where(x < 0, -1, 1) * _far(_bounded(size, ~near, 9.0), 1)[0])


def _second_kind(x: jax.Array, inner: Callable[[jax.Array], jax.Array], order: int) -> jax.Array:
    near = x <= 8
    good = near & (x > 0)
    y = jnp.where(near, inner(_bounded(x, good, 1.0)), _far(_bounded(x, ~near, 9.0), order)[1])
    y = jnp.where(x == 0, jnp.full_like(x, -jnp.inf), y)
    return jnp.where(x < 0, jnp.full_like(x, jnp.nan), y)


@partials(lambda out, x: -_y1(x))
def _y0(x: jax.Array) -> jax.Array:
    return _second_kind(x, lambda z: _series(_Y0, _near(z)) + (2 / math.pi) * lax.log(z) * _series(_J0, _near(z)), 0)


@partials(lambda out, x: _y0(x) - out / x)
def _y1(x: jax.Array) -> jax.Array:
    def inner(z: jax.Array) -> jax.Array:
        t = _near(z)
        return z * _series(_Y1, t) + (2 / math.pi) * (lax.log(z) * z * _series(_J1, t) - 1 / z)

    return _second_kind(x, inner, 1)


def _third_kind(x: jax.Array, order: int, scaled: bool) -> jax.Array:
    """K_order, times e**x if scaled: series in x**2 up to 2, beyond in 4/x - 1 with e**-x / sqrt(x) taken out."""
    near = x <= 2
    z = _bounded(x, near & (x > 0), 1.0)
    t = z * z * 0.5 - 1
    log = lax.log(z * 0.5)
    if order == 0:
        inner = _series(_K0, t) - log * _series(_I0, t)
    else:
        inner = _series(_K1, t) / z + log * z * _series(_I1, t)
    far = _bounded(x, ~near, 3.0)
    outer = _series(_K0_FAR if order == 0 else _K1_FAR, 4 / far - 1) * lax.rsqrt(far)
    if scaled:
        inner = inner * lax.exp(z)
    else:
        outer = outer * lax.exp(-far)
    y = jnp.where(near, inner, outer)
    y = jnp.where(x == 0, jnp.full_like(x, jnp.inf), y)
    return jnp.where((x < 0) | jnp.isnan(x), jnp.full_like(x, jnp.nan), y)


@partials(lambda out, x: -_k1(x))
def _k0(x: jax.Array) -> jax.Array:
    return _third_kind(x, 0, False)


@partials(lambda out, x: -_k0(x) - out / x)
def _k1(x: jax.Array) -> jax.Array:
    return _third_kind(x, 1, False)


@partials(lambda out, x: out - _k1e(x))
def _k0e(x: jax.Array) -> jax.Array:
    return _third_kind(x, 0, True)


@partials(lambda out, x: out - _k0e(x) - out / x)
def _k1e(x: jax.Array) -> jax.Array:
    return _third_kind(x, 1, True)


def _unary(name: str, body: Callable[[jax.Array], jax.Array], doc: str, **told: Any) -> Any:
    """Enter a real function of one argument into torch.special."""

    def run(input: Array) -> jax.Array:
        refuse(name, input, kinds="c")
        return body(input)

    run.__doc__ = f"{doc}\n\nIntegers become the default float dtype. NotImplementedError for complex tensors."
    run.__name__ = run.__qualname__ = name
    return op(promote="float", namespace="special", name=name, **told)(half_in_float32(run))


bessel_j0 = _unary("bessel_j0", _j0, "Bessel function of the first kind, order 0.")
bessel_j1 = _unary("bessel_j1", _j1, "Bessel function of the first kind, order 1.")
bessel_y0 = _unary("bessel_y0", _y0, "Bessel function of the second kind, order 0: -inf at 0, nan below.")
bessel_y1 = _unary("bessel_y1", _y1, "Bessel function of the second kind, order 1: -inf at 0, nan below.")
i0e = _unary("i0e", lax.bessel_i0e, "``exp(-|input|) * i0(input)``.")
i1 = _unary("i1", unary.i1_body, "Modified Bessel function of the first kind, order 1.")
i1e = _unary("i1e", lax.bessel_i1e, "``exp(-|input|) * i1(input)``.")
modified_bessel_i0 = _unary("modified_bessel_i0", unary.i0_body, "Modified Bessel function of the first kind, order 0.")
modified_bessel_i1 = _unary("modified_bessel_i1", unary.i1_body, "Modified Bessel function of the first kind, order 1.")
modified_bessel_k0 = _unary(
    "modified_bessel_k0", _k0, "Modified Bessel function of the second kind, order 0: inf at 0, nan below."
)
modified_bessel_k1 = _unary(
    "modified_bessel_k1", _k1, "Modified Bessel function of the second kind, order 1: inf at 0, nan below."
)
scaled_modified_bessel_k0 = _unary("scaled_modified_bessel_k0", _k0e, "``exp(input) * modified_bessel_k0(input)``.")
scaled_modified_bessel_k1 = _unary("scaled_modified_bessel_k1", _k1e, "``exp(input) * modified_bessel_k1(input)``.")


def _sine_over(x: jax.Array) -> jax.Array:
    safe = _bounded(x, (x != 0) & ~jnp.isinf(x), 1.0)
    y = jnp.where(x == 0, jnp.ones_like(x), lax.sin(safe) / safe)
    return jnp.where(jnp.isinf(x), jnp.zeros_like(x), y)


@partials(lambda out, x: _ratio(lax.cos(x) - out, x, 0.0))
def _spherical_j0(x: jax.Array) -> jax.Array:
    return _sine_over(x)


spherical_bessel_j0 = _unary(
    "spherical_bessel_j0", _spherical_j0, "Spherical Bessel function of order 0, ``sin(input) / input``, 1 at 0."
)


def _airy(x: jax.Array) -> jax.Array:
    """Ai: a series on [-4, 2]; beyond, series in 1/zeta or 1/zeta**2 zeta = 2/3 |x|**1.5, on the asymptotics."""
    right, left = x > 2, x < -4
    middle = _series(_AIRY_MIDDLE, (_bounded(x, ~(right | left), 0.0) + 1) * (1 / 3))
    r = _bounded(x, right, 3.0)
    root = lax.sqrt(r)
    zeta = (2 / 3) * r * root
    start = 2 / 3 * 2**1.5
    decay = lax.exp(-zeta) * lax.rsqrt(root) * (0.5 / math.sqrt(math.pi))
    outer = decay * _series(_AIRY_RIGHT, 2 * start / zeta - 1)
    y = _bounded(-x, left, 5.0)
    root = lax.sqrt(y)
    zeta = (2 / 3) * y * root
    ratio = (16 / 3) / zeta
    t = 2 * ratio * ratio - 1
    cos, sin = lax.cos(zeta), lax.sin(zeta)
    swing = _series(_AIRY_P, t) * (sin + cos) - _series(_AIRY_Q, t) / zeta * (cos - sin)
    swing = swing * (_SQRT_HALF / math.sqrt(math.pi)) * lax.rsqrt(root)
    out = jnp.where(right, outer, jnp.where(left, swing, middle))
    return jnp.where(jnp.isinf(x), jnp.where(x > 0, 0.0, jnp.nan).astype(x.dtype), out)


airy_ai = _unary("airy_ai", _airy, "Airy function Ai; no gradient.", differentiable=False)

# --- error functions and the normal distribution ------------------------------------------------


@partials(lambda out, x: 2 * x * out - 2 / math.sqrt(math.pi))
def _erfcx(x: jax.Array) -> jax.Array:
    """exp(x**2) erfc(x): (1 + 2x) erfcx(x) is a series in (x - 4)/(x + 4) for x >= 0; reflected below."""
    size = lax.abs(x)
    y = _series(_ERFCX, 1 - 8 / (size + 4)) / (1 + 2 * size)
    # exp(x**2) from a short part, whose square is exact, and the rest: rounding x**2 would cost its digits.
    below = _bounded(x, (x < 0) & (x > -30), 0.0)
    short = lax.round(below * 16) * (1 / 16)
    square = lax.exp(short * short) * lax.exp((below - short) * (below + short))
    square = jnp.where(x <= -30, jnp.full_like(x, jnp.inf), square)
    return jnp.where(x < 0, 2 * square - y, y)


@partials(lambda out, x: math.sqrt(2 / math.pi) / _erfcx(-x * _SQRT_HALF))
def _log_ndtr(x: jax.Array) -> jax.Array:
    tail = x < -1
    t = _bounded(x, tail, -2.0)
    t2 = _bounded(x, ~tail, 0.0)
    return jnp.where(
        tail,
        lax.log(_erfcx(-t * _SQRT_HALF) * 0.5) - t * t * 0.5,
        lax.log1p(lax.erfc(t2 * _SQRT_HALF) * -0.5),
    )


@partials(lambda out, x: lax.exp(out * out * 0.5) * math.sqrt(2 * math.pi))
def _ndtri(p: jax.Array) -> jax.Array:
    inside = (p > 0) & (p < 1)
    y = jsp.ndtri(_bounded(p, inside, 0.5))
    edge = jnp.where(p == 0, -jnp.inf, jnp.where(p == 1, jnp.inf, jnp.nan)).astype(p.dtype)
    return jnp.where(inside, y, edge)


@partials(lambda out, x: jnp.where(x == 0, jnp.inf, -lax.log(_bounded(x, x != 0, 1.0)) - 1).astype(x.dtype))
def _entr(x: jax.Array) -> jax.Array:
    y = -x * lax.log(_bounded(x, x > 0, 1.0))
    y = jnp.where(x == 0, jnp.zeros_like(x), y)
    return jnp.where(x < 0, jnp.full_like(x, -jnp.inf), jnp.where(jnp.isnan(x), x, y))


def _ndtr(x: jax.Array) -> jax.Array:
    return lax.erfc(x * -_SQRT_HALF) * 0.5


entr = _unary("entr", _entr, "Entropy term ``-input * log(input)``: 0 at 0, -inf below.")
erfcx = _unary("erfcx", _erfcx, "Scaled complementary error function ``exp(input**2) * erfc(input)``.")
log_ndtr = _unary("log_ndtr", _log_ndtr, "Logarithm of the normal distribution function, accurate in the lower tail.")
ndtr = _unary("ndtr", _ndtr, "Normal distribution function, the area below input.")
ndtri = _unary("ndtri", _ndtri, "Inverse of ndtr: infinite at 0 and 1, nan outside [0, 1].")

# --- gamma and zeta functions ------------------------------------------------


def _n_second(*args: Any, **kwargs: Any) -> tuple[str | None, tuple[Any, ...], dict[str, Any]]:
    """The function form has the order first, the method form the tensor."""
    if args and isinstance(args[0], int):
        if len(args) > 1:
            args = (args[1], args[0], *args[2:])
        else:
            args, kwargs = (), {**kwargs, "n": args[0]}
    return None, args, kwargs


def _polygamma(input: Array, n: int) -> jax.Array:
    """n-th derivative of the digamma function: called ``polygamma(n, input)``, or ``input.polygamma(n)``.

    Integers become the default float dtype. RuntimeError for negative `n`, NotImplementedError for complex tensors.
    """
    refuse("polygamma", input, kinds="c")
    if n < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n. Got {n}")
    return unary.polygamma_body(n, input)


polygamma = op(promote="float", inplace=True, name="polygamma", parse=_n_second)(half_in_float32(_polygamma))
special_polygamma = op(promote="float", namespace="special", name="polygamma", parse=_n_second)(
    half_in_float32(_polygamma)
)


@op(promote="common", name="igamma", inplace=True)
@half_in_float32
def igamma(input: Array, other: Array) -> jax.Array:
    """Regularised lower incomplete gamma function P(input, other), for arguments not below 0, else nan.

    NotImplementedError unless real floating.
    """
    refuse("igamma", input, kinds="bic")
    return _incomplete(*fit(input, other), upper=False)


@op(promote="common", name="igammac", inplace=True)
@half_in_float32
def igammac(input: Array, other: Array) -> jax.Array:
    """Regularised upper incomplete gamma function Q(input, other), for arguments not below 0, else nan.

    NotImplementedError unless real floating.
    """
    refuse("igammac", input, kinds="bic")
    return _incomplete(*fit(input, other), upper=True)


def _incomplete(a: jax.Array, x: jax.Array, upper: bool) -> jax.Array:
    # At a = 0 all mass sits at 0; for an infinite argument the limits.
    regular = (a > 0) & (x > 0) & jnp.isfinite(a) & jnp.isfinite(x)
    f = lax.igammac if upper else lax.igamma
    y = f(_bounded(a, regular, 1.0), _bounded(x, regular, 1.0))
    at_zero = jnp.where(x == 0, jnp.nan, 1.0)
    lower_edge = jnp.where(a == 0, at_zero, jnp.where((x == 0) | jnp.isinf(a), 0.0, 1.0))
    lower_edge = jnp.where(jnp.isinf(a) & jnp.isinf(x), jnp.nan, lower_edge)
    edge = (1 - lower_edge if upper else lower_edge).astype(y.dtype)
    bad = (a < 0) | (x < 0) | jnp.isnan(a) | jnp.isnan(x)
    return jnp.where(regular, y, jnp.where(bad, jnp.full_like(y, jnp.nan), edge))


gammainc = op(promote="common", namespace="special", name="gammainc")(igamma.fn)
gammaincc = op(promote="common", namespace="special", name="gammaincc")(igammac.fn)


_LOWEST_ZETA = -10000


@partials(None, lambda out, s, q: -s * _zeta(s + 1, q))
def _zeta(s: jax.Array, q: jax.Array) -> jax.Array:
    # lax.zeta is wrong for negative q: sum up to 1 first.
    moved = (q < 0) & (q > _LOWEST_ZETA) & (q != lax.floor(q)) & (s == lax.floor(s))

    def step(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        total, at = state
        below = moved & (at < 1)
        return jnp.where(below, total + lax.pow(at, -s), total), jnp.where(below, at + 1, at)

    total, at = lax.while_loop(lambda state: jnp.any(moved & (state[1] < 1)), step, (jnp.zeros_like(q), q))
    nan = (q < 0) & (q != lax.floor(q)) & ~moved
    rest = lax.zeta(s, jnp.where(nan, jnp.ones_like(q), at))
    out = jnp.where(nan, jnp.full_like(q, jnp.nan), total + rest)
    out = jnp.where((q <= 0) & (q == lax.floor(q)) & (s > 1), jnp.full_like(q, jnp.inf), out)
    return jnp.where(s < 1, jnp.full_like(q, jnp.nan), out)


@op(promote="float", namespace="special")
@half_in_float32
def zeta(input: Operand, other: Operand) -> jax.Array:
    """Hurwitz zeta function, ``sum((k + other)**-input for k = 0, 1, ...)``.

    inf at input 1 and at the poles, nan for input below 1.

    Below 0 only for whole `input`, nan otherwise and for fractional `other` below -10000. Differentiable in `other`.
    NotImplementedError for complex tensors.
    """
    refuse("zeta", input, kinds="c")
    return _zeta(*fit(input, other))


# --- orthogonal polynomials ------------------------------------------------

_Step = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]


def _recurrence(x: jax.Array, n: jax.Array, first: jax.Array, step: _Step) -> jax.Array:
    """Member number n of a family that starts 1, `first` and goes on by ``step(x, k, p_k, p_(k-1))``; 0 for n < 0."""
    degree = n.astype(np.int64)
    last = jnp.max(degree, initial=0)

    def advance(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        k, before, now = state
        following = step(x, k.astype(x.dtype), now, before)
        return k + 1, jnp.where(k < degree, now, before), jnp.where(k < degree, following, now)

    start = (jnp.ones((), np.int64), jnp.ones_like(x), first)
    _, _, out = lax.while_loop(lambda s: s[0] < last, advance, start)
    out = jnp.where(degree == 0, jnp.ones_like(x), out)
    return jnp.where(degree < 0, jnp.zeros_like(x), out)


def _double(x: jax.Array, k: jax.Array, now: jax.Array, before: jax.Array) -> jax.Array:
    return 2 * x * now - before


def _polynomial(
    name: str, title: str, first: Callable[[jax.Array], jax.Array], step: _Step = _double, shifted: bool = False
) -> Any:
    """Enter a family of polynomials into torch.special."""

    @op(promote="float", namespace="special", name=name, differentiable=False)
    @half_in_float32
    def polynomial(input: Operand, n: Operand) -> jax.Array:
        refuse(name, input, kinds="c")
        x, degree = fit(input, n)
        if shifted:
            x = 2 * x - 1
        return _recurrence(x, degree, first(x), step)

    polynomial.fn.__doc__ = (
        f"{title} of degree `n` (truncated to a whole number) at `input`, broadcast; 0 for negative `n`.\n\n"
        "No gradient. "
        "Integers become the default float dtype. NotImplementedError for complex tensors."
    )
    return polynomial


chebyshev_polynomial_t = _polynomial("chebyshev_polynomial_t", "Chebyshev polynomial, first kind", lambda x: x)
chebyshev_polynomial_u = _polynomial(
    "chebyshev_polynomial_u", "Chebyshev polynomial, second kind", lambda x: 2 * x
)
chebyshev_polynomial_v = _polynomial(
    "chebyshev_polynomial_v", "Chebyshev polynomial, third kind", lambda x: 2 * x - 1
)
chebyshev_polynomial_w = _polynomial(
    "chebyshev_polynomial_w", "Chebyshev polynomial, fourth kind", lambda x: 2 * x + 1
)
shifted_chebyshev_polynomial_t = _polynomial(
    "shifted_chebyshev_polynomial_t", "Chebyshev polynomial, first kind, in 2 input - 1", lambda x: x, shifted=True
)
shifted_chebyshev_polynomial_u = _polynomial(
    "shifted_chebyshev_polynomial_u",
    "Chebyshev polynomial, second kind, in 2 input - 1",
    lambda x: 2 * x,
    shifted=True,
)
shifted_chebyshev_polynomial_v = _polynomial(
    "shifted_chebyshev_polynomial_v",
    "Chebyshev polynomial, third kind, in 2 input - 1",
    lambda x: 2 * x - 1,
    shifted=True,
)
shifted_chebyshev_polynomial_w = _polynomial(
    "shifted_chebyshev_polynomial_w",
    "Chebyshev polynomial, fourth kind, in 2 input - 1",
    lambda x: 2 * x + 1,
    shifted=True,
)
hermite_polynomial_h = _polynomial(
    "hermite_polynomial_h", "Physicist's Hermite polynomial", lambda x: 2 * x, lambda x, k, p, q: 2 * x * p - 2 * k * q
)
hermite_polynomial_he = _polynomial(
    "hermite_polynomial_he", "Probabilist's Hermite polynomial", lambda x: x, lambda x, k, p, q: x * p - k * q
)
laguerre_polynomial_l = _polynomial(
    "laguerre_polynomial_l",
    "Laguerre polynomial",
    lambda x: 1 - x,
    lambda x, k, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1),
)
legendre_polynomial_p = _polynomial(
    "legendre_polynomial_p",
    "Legendre polynomial",
    lambda x: x,
    lambda x, k, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1),
)

# --- the same functions under their names in torch.special ------------------------------------------------


def _also(name: str, original: Any, **told: Any) -> Any:
    """Enter an operator of torch's own namespace into torch.special as well."""
    told = {"promote": original.promote, **told}
    return op(namespace="special", name=name, **told)(original.fn)


digamma = _also("digamma", unary.digamma)
psi = _also("psi", unary.digamma)
erf = _also("erf", unary.erf)
erfc = _also("erfc", unary.erfc)
erfinv = _also("erfinv", unary.erfinv)
exp2 = _also("exp2", unary.exp2)
expit = _also("expit", unary.sigmoid)
expm1 = _also("expm1", unary.expm1)
gammaln = _also("gammaln", unary.lgamma)
i0 = _also("i0", unary.i0)
log1p = _also("log1p", unary.log1p)
log_softmax = _also("log_softmax", activation.log_softmax)
logit = _also("logit", unary.logit)
logsumexp = _also("logsumexp", reduce.logsumexp)
multigammaln = _also("multigammaln", unary.mvlgamma)
round = _also("round", unary.round)
sinc = _also("sinc", unary.sinc)
softmax = _also("softmax", activation.softmax)
special_xlogy = _also("xlogy", xlogy)
