"""``torch.random.follow_pytorch``: numbers that PyTorch draws for the same seed (``tests/reference/random.json``)."""

import copy
import json
import os
import pickle
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike import nn
from pytorchlike.engine import stats
from pytorchlike.tensor.twister import Twister

twister_module = sys.modules["pytorchlike.tensor.twister"]  # as an attribute, `tensor` is the function
REFERENCE = json.loads((Path(__file__).parent.parent / "reference" / "random.json").read_text())
LOOSE = {"float16": 2e-3, "bfloat16": 1e-2}  # one unit in the last place, where a logarithm was rounded the other way


@pytest.fixture(autouse=True)
def _following():
    before = torch.random.follow_pytorch()
    yield
    torch.random.follow_pytorch(before)


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda c: f"{c[0]} {c[1]}")
def test_numbers_are_pytorchs(case):
    line, dtype, seed, kind, expected, after = case
    torch.manual_seed(seed)
    found = eval(line, {"T": torch, "F": F, "D": dtype and getattr(torch, dtype)})
    assert str(found.dtype) == f"torch.{kind}"
    tolerance = LOOSE.get(kind, 3e-6)
    np.testing.assert_allclose(found.detach().double().numpy(), expected, rtol=tolerance, atol=tolerance)
    assert torch.rand(1).item() == after  # as much has been drawn


def test_states_of_pytorchs_generator_are_understood():
    state = torch.tensor(list(bytes.fromhex(REFERENCE["state"])), dtype=torch.uint8)
    torch.set_rng_state(state)
    kept = torch.get_rng_state()
    assert (kept == state).all()
    twins = [copy.deepcopy(torch.default_generator), pickle.loads(pickle.dumps(torch.default_generator))]
    np.testing.assert_allclose(torch.randn(3).tolist(), REFERENCE["after"], rtol=1e-6)
    for twin in twins:
        np.testing.assert_allclose(torch.randn(3, generator=twin).tolist(), REFERENCE["after"], rtol=1e-6)
    with torch.random.fork_rng():
        torch.rand(5)
    assert not (torch.get_rng_state() == kept).all()
    with pytest.raises(RuntimeError, match="5056|Invalid mt19937"):
        torch.set_rng_state(torch.full((5056,), 255, dtype=torch.uint8))


def test_without_it_numbers_are_ours_and_states_of_pytorch_are_refused():
    torch.random.follow_pytorch(False)
    torch.manual_seed(0)
    ours = torch.rand(3)
    torch.manual_seed(0)
    assert torch.random.follow_pytorch() is False
    assert not torch.allclose(torch.rand(3), ours)
    torch.random.follow_pytorch(False)
    assert torch.equal(torch.rand(3), ours)  # a generator begins anew when it is switched
    with pytest.raises(RuntimeError, match="follow_pytorch"):
        torch.set_rng_state(torch.zeros(5056, dtype=torch.uint8))


def test_a_step_with_masks_compiles_once():
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(6, 4)

    def step():
        optimizer.zero_grad()
        F.dropout(model(x), 0.2).sum().backward()
        optimizer.step()
        return model[0].weight.sum().item()

    for _ in range(4):
        step()
    before = stats.compiles
    assert len({step() for _ in range(5)}) == 5
    assert stats.compiles == before


def test_what_is_recorded_for_later_draws_its_own_numbers():
    """A compiled function draws anew at each call, and ``vmap`` for each row."""
    compiled = torch.compile(lambda x: F.dropout(x, 0.5))
    x = torch.ones(64)
    assert len({tuple(compiled(x).tolist()) for _ in range(4)}) == 4
    rows = torch.vmap(lambda x: F.dropout(x, 0.5), randomness="different")(torch.ones(3, 64))
    assert len({tuple(r.tolist()) for r in rows}) == 3


