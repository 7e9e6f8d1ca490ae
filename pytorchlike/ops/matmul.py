"""Products of vectors, matrices and tensors, and the distances built on them."""

import itertools
import math
import string

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..engine.forms import holds
from ._dtypes import c_name, type_name
from ._numeric import magnitude, sqrt0
from ._product import by_columns, by_rows
from ._shapes import by_letters, multiplied
from ._sizes import broadcast_sizes, wrap_dim
from ._table import Array, Arrays, Scalar, op, result_type, superseded


def _same_dtype(a: jax.Array, b: jax.Array) -> None:
    if a.dtype != b.dtype:
        if a.ndim > 2 and b.ndim > 2:
            raise RuntimeError(f"expected scalar type {type_name(a.dtype)} but found {type_name(b.dtype)}")
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {c_name(a.dtype)} != {c_name(b.dtype)}"
        )


def _matrices(a: jax.Array, b: jax.Array, names: tuple[str, str]) -> None:
    for x, name in zip((a, b), names, strict=True):
        if x.ndim != 2:
            raise RuntimeError(f"{name} must be a matrix, but got a {x.ndim}-D tensor of shape {list(x.shape)}")
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(
            f"{names[0]} and {names[1]} shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and "
            f"{b.shape[0]}x{b.shape[1]})"
        )
    _same_dtype(a, b)


def _batches(a: jax.Array, b: jax.Array, names: tuple[str, str] = ("batch1", "batch2")) -> None:
    for x, name in zip((a, b), names, strict=True):
        if x.ndim != 3:
            raise RuntimeError(f"{name} must be a 3D tensor, but got a {x.ndim}-D tensor of shape {list(x.shape)}")
    want, got = [a.shape[0], a.shape[2]], list(b.shape[:2])
    if want != got:
        raise RuntimeError(f"Expected size for first two dimensions of {names[1]} tensor to be: {want} but got: {got}.")
    _same_dtype(a, b)


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product with PyTorch's ``matmul`` shape rules and errors."""
    if a.ndim == 0 or b.ndim == 0:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {a.ndim}D and {b.ndim}D")
    if a.ndim == 1 and b.ndim == 1:
        _vectors(a, b)
        return jnp.dot(a, b)
    n, m = a.shape[-1], b.shape[-2] if b.ndim > 1 else b.shape[0]
    if n != m:
        rows = math.prod(a.shape[:-1])
        if a.ndim > 2 and b.ndim > 2:
            raise RuntimeError(
                f"Expected size for first two dimensions of batch2 tensor to be: [{math.prod(a.shape[:-2])}, {n}] but "
                f"got: [{math.prod(b.shape[:-2])}, {m}]. (matmul of {list(a.shape)} and {list(b.shape)})"
            )
        if b.ndim == 1:
            raise RuntimeError(f"size mismatch, got input ({rows}), mat ({rows}x{n}), vec ({m})")
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({rows}x{n} and {m}x{b.shape[-1]})")
    _same_dtype(a, b)
    if a.ndim > 2 and b.ndim <= 2:
        # One large product instead of a batch of small ones: twice as fast on CPU.
        flat = a.reshape(math.prod(a.shape[:-1]), n)
        return (flat @ b if b.ndim == 1 else by_columns(flat, b)).reshape(*a.shape[:-1], *b.shape[1:])
    if a.ndim > 2:
        broadcast_sizes(a.shape[:-2], b.shape[:-2])
    return by_columns(a, b) if a.ndim == b.ndim > 1 and a.shape[:-2] == b.shape[:-2] else jnp.matmul(a, b)


def _vectors(a: jax.Array, b: jax.Array) -> None:
    if a.ndim != 1 or b.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {a.ndim}D and {b.ndim}D tensors")
    if a.size != b.size:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{a.size}] and src [{b.size}] to have the same number of "
            f"elements, but got {a.size} and {b.size} elements respectively"
        )
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"dot : expected both vectors to have same dtype, but found {type_name(a.dtype)} and {type_name(b.dtype)}"
        )


