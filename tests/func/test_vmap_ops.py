"""Operators under vmap: a batch at once is the same as one after the other, values and gradients."""

import numpy as np

import pytorchlike as torch
from pytorchlike.func import grad, vmap

F, L = torch.nn.functional, torch.linalg

ELEMENTWISE = "abs ceil erfinv exp lgamma log1p logit sgn sinc sqrt tan trunc".split()
ACTIVATIONS = "celu gelu hardshrink softplus".split()
REDUCTIONS = "amax argmax argsort cummax cumprod diff flip logcumsumexp logsumexp max mode median topk var".split()

#: name -> function of a (3, 4), b (4, 4), positive definite s (4, 4), index i (3,)
OTHERS = {
    "matmul": lambda a, b, s, i: a @ b,
    "addmm": lambda a, b, s, i: torch.addmm(b[:3], a, b, beta=0.5),
    "einsum": lambda a, b, s, i: torch.einsum("ij,jk->ki", a, b),
    "where": lambda a, b, s, i: torch.where(a > 0.5, a, b[:3]),
    "gather": lambda a, b, s, i: a.gather(1, i.unsqueeze(1)),
    "scatter_add": lambda a, b, s, i: b.scatter_add(0, i.unsqueeze(1).expand(3, 4), a),
    "index_select": lambda a, b, s, i: b.index_select(1, i),
    "index_add": lambda a, b, s, i: b.index_add(0, i, a),
    "index_put": lambda a, b, s, i: b.index_put((i,), a[0], accumulate=True),
    "getitem": lambda a, b, s, i: b[i, i],
    "setitem": lambda a, b, s, i: _set(b.clone(), i, a),
    "masked_fill": lambda a, b, s, i: a.masked_fill(a > 0.5, 2.0),
    "searchsorted": lambda a, b, s, i: torch.searchsorted(a[0].sort()[0], b[0]),
    "bincount-like": lambda a, b, s, i: F.one_hot(i, 4),
    "embedding": lambda a, b, s, i: F.embedding(i, b),
    "layer_norm": lambda a, b, s, i: F.layer_norm(a, (4,), b[0], b[1]),
    "softmax": lambda a, b, s, i: F.softmax(a, 0),
    "cross_entropy": lambda a, b, s, i: F.cross_entropy(a, i),
    "conv1d": lambda a, b, s, i: F.conv1d(a, b[:3, :3].reshape(3, 3, 1), padding=1),
    "conv2d": lambda a, b, s, i: F.conv2d(a.reshape(1, 1, 3, 4), b[:2, :2].reshape(1, 1, 2, 2)),
    "conv_transpose": lambda a, b, s, i: F.conv_transpose1d(a, b[:3, :2].reshape(3, 2, 1), stride=2),
    "max_pool": lambda a, b, s, i: F.max_pool2d(a.reshape(1, 3, 4), 2),
    "pad": lambda a, b, s, i: F.pad(a, (1, 1), mode="reflect"),
    "solve": lambda a, b, s, i: L.solve(s, a.T),
    "inv": lambda a, b, s, i: L.inv(s),
    "det": lambda a, b, s, i: L.slogdet(s)[1],
    "cholesky": lambda a, b, s, i: L.cholesky(s),
    "qr": lambda a, b, s, i: L.qr(b)[1].abs(),
    "norm": lambda a, b, s, i: L.norm(a),
    "fft": lambda a, b, s, i: torch.fft.rfft(a).abs(),
    "complex": lambda a, b, s, i: torch.view_as_real(torch.polar(a, a)),
    "cat": lambda a, b, s, i: torch.cat([a, b]),
}


def _set(b, i, a):
    b[i] = a
    return b


def _inputs(n=2):
    torch.manual_seed(3)
    a, b = torch.rand(n, 3, 4) * 0.8 + 0.1, torch.rand(n, 4, 4) * 0.8 + 0.1
    made = a, b, b @ b.mT + torch.eye(4), torch.stack([torch.randperm(4)[:3] for _ in range(n)])
    return tuple(torch.tensor(t.tolist()) for t in made)  # of known values: gradients at maxima compare them


def _functions():
    out = {name: (lambda a, b, s, i, f=getattr(torch, name): f(a)) for name in ELEMENTWISE}
    out |= {name: (lambda a, b, s, i, f=getattr(F, name): f(a - 0.5)) for name in ACTIVATIONS}
    for name in REDUCTIONS:
        f = getattr(torch, name)
        if name == "topk":
            out[name] = lambda a, b, s, i, f=f: f(a, 2, dim=1)
        elif name == "cross":
            out[name] = lambda a, b, s, i, f=f: f(a, b[:3], dim=0)
        elif name == "flip":
            out[name] = lambda a, b, s, i, f=f: f(a, (0, 1))
        else:
            out[name] = lambda a, b, s, i, f=f: f(a, dim=1)
    return out | OTHERS


def _flat(out):
    return [t for o in out for t in _flat(o)] if isinstance(out, (tuple, list)) else [out]


def test_values():
    functions = _functions()

    def every(*args):
        return {name: _flat(f(*args)) for name, f in functions.items()}

    inputs = _inputs()
    got = vmap(every)(*inputs)
    rows = [every(*(x[k] for x in inputs)) for k in range(2)]
    assert len(functions) >= 60
    for name in functions:
        for t, *each in zip(got[name], *(r[name] for r in rows), strict=True):
            want = torch.stack(each)
            tol = 2e-3 if name == "half" else 2e-5
            assert t.dtype == want.dtype and torch.allclose(t, want, rtol=tol, atol=tol, equal_nan=True), name


def test_gradients():
    names = """amax cumprod logcumsumexp max var matmul where gather scatter_add index_put getitem setitem masked_fill
    embedding layer_norm cross_entropy conv1d conv2d max_pool pad solve cholesky norm fft cat sinc gelu""".split()
    functions = {k: f for k, f in _functions().items() if k in names}
    assert len(functions) == len(names)

    def total(*args):
        out = 0.0
        for f in functions.values():
            for t in _flat(f(*args)):
                if t.is_floating_point():
                    out = out + (t * t).sum() / (1 + (t * t).sum().detach())
        return out

    inputs = _inputs()
    g = grad(total, argnums=(0, 1))
    got = vmap(g)(*inputs)
    for k in range(2):
        want = g(*(x[k] for x in inputs))
        for t, w in zip(got, want, strict=True):
            assert torch.allclose(t[k], w, rtol=2e-3, atol=2e-3, equal_nan=True), (t[k] - w).abs().max()


def test_pseudo_inverse_of_mapped_matrices_has_gradients():
    """Its tolerance is computed from each matrix."""
    x = torch.tensor(np.random.RandomState(0).randn(4, 3, 2), dtype=torch.float64, requires_grad=True)
    (got,) = torch.autograd.grad(vmap(torch.linalg.pinv)(x).sin().sum(), x)
    (want,) = torch.autograd.grad(torch.stack([torch.linalg.pinv(m) for m in x]).sin().sum(), x)
    assert torch.allclose(got, want)
    (plain,) = torch.autograd.grad((torch.linalg.solve(x.mT @ x, x.mT)).sin().sum(), x)  # of full rank
    assert torch.allclose(got, plain)


def test_gradient_of_a_hermitian_pseudo_inverse_is_that_of_its_formula():
    """As in PyTorch, it is not made symmetric."""
    a = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(torch.linalg.pinv(a, hermitian=True)[0, 1], a)
    p = torch.linalg.inv(a.detach())
    assert torch.allclose(g, -torch.outer(p[0], p[:, 1]))