def test_gradients_go_through_what_was_drawn():
    torch.manual_seed(0)
    x = torch.ones(40, requires_grad=True)
    y = F.dropout(x, 0.5)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    torch.manual_seed(1)
    z = torch.utils.checkpoint.checkpoint(lambda x: F.dropout(x, 0.5) * x, x, use_reentrant=False)
    (grad,) = torch.autograd.grad(z.sum(), x)
    assert torch.equal(grad, 2 * z.detach())
    weight = nn.Parameter(torch.empty(3, 3))
    nn.init.normal_(weight)
    assert weight.requires_grad and weight.is_leaf


def test_gamma_numbers_are_differentiated_by_their_shape():
    """The derivative of a number that stays at the same quantile, against finite differences of SciPy's quantiles."""
    special = pytest.importorskip("scipy.special")
    shape = torch.tensor([0.7, 2.0, 9.0], dtype=torch.float64, requires_grad=True)
    drawn = torch._standard_gamma(shape)
    (grad,) = torch.autograd.grad(drawn.sum(), shape)
    a, x = shape.detach().numpy(), drawn.detach().numpy()
    at = special.gammainc(a, x)
    expected = (special.gammaincinv(a + 1e-5, at) - special.gammaincinv(a - 1e-5, at)) / 2e-5
    np.testing.assert_allclose(grad.numpy(), expected, rtol=1e-5)
    point = torch.distributions.Dirichlet(shape).rsample()
    (grad,) = torch.autograd.grad(point.sum(), shape)
    np.testing.assert_allclose(grad.numpy(), 0, atol=1e-12)


@pytest.mark.parametrize("bad", [float("nan"), -1.0, float("inf")])
def test_bad_parameters_end_in_an_error_or_no_number(bad):
    for draw in (torch._standard_gamma, torch.poisson, lambda p: torch.binomial(torch.full((2,), 9.0), p)):
        try:
            found = draw(torch.tensor([1.0, bad])).tolist()
        except RuntimeError:
            continue
        assert found[0] >= 0 and np.isnan(found[1])


def test_a_shuffled_epoch_is_resumed():
    loader = torch.utils.data.DataLoader(range(20), batch_size=4, shuffle=True)
    batches = iter(loader)
    next(batches)
    state = pickle.loads(pickle.dumps(loader.state_dict()))
    rest = [b.tolist() for b in batches]
    torch.rand(3)
    other = torch.utils.data.DataLoader(range(20), batch_size=4, shuffle=True)
    other.load_state_dict(state)
    assert [b.tolist() for b in other] == rest


def test_transforms_draw_as_torchvision_does():
    """One tensor for each number, in torchvision's order."""
    from pytorchlike.vision import transforms as T
    from pytorchlike.vision.transforms import v2

    picture = torch.zeros(3, 20, 16)

    def drawn(made, expected):
        torch.manual_seed(4)
        found = made()
        torch.manual_seed(4)
        np.testing.assert_allclose(found, expected(), rtol=1e-6)

    def below(n):
        return torch.randint(0, n, (1,)).item()

    def between(low, high):
        return torch.empty(1).uniform_(low, high).item()

    drawn(lambda: T.RandomCrop.get_params(picture, (12, 10)), lambda: (below(9), below(7), 12, 10))
    drawn(lambda: T.RandomRotation.get_params([-10.0, 30.0]), lambda: between(-10, 30))
    drawn(lambda: T.ColorJitter.get_params(None, (0.5, 1.5), None, (-0.1, 0.1))[2],
          lambda: [torch.randperm(4), between(0.5, 1.5)][1])
    drawn(lambda: T.GaussianBlur.get_params(0.1, 2.0), lambda: between(0.1, 2.0))
    drawn(lambda: [int(T.RandomHorizontalFlip()(torch.arange(2.0)[None, None])[0, 0, 0]) for _ in range(9)],
          lambda: [int(torch.rand(1) < 0.5) for _ in range(9)])
    drawn(lambda: v2.RandomChoice([lambda x, k=k: x + k for k in range(3)])(torch.zeros(1)),
          lambda: torch.multinomial(torch.full((3,), 1 / 3), 1))