@op(heavy=True, shapes=multiplied)
def matmul(input: Array, other: Array):
    """Matrix product: (n,) @ (n,) -> (), (*, n, k) @ (k, m) -> (*, n, m), batch axes broadcast; vectors as in NumPy.

    Raises: RuntimeError for 0-d arguments, sizes that do not fit, different dtypes.
    """
    return product(input, other)


@op(heavy=True)
def mm(input: Array, mat2: Array):
    """Product of two matrices (n, k) @ (k, m) -> (n, m)."""
    for x, name in ((input, "self"), (mat2, "mat2")):
        if x.ndim != 2:
            raise RuntimeError(f"{name} must be a matrix, but got a {x.ndim}-D tensor of shape {list(x.shape)}")
    _matrices(input, mat2, ("mat1", "mat2"))
    return by_columns(input, mat2)


@op(heavy=True, shapes=multiplied)
def bmm(input: Array, mat2: Array):
    """Products of two batches of matrices (b, n, k) @ (b, k, m) -> (b, n, m), without broadcasting."""
    _batches(input, mat2)
    return by_columns(input, mat2)


def _matrix_vector(mat: jax.Array, vec: jax.Array) -> None:
    if mat.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got 1, {mat.ndim}, {vec.ndim}")
    if mat.shape[1] != vec.shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({mat.shape[0]}), mat ({mat.shape[0]}x{mat.shape[1]}), vec ({vec.shape[0]})"
        )
    _same_dtype(mat, vec)


@op(heavy=True)
def mv(input: Array, vec: Array):
    """Product of a matrix and a vector (n, m) @ (m,) -> (n,)."""
    _matrix_vector(input, vec)
    return jnp.matmul(input, vec)


@op()
def dot(input: Array, tensor: Array):
    """Sum of products of two vectors (n,), (n,) -> (), without conjugation."""
    _vectors(input, tensor)
    return jnp.dot(input, tensor)


@op()
def vdot(input: Array, other: Array):
    """Sum of products of conj(input) and other, two vectors (n,) -> ()."""
    _vectors(input, other)
    return jnp.dot(input.conj(), other)


@op()
def inner(input: Array, other: Array):
    """Sum of products over the last axes (*a, n), (*b, n) -> (*a, *b); a 0-d argument multiplies."""
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(input.shape)} and "
            f"{list(other.shape)}"
        )
    _same_dtype(input, other)
    return jnp.tensordot(input, other, ((-1,), (-1,)))


@op(promote="common", aliases=("ger",))
def outer(input: Array, vec2: Array):
    """All products of two vectors (n,), (m,) -> (n, m)."""
    for x, name in ((input, "self"), (vec2, "vec2")):
        if x.ndim != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {x.ndim}-D")
    return input[:, None] * vec2


def _scaled(scale: Scalar, x: jax.Array) -> jax.Array:
    """``scale * x`` where scale 0 also silences nan and inf in x, as BLAS does."""
    if isinstance(scale, (int, float, complex)):
        return jnp.zeros_like(x) if scale == 0 else _times(scale, x)
    scale = scale.astype(x.dtype)
    return jnp.where(scale == 0, 0, x * scale).astype(x.dtype)


def _times(scale: Scalar, x: jax.Array) -> jax.Array:
    """``scale * x`` in x's dtype; for integers the scale is truncated first."""
    if isinstance(scale, (int, float, complex)):
        return x if scale == 1 else x * jnp.asarray(scale).astype(x.dtype)
    return x * scale.astype(x.dtype)