def test_made_up_pictures_are_torchvisions():
    """Numbers of ``torchvision.datasets.FakeData``; the default generator is left as it is."""
    from pytorchlike.vision.datasets import FakeData

    data = FakeData(4, (1, 2, 3), 10)
    before = torch.get_rng_state()
    assert [(np.asarray(x).tolist(), y) for x, y in (data[0], data[1])] == [
        ([[136, 182, 213], [144, 236, 156]], 6), ([[168, 68, 15], [158, 141, 214]], 6)]  # fmt: skip
    assert (torch.get_rng_state() == before).all()


def test_dropout_between_recurrent_layers_is_pytorchs():
    """Its operation takes a list of weights besides."""
    torch.manual_seed(5)
    lstm = nn.LSTM(3, 4, 2, dropout=0.5)
    out = lstm(torch.ones(2, 1, 3))[0]
    assert abs(out.sum().item() + 0.10616427659988403) < 1e-6
    assert torch.rand(1).item() == 0.5924736857414246


def test_what_is_like_a_transposed_tensor_is_drawn_in_the_order_of_its_memory():
    x = torch.ones(2, 3, 4)
    torch.manual_seed(3)
    kept = F.dropout(x.transpose(0, 1), 0.5).bool().int().flatten().tolist()
    assert kept == [1, 1, 0, 1, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1]
    some = torch.rand_like(x.transpose(1, 2)).flatten()[:3].tolist()
    assert some == pytest.approx([0.4301472, 0.4290641, 0.3206418], abs=1e-6)
    torch.manual_seed(3)
    some = torch.randn_like(x.transpose(1, 2)).flatten()[:3].tolist()
    assert some == pytest.approx([0.8032761, 0.0461824, -1.4351793], abs=1e-6)
    assert torch.zeros_like(x.transpose(1, 2)).stride() == (12, 1, 4)
    assert torch.empty_like(x[:1].expand(5, 3, 4)).stride() == (12, 4, 1)  # nothing advances along the first dim
    assert torch.randint_like(x.transpose(0, 2), 10).flatten()[:8].tolist() == [7, 4, 9, 4, 1, 3, 1, 3]


def test_a_layer_of_a_transformer_with_the_batch_first_drops_what_pytorch_drops():
    torch.manual_seed(3)
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.5, batch_first=True)
    found = layer(torch.ones(2, 3, 4) * torch.arange(4.0)).flatten()[:4].tolist()
    assert found == pytest.approx([-0.5516377, -0.4182377, -0.7500450, 1.7199204], abs=1e-5)


def test_dropout_after_a_recurrent_layer_with_the_batch_first_is_pytorchs():
    torch.manual_seed(3)
    found = nn.LSTM(2, 2, batch_first=True)(torch.ones(2, 3, 2))[0]
    assert found.stride() == (2, 4, 1)
    assert F.dropout(found, 0.5).ne(0).int().flatten().tolist() == [1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0]
    with pytest.raises(RuntimeError, match="view"):
        found.view(6, 2)


def test_dropout_of_what_elementwise_operations_made_of_a_transposed_tensor_is_pytorchs():
    embedding = nn.Embedding(4, 2)
    torch.manual_seed(3)
    steps = embedding(torch.arange(4).view(2, 2)).transpose(0, 1) + torch.ones(2, 1, 2)
    assert F.dropout(steps, 0.5).ne(0).int().flatten().tolist() == [1, 1, 0, 0, 0, 1, 1, 1]
    steps = F.gelu(nn.Conv1d(2, 2, 1)(torch.ones(2, 2, 3)).transpose(1, 2))
    assert F.dropout(steps, 0.5).ne(0).int().flatten().tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1]