def _add_product(input: jax.Array, result: jax.Array, beta: Scalar, alpha: Scalar) -> jax.Array:
    shape, size = input.shape, result.shape
    lead = len(size) - len(shape)
    if lead < 0:
        raise RuntimeError(
            f"expand(torch.FloatTensor{{{list(shape)}}}, size={list(size)}): the number of sizes provided "
            f"({len(size)}) must be greater or equal to the number of dimensions in the tensor ({len(shape)})"
        )
    for i in range(len(shape) - 1, -1, -1):
        if shape[i] not in (1, size[lead + i]):
            raise RuntimeError(
                f"The expanded size of the tensor ({size[lead + i]}) must match the existing size ({shape[i]}) at "
                f"non-singleton dimension {lead + i}.  Target sizes: {list(size)}.  Tensor sizes: {list(shape)}"
            )
    if input.dtype != result.dtype:
        raise RuntimeError(
            f"self and mat2 must have the same dtype, but got {type_name(input.dtype)} and {type_name(result.dtype)}"
        )
    return _scaled(beta, input) + _times(alpha, result)


@op(inplace=True, heavy=True)
def addmm(input: Array, mat1: Array, mat2: Array, *, beta: Scalar = 1, alpha: Scalar = 1):
    """``beta * input + alpha * (mat1 @ mat2)``; input broadcasts to (n, m) and is ignored, also its NaN, for beta 0."""
    _matrices(mat1, mat2, ("mat1", "mat2"))
    return _add_product(input, by_columns(mat1, mat2), beta, alpha)


@op(inplace=True, heavy=True)
def addmv(input: Array, mat: Array, vec: Array, *, beta: Scalar = 1, alpha: Scalar = 1):
    """``beta * input + alpha * (mat @ vec)``; input broadcasts to (n,) and is ignored for beta 0."""
    _matrix_vector(mat, vec)
    return _add_product(input, jnp.matmul(mat, vec), beta, alpha)


@op(inplace=True, heavy=True)
def addbmm(input: Array, batch1: Array, batch2: Array, *, beta: Scalar = 1, alpha: Scalar = 1):
    """``beta * input + alpha * sum_b(batch1[b] @ batch2[b])``; input broadcasts to (n, m) and is ignored for beta 0."""
    _batches(batch1, batch2)
    return _add_product(input, jnp.einsum("bik,bkj->ij", batch1, batch2), beta, alpha)


@op(inplace=True, heavy=True)
def baddbmm(input: Array, batch1: Array, batch2: Array, *, beta: Scalar = 1, alpha: Scalar = 1):
    """``beta * input + alpha * (batch1 @ batch2)``; input broadcasts to (b, n, m) and is ignored for beta 0."""
    _batches(batch1, batch2)
    return _add_product(input, by_columns(batch1, batch2), beta, alpha)


@op(inplace=True, promote="common")
def addr(input: Array, vec1: Array, vec2: Array, *, beta: Scalar = 1, alpha: Scalar = 1):
    """``beta * input + alpha * outer(vec1, vec2)``; input broadcasts to (n, m) and is ignored for beta 0."""
    if vec1.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(f"addr: Expected 1-D argument vec1 and vec2, but got {vec1.ndim}-D and {vec2.ndim}-D")
    return _add_product(input, vec1[:, None] * vec2, beta, alpha)


# -------------------------------------------------------------------------------------------------------------- einsum


_LETTERS = string.ascii_uppercase + string.ascii_lowercase