def test_dropout_of_a_custom_functions_result():
    torch.random.follow_pytorch(True)

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    def dropped(f):
        torch.manual_seed(0)
        return F.dropout(torch.relu(f(torch.ones(3, 4, requires_grad=True))), 0.5).tolist()

    assert dropped(lambda x: Double.apply(x)) == dropped(lambda x: x * 2)


@pytest.mark.parametrize("made, kept", [
    (lambda x, y: x.transpose(1, 2) * 2 + 5, "010010110101110111111000"),
    (lambda x, y: torch.relu(x.transpose(0, 1) + y[:, :1]) + 1, "001111101110111000010110"),
    (lambda x, y: y + x.transpose(0, 1), "001111100001111011100110"),
    (lambda x, y: (x.transpose(1, 2) + 5).unsqueeze(1)[:, 0], "010010110101110111111000"),
    (lambda x, y: x.exp().permute(2, 0, 1).add_(1).transpose(1, 2) / 3, "011100011101111101100010"),
    (lambda x, y: y.transpose(0, 1) + x.exp(), "001100011110111011100110"),
    (lambda x, y: (x.transpose(1, 2) + 5).masked_fill(x.transpose(1, 2) > 9, 0), "001111100001111011100110"),
])  # fmt: skip
def test_dropout_draws_in_the_order_in_which_elementwise_results_lie_in_pytorch(made, kept):
    torch.manual_seed(3)
    x, y = nn.Linear(4, 4)(torch.ones(2, 3, 4)), nn.Linear(4, 4)(torch.ones(3, 2, 4)).exp()
    assert F.dropout(made(x, y), 0.5).ne(0).int().flatten().tolist() == [int(k) for k in kept]
    scale = torch.exp(nn.Linear(2, 2)(torch.ones(3, 2)).repeat(2, 1, 1).permute(1, 0, 2))
    torch.manual_seed(3)
    drawn = torch.rand_like(scale)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(2, 3, 2).permute(1, 0, 2)) and drawn.stride() == (2, 6, 1)


def test_dropout_after_thousands_of_operations_on_a_transposed_tensor():
    torch.random.follow_pytorch(True)

    def dropped(rounds):
        torch.manual_seed(0)
        y = (torch.ones(4, 5, requires_grad=True) * 1).t()
        for _ in range(rounds):
            y = y + 0
        return F.dropout(y, 0.5).tolist()

    assert dropped(1500) == dropped(1)


def test_bits_of_a_pending_tensor_are_drawn_like_it():
    """Bits as int32 are added to in optimizers that round at random (heavyball): their order was asked of bytes."""
    torch.manual_seed(3)
    bits = (torch.ones(3, 6) * 2).view(torch.int32)
    drawn = torch.rand_like((bits + 1).float())
    turned = torch.rand_like(((torch.ones(6, 3) * 2).T.view(torch.int32) + 1).float())
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(3, 6)) and torch.equal(turned, torch.rand(6, 3).T)
    narrow = torch.rand_like((torch.ones(3, 6) * 2).view(torch.int16).float())
    torch.manual_seed(3)
    torch.rand(36)
    assert torch.equal(narrow, torch.rand(3, 12))


@pytest.fixture
def _any_is_worth_it(monkeypatch):
    monkeypatch.setattr(twister_module, "is_worth_it", lambda n: n >= 2000)


@pytest.fixture
def served(_any_is_worth_it):
    """A stream that a thread draws ahead, in the middle of what it has drawn."""
    twister = Twister(5)
    twister.pairs(3000)
    twister.pairs(10)
    return twister


def _draws(twister, kind, n):
    return {
        "pairs": lambda: twister.pairs(n),
        "many pairs": lambda: twister.pairs(200 * n),
        "words": lambda: twister.words(2 * n),
        "odd words": lambda: twister.words(2 * n + 1),
        "permutation": lambda: twister.permutation(n),
        "gamma": lambda: twister.gamma(np.full(n % 10, 0.5)),
        "twin": lambda: twister.twin().pairs(n),
        "state": lambda: twister.state(5),
    }[kind]()