def _parse_einsum(*args, **kwargs):
    """Bring the three call styles (operands apart, in a list, sublists) to ``equation, operands``."""
    if not args or kwargs:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one operand and its "
            "subscripts list"
        )
    if isinstance(args[0], str):
        operands = args[1] if len(args) == 2 and isinstance(args[1], (list, tuple)) else args[1:]
        return None, (args[0], tuple(operands)), kwargs
    operands, sublists = args[0 : len(args) // 2 * 2 : 2], args[1::2]

    def text(sublist):
        for s in sublist:
            if s is not Ellipsis and not 0 <= s < 52:
                raise ValueError(f"einsum(): subscripts in a sublist must be in 0..51 or Ellipsis, but got {s}")
        return "".join("..." if s is Ellipsis else _LETTERS[s] for s in sublist)

    equation = ",".join(map(text, sublists))
    if len(args) % 2:
        equation += "->" + text(args[-1])
    return None, (equation, tuple(operands)), kwargs


def _subscripts(equation: str, shapes: list[tuple[int, ...]]) -> tuple[list[list[str]], list[str]]:
    """Labels of every operand and the output; the axes of an ellipsis are labelled "0", "1"... from the right."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(shapes):
        which = "fewer" if len(shapes) < len(parts) else "more"
        raise RuntimeError(
            f"einsum(): {which} operands were provided than specified in the equation: {equation!r}, {len(shapes)} "
            "operands"
        )
    hidden = 0
    labels: list[list[str]] = []
    for i, (part, shape) in enumerate(zip(parts, shapes, strict=True)):
        head, dots, tail = part.partition("...")
        for c in head + tail:
            if c not in _LETTERS:
                raise RuntimeError(
                    f"einsum(): invalid subscript given at index {equation.find(c)} in the equation string, subscripts "
                    "must be in [a-zA-Z]"
                )
        n = len(head) + len(tail)
        if not dots and n != len(shape):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({n}) does not match the number of dimensions "
                f"({len(shape)}) for operand {i} and no ellipsis was given"
            )
        if n > len(shape):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({n}) is more than the number of dimensions "
                f"({len(shape)}) for operand {i}"
            )
        k = len(shape) - n
        hidden = max(hidden, k)
        labels.append([*head, *(str(j) for j in range(k - 1, -1, -1)), *tail])
    every = [str(j) for j in range(hidden - 1, -1, -1)]
    if arrow:
        head, dots, tail = right.partition("...")
        out = [*head, *(every if dots else []), *tail]
        seen = {c for ls in labels for c in ls}
        for c in out:
            if c not in seen and not c.isdigit():
                raise RuntimeError(
                    f"einsum(): output subscript {c} does not appear in the equation for any input operand"
                )
            if out.count(c) > 1:
                raise RuntimeError(f"einsum(): output subscript {c} appears more than once in the output")
    else:
        flat = [c for ls in labels for c in ls if not c.isdigit()]
        out = every + sorted({c for c in flat if flat.count(c) == 1})
    return labels, out


@op(parse=_parse_einsum, method=False, out=False, heavy=True, shapes=by_letters)
def einsum(equation: str, operands: Arrays):
    """Sum of products by Einstein's notation: ``einsum("bij,bjk->bik", a, b)``.

    Operands follow one by one or in one list; or as sublists: ``einsum(a, [0, 1], b, [1, 2], [0, 2])``.  Spaces are
    ignored, "..." stands for further axes, axes of size 1 broadcast.  Contraction order: JAX's (opt_einsum).
    Raises: RuntimeError if the subscripts do not fit the operands.
    """
    labels, out = _subscripts(equation, [x.shape for x in operands])
    sizes: dict[str, int] = {}
    for i, (ls, x) in enumerate(zip(labels, operands, strict=True)):
        for c, n in zip(ls, x.shape, strict=True):
            if sizes.setdefault(c, n) != n:
                if 1 not in (sizes[c], n):
                    raise RuntimeError(
                        f"einsum(): subscript {c} has size {n} for operand {i} which does not broadcast with "
                        f"previously seen size {sizes[c]}"
                    )
                sizes[c] = max(n, sizes[c]) if 0 not in (n, sizes[c]) else 0
    number = {c: i for i, c in enumerate(sizes)}
    dtype = operands[0].dtype
    for x in operands[1:]:
        if x.dtype != dtype:
            raise RuntimeError(f"expected scalar type {type_name(dtype)} but found {type_name(x.dtype)} (einsum)")
    call: list = []
    for ls, x in zip(labels, operands, strict=True):
        # An axis of size 1 that meets a longer one only repeats the operand: leave it out.
        drop = tuple(i for i, c in enumerate(ls) if x.shape[i] == 1 and sizes[c] != 1)
        call += [jnp.squeeze(x, drop).astype(dtype), [number[c] for i, c in enumerate(ls) if i not in drop]]
    kept = {i for sub in call[1::2] for i in sub}
    if len(call) == 4 and call[1] == call[3] and len(set(call[1])) == len(call[1]) and out == []:
        return jnp.sum(call[0] * call[2], dtype=dtype)
    lost = [c for c in out if number.get(c, -1) not in kept]
    if lost:
        raise RuntimeError(f"einsum(): output subscript {lost[0]} has no operand")
    wanted = [number[c] for c in out]
    found = _batched_product(*call, wanted) if len(call) == 4 else None
    return jnp.einsum(*call, wanted) if found is None else found


def _batched_product(a: jax.Array, left: list[int], b: jax.Array, right: list[int], out: list[int]) -> jax.Array | None:
    """Einstein's sum of two operands if it is a batch of products of matrices, as in attention, else None."""
    batch = [c for c in left if c in right and c in out]
    summed = [c for c in left if c in right and c not in out]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]
    if not batch or not len(summed) == len(rows) == len(columns) == 1 or not {*rows, *columns} <= {*out}:
        return None
    if len(left) != len(batch) + 2 or len(right) != len(batch) + 2:  # an axis is named twice: a diagonal
        return None
    x = a.transpose([left.index(c) for c in (*batch, *rows, *summed)])
    if right.index(summed[0]) > right.index(columns[0]):
        y = by_rows(x, b.transpose([right.index(c) for c in (*batch, *columns, *summed)]))
    else:
        y = by_columns(x, b.transpose([right.index(c) for c in (*batch, *summed, *columns)]))
    made = [*batch, *rows, *columns]
    return y.transpose([made.index(c) for c in out])


@op(method=False)
def tensordot(a: Array, b: Array, dims: int | tuple[tuple[int, ...], ...] = 2):
    """Sum of products over ``dims``: the last n of a with the first n of b for an int, else (axes of a, axes of b)."""
    if isinstance(dims, int):
        if dims < 0 or dims > min(a.ndim, b.ndim):
            raise RuntimeError(
                f"tensordot expects dims >= 0 and at most the number of dimensions of both, but got dims={dims}"
            )
        axes = tuple(range(-dims, 0)), tuple(range(dims))
    else:
        axes = tuple((d,) if isinstance(d, int) else tuple(d) for d in dims)
        if len(axes) != 2:
            raise RuntimeError(f"tensordot expects dims as an int or two lists of dims, but got {dims}")
    if len(axes[0]) != len(axes[1]):
        raise RuntimeError(f"both dimension lists should have same length, but got {list(axes[0])} and {list(axes[1])}")
    _same_dtype(a, b)
    one, two = (tuple(wrap_dim(d, x.ndim) for d in ds) for ds, x in zip(axes, (a, b), strict=True))
    for given, i, j in zip(zip(*axes, strict=True), one, two, strict=True):
        n, m = a.shape[i], b.shape[j]
        if n != m and n == 1:
            b = jnp.sum(b, j, keepdims=True)
        elif n != m and m == 1:
            a = jnp.sum(a, i, keepdims=True)
        elif n != m:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {n} in dim {given[0]} and second has size "
                f"{m} in dim {given[1]}"
            )
    return jnp.tensordot(a, b, (one, two))


@op(promote="common")
def kron(input: Array, other: Array):
    """Kronecker product: sizes multiply axis by axis, missing leading axes count as 1."""
    n = max(input.ndim, other.ndim)
    a = input.reshape((1,) * (n - input.ndim) + input.shape)
    b = other.reshape((1,) * (n - other.ndim) + other.shape)
    shape = tuple(p * q for p, q in zip(a.shape, b.shape, strict=True))
    wide = jnp.expand_dims(a, tuple(range(1, 2 * n, 2))) * jnp.expand_dims(b, tuple(range(0, 2 * n, 2)))
    return wide.reshape(shape)