@pytest.mark.usefixtures("_any_is_worth_it")
def test_nothing_is_seen_of_what_a_thread_draws_ahead():
    import random

    choose = random.Random(0)
    ahead, plain = Twister(5), Twister(5)
    kinds = ["pairs", "many pairs", "many pairs", "words", "odd words", "permutation", "gamma", "twin", "state"]
    met = set()
    for _ in range(150):
        kind, n = choose.choice(kinds), choose.randrange(1, 500)
        found = _draws(ahead, kind, n)
        met.add((kind, ahead._ahead is not None))
        expected = _draws(plain, kind, n)
        plain._ahead = plain._ahead and plain._return()  # at once, so that nothing is drawn ahead
        np.testing.assert_array_equal(found, expected)
    assert {("many pairs", True), ("words", True), ("state", True), ("odd words", False)} <= met


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning", "ignore:This process:DeprecationWarning")
def test_a_forked_process_goes_on_where_it_was(served):
    expected = served.twin().pairs(70_000)
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(served.pairs(70_000), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(served.pairs(70_000), expected)


def test_an_interrupt_while_numbers_are_awaited_takes_none(served):
    expected = served.twin().pairs(100_000)

    class Interrupted:
        def __init__(self, queue):
            self.queue, self.empty, self.put = queue, queue.empty, queue.put

        def get(self):
            self.queue.get()
            raise KeyboardInterrupt

    served._ahead._portions = Interrupted(served._ahead._portions)
    with pytest.raises(KeyboardInterrupt):
        served.pairs(100_000)
    np.testing.assert_array_equal(served.pairs(100_000), expected)


@pytest.mark.usefixtures("_any_is_worth_it")
def test_the_thread_forgets_a_stream_that_nobody_draws_from():
    twister = Twister(5)
    twister.pairs(3000)
    kept = weakref.ref(twister._ahead)
    del twister
    for _ in range(500):
        if kept() is None:
            break
        time.sleep(0.01)
    assert kept() is None


@pytest.mark.parametrize("make", [torch.randn, torch.rand, lambda *size: torch.randint(3, size)])
def test_negative_sizes_are_the_operators_error(make):
    with pytest.raises(RuntimeError, match="must be non-negative"):
        make(3, -1)


def test_what_is_drawn_after_complex_numbers_were_shown_as_real_ones():
    """Rotary positions as complex numbers, then dropout: the layout was asked of a dummy that was not complex."""
    torch.manual_seed(3)
    x = nn.Linear(4, 4)(torch.ones(2, 3, 4))
    turned = torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (2, 2))) * torch.ones(3, 1)).flatten(2)
    torch.manual_seed(3)
    like = torch.rand_like(turned.type_as(x) * 1)
    across = torch.rand_like(torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (2, 2))).permute(2, 0, 1) * 1j))
    torch.manual_seed(3)
    assert torch.equal(like, torch.rand(2, 3, 4))
    assert torch.equal(across, torch.rand(2, 3, 2, 2).permute(2, 0, 1, 3))


@pytest.mark.parametrize("complex", [True, False])
def test_what_is_like_a_spectrogram_is_drawn_frame_by_frame(complex):
    """The phases that Griffin and Lim begin with are those of PyTorch, whose frames lie one after the other."""
    torch.random.follow_pytorch(True)
    spectrum = torch.stft(torch.ones(2, 12) * 1, 4, 2, window=torch.ones(4), return_complex=complex)
    torch.manual_seed(3)
    phases = torch.rand_like(spectrum.abs())
    torch.manual_seed(3)
    assert torch.equal(phases, torch.rand(2, 7, 3, *(() if complex else (2,))).transpose(1, 2))