def chain(matrices: tuple[jax.Array, ...]) -> jax.Array:
    """Product of matrices in the order with the fewest multiplications (dynamic programming over split points)."""
    n = len(matrices)
    d = [m.shape[0] for m in matrices] + [matrices[-1].shape[1]]
    cost = [[0] * n for _ in range(n)]
    split = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + d[i] * d[k + 1] * d[j + 1], k) for k in range(i, j)
            )

    def build(i: int, j: int) -> jax.Array:
        return matrices[i] if i == j else jnp.matmul(build(i, split[i][j]), build(split[i][j] + 1, j))

    return build(0, n - 1)


def multi_dot_body(tensors: tuple[jax.Array, ...]) -> jax.Array:
    """Chain product whose first and last operand may be vectors."""
    n = len(tensors)
    if n < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {n}")
    work = list(tensors)
    for i, x in enumerate(work):
        allowed = (1, 2) if i in (0, n - 1) else (2,)
        if x.ndim not in allowed:
            raise RuntimeError(
                f"multi_dot(): tensor {i} must be {'1D or 2D' if len(allowed) == 2 else '2D'} but got {x.ndim}D"
            )
        if x.dtype != work[0].dtype:
            raise RuntimeError(
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {work[0].dtype} and tensor {i} "
                f"{x.dtype}"
            )
    first, last = work[0].ndim == 1, work[-1].ndim == 1
    if first:
        work[0] = work[0][None]
    if last:
        work[-1] = work[-1][:, None]
    for i, (a, b) in enumerate(itertools.pairwise(work)):
        if a.shape[1] != b.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i} and {i + 1} with shapes {list(tensors[i].shape)} and "
                f"{list(tensors[i + 1].shape)} cannot be multiplied"
            )
    out = chain(tuple(work))
    return out.reshape(out.shape[first : 2 - last])


def _parse_operands(*args, **kwargs):
    """Gather tensors given one by one into a tuple."""
    if len(args) == 1 and isinstance(args[0], (list, tuple)):
        return None, args, kwargs
    return None, (tuple(args),), kwargs


@op(method=False, parse=_parse_operands,
    deprecated=superseded("torch.chain_matmul", "torch.linalg.multi_dot, which takes a list of matrices,"))
def chain_matmul(matrices: Arrays):
    """Product of several matrices in the cheapest order; a single matrix is returned as it is."""
    return matrices[0] if len(matrices) == 1 else multi_dot_body(matrices)


@op(method=False, parse=_parse_operands, out=False)
def block_diag(tensors: Arrays):
    """Matrix with the given ones (at most 2-D each) along its diagonal, zeros elsewhere, of the common dtype."""
    dtype = result_type(*tensors)
    for i, x in enumerate(tensors):
        if x.ndim > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {x.ndim} dimensions"
            )
    blocks = [x.reshape((1, -1) if x.ndim < 2 else x.shape).astype(dtype) for x in tensors]
    width = sum(b.shape[1] for b in blocks)
    rows, at = [], 0
    for b in blocks:
        rows.append(jnp.pad(b, ((0, 0), (at, width - at - b.shape[1]))))
        at += b.shape[1]
    return jnp.concatenate(rows)


@op(method=False, parse=_parse_operands, out=False)
def cartesian_prod(tensors: Arrays):
    """All tuples of elements of k vectors -> (product of sizes, k), the last varying fastest; of one vector itself."""
    for x in tensors:
        if x.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(x.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return jnp.stack([g.reshape(-1) for g in jnp.meshgrid(*tensors, indexing="ij")], 1)


@op(method=False, out=False)
def combinations(input: Array, r: int = 2, with_replacement: bool = False):
    """All ``r``-element combinations of a vector's elements in its order -> (count, r)."""
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return jnp.zeros(0, input.dtype)
    make = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    index = np.array(list(make(range(input.size), r)), np.int32).reshape(-1, r)
    return input[index] if index.size else jnp.zeros(index.shape, input.dtype)


def cross_product(name: str, a: jax.Array, b: jax.Array, dim: int) -> jax.Array:
    """Vector product along an axis of length 3, other axes broadcast."""
    if a.ndim != b.ndim:
        raise RuntimeError(f"{name}: inputs must have the same number of dimensions, but got {a.ndim} and {b.ndim}")
    axis = wrap_dim(dim, a.ndim)
    if a.ndim == 0 or a.shape[axis] != 3 or b.shape[axis] != 3:
        sizes = [x.shape[axis] if x.ndim else 1 for x in (a, b)]
        raise RuntimeError(f"{name}: inputs dimension {dim} must have length 3. Got {sizes[0]} and {sizes[1]}")
    broadcast_sizes(a.shape, b.shape)
    a0, a1, a2 = (lax.index_in_dim(a, i, axis) for i in range(3))
    b0, b1, b2 = (lax.index_in_dim(b, i, axis) for i in range(3))
    return jnp.concatenate([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis)


@op(promote="common",
    deprecated=("dim is None", "Using torch.cross without specifying the dim arg is deprecated: the default is the "
                "first dimension of size 3, that of torch.linalg.cross the last one. Pass dim"))  # fmt: skip
def cross(input: Array, other: Array, dim: int | None = None):
    """Vector product along ``dim`` of length 3 (the first such axis if None).  Raises RuntimeError if there is none."""
    if dim is None:
        found = [i for i, n in enumerate(input.shape) if n == 3]
        if not found:
            raise RuntimeError(f"no dimension of size 3 in input of shape {list(input.shape)}")
        dim = found[0]
    return cross_product("linalg.cross", input, other, dim)


@op(method=False, out=False)
def cdist(x1: Array, x2: Array, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary"):
    """Distances of order ``p`` between all rows: (*b, n, d), (*b, m, d) -> (*b, n, m), batch axes broadcast.

    ``compute_mode``: whether Euclidean distances may use a matrix product ("use_mm_for_euclid_dist_if_necessary": with
    more than 25 rows in either; "use_mm_for_euclid_dist": always; "donot_use_mm_for_euclid_dist": never), faster but
    less exact.
    Raises: RuntimeError if d or the dtypes differ, p < 0 or input is not floating point.
    """
    for name, x in (("X1", x1), ("X2", x2)):
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise RuntimeError(f"cdist only supports floating-point dtypes, {name} got: {type_name(x.dtype)}")
        if x.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.ndim}D")
    if x1.dtype != x2.dtype:
        raise RuntimeError(f"cdist: expected scalar type {type_name(x1.dtype)} but found {type_name(x2.dtype)}")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}")
    if p < 0:
        raise RuntimeError(f"cdist only supports non-negative p values, but got {p}")
    modes = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")
    if compute_mode not in modes:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    broadcast_sizes((*x1.shape[:-2], 1, 1), (*x2.shape[:-2], 1, 1))
    large = holds(lambda: x1.shape[-2] > 25 or x2.shape[-2] > 25, True)
    if p == 2 and (compute_mode == modes[1] or (compute_mode == modes[0] and large)):
        # |a - b|^2 = |a|^2 + |b|^2 - 2 a.b about the mean of b, which keeps the cancellation small.
        mid = jnp.mean(x2, -2, keepdims=True)
        a, b = x1 - mid, x2 - mid
        squares = (
            jnp.sum(a * a, -1)[..., :, None]
            + jnp.sum(b * b, -1)[..., None, :]
            - 2 * jnp.matmul(a, jnp.swapaxes(b, -1, -2))
        )
        return sqrt0(jnp.maximum(squares, 0))
    d = magnitude(x1[..., :, None, :] - x2[..., None, :, :])
    if x1.shape[-1] == 0:
        return jnp.sum(d, -1)
    if p == 0:
        return jnp.sum(d != 0, -1).astype(d.dtype)
    if p == 1:
        return jnp.sum(d, -1)
    if p == 2:
        return sqrt0(jnp.sum(d * d, -1))
    if math.isinf(p):
        return jnp.max(d, -1)
    zero = d == 0
    total = jnp.sum(jnp.where(zero, 0, jnp.where(zero, 1, d) ** p), -1)
    none = total == 0
    return jnp.where(none, 0, jnp.where(none, 1, total) ** (1 / p))


# ---- groups of products ----------------------------------------------------------------------------------------------


def _group_sizes(offs, count: int, length: int):
    """Sizes of groups that end at ``offs``."""
    if offs.dtype != jnp.int32:
        raise RuntimeError(f"Offsets have to be int32, but they are {offs.dtype} (grouped_mm)")
    if offs.ndim != 1 or offs.shape[0] != count:
        raise RuntimeError(
            f"matrix batch sizes have to match: grouped_mm got offs {list(offs.shape)} for {count} groups"
        )
    ends = jnp.clip(offs, 0, length)
    return ends - jnp.concatenate([jnp.zeros(1, jnp.int32), ends[:-1]])


@op(namespace="nn.functional", out=False, heavy=True)
def grouped_mm(
    mat_a: Array,
    mat_b: Array,
    *,
    offs: Array | None = None,
    bias: Array | None = None,
    out_dtype: np.dtype | None = None,
):
    """Products of several pairs of matrices at once, pair g ending at ``offs[g]`` along the axis that groups share.

    Shapes: (M, K) and (G, K, N) -> (M, N), rows in groups; (G, M, K) and (K, N) -> (M, N), columns in groups;
    (M, K) and (K, N) -> (G, M, N), the contracted axis in groups; (G, M, K) and (G, K, N) -> (G, M, N), without offs.
    Rows or columns after the last group are zeros.  offs: (G,) int32, increasing.
    Raises: RuntimeError for shapes or dtypes that do not fit, and for bias, as PyTorch.
    """
    shapes = f"mat_a {list(mat_a.shape)}, mat_b {list(mat_b.shape)} (grouped_mm)"
    if bias is not None:
        raise RuntimeError("Bias not supported yet: add it to the result of grouped_mm")
    if mat_a.ndim not in (2, 3) or mat_b.ndim not in (2, 3):
        raise RuntimeError(f"mat_a and mat_b have to be 2 or 3 dimensional: {shapes}")
    if mat_a.shape[-1] != mat_b.shape[-2]:
        raise RuntimeError(f"contraction dimension of mat_a and mat_b must match: {shapes}")
    if mat_a.dtype != mat_b.dtype:
        raise RuntimeError(f"grouped_mm: mat_a and mat_b have different dtypes: {mat_a.dtype} and {mat_b.dtype}")
    if out_dtype is not None and out_dtype != mat_a.dtype:
        raise RuntimeError(f"Grouped gemm output dtype must match `mat_a` dtype: {out_dtype} and {mat_a.dtype}")
    if (offs is None) != (mat_a.ndim == mat_b.ndim == 3):
        raise RuntimeError(
            f"Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d: {shapes}"
        )
    if offs is None:
        if mat_a.shape[0] != mat_b.shape[0]:
            raise RuntimeError(f"matrix batch sizes have to match: {shapes}")
        return jnp.matmul(mat_a, mat_b)
    if mat_b.ndim == 3:
        return lax.ragged_dot(mat_a, mat_b, _group_sizes(offs, mat_b.shape[0], mat_a.shape[0]))
    if mat_a.ndim == 3:
        sizes = _group_sizes(offs, mat_a.shape[0], mat_b.shape[1])
        return lax.ragged_dot(mat_b.T, mat_a.transpose(0, 2, 1), sizes).T
    sizes = _group_sizes(offs, offs.shape[0], mat_a.shape[1])
    numbers = lax.RaggedDotDimensionNumbers((((1,), (0,)), ((), ())), [1], [])
    return lax.ragged_dot_general(mat_a, mat_b, sizes, numbers)
