"""Steps whose sizes vary share one program, and give what each would give by itself."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine import execute, flush, fused, padded, padding, policy
from pytorchlike.engine.config import config
from pytorchlike.engine.generic import Size, Sizes
from pytorchlike.engine.stats import stats

nn, F = torch.nn, torch.nn.functional

LENGTHS = (9, 12, 7, 20, 16, 5, 31, 12, 2, 18)


@pytest.fixture(autouse=True)
def _anew(monkeypatch):
    """Nothing was compiled or seen before, and programs for all sizes are made as soon as can be."""
    monkeypatch.setattr(policy, "SHARED", -1)
    monkeypatch.setattr(policy, "RENTED", 0)
    monkeypatch.setattr(policy, "RENTED_LARGE", 0)
    flush("a test begins")
    execute.forget_compiled()
    policy.reset()
    stats.reset()


def forms():
    return [form for group in padded._groups.values() for form in group.forms]


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.rnn, self.tags = nn.Embedding(50, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.tags(self.rnn(self.words(x))[0])


class Graphs(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x, edges):
        around = torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])
        return self.second(F.relu(self.first(x + around))).mean(0, keepdim=True)


def texts(rng, n):
    return torch.tensor(rng.integers(0, 50, (4, n))), torch.tensor(rng.integers(0, 3, (4, n)))


def graphs(rng, n):
    edges = rng.integers(0, n, (2, 3 * n + int(rng.integers(0, 5))))
    return torch.tensor(rng.normal(size=(n, 4)).astype(np.float32)), torch.tensor(edges), torch.tensor([n % 2])


def rows(rng, n):
    return torch.tensor(rng.normal(size=(n, 6)).astype(np.float32)), torch.tensor(rng.integers(0, 3, n))


def several(rng, n):
    """Texts of several lengths, filled up to the longest."""
    lengths = torch.tensor([n, *rng.integers(1, n + 1, 3)])
    return torch.tensor(rng.normal(size=(4, n, 6)).astype(np.float32)), torch.arange(n) < lengths[:, None]


def masked(model, x, mask):
    """Rows chosen by where they are in all texts together."""
    chosen = x.masked_scatter(mask[..., None], x.flip(1))
    rows = (chosen * mask[..., None]).reshape(-1, 6)
    rows = rows + rows.flip(0).roll(1, 0) + rows.sort(0).values + rows.topk(2, 0).values.sum(0)
    return F.cross_entropy(model(rows)[1:-2], mask.reshape(-1).long()[2:-1])


def sounds(rng, n):
    return torch.tensor(rng.normal(size=(2, 16 + 5 * n)).astype(np.float32)), torch.arange(2)


def heard(model, x, y):
    """The frames of a sound are as many as its length lets."""
    found = torch.stft(x, 10, 4, window=torch.ones(10), return_complex=True).abs()
    return F.cross_entropy(model(found.mT).mean(1), y)


def tagged(model, x, y):
    return F.cross_entropy(model(x).reshape(-1, 3), y.reshape(-1))


def classified(model, *batch):
    *x, y = batch
    return F.cross_entropy(model(*x), y)


def small():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def normed():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


def dropped():
    """So many random numbers that each gets a buffer of its own."""
    return nn.Sequential(nn.Linear(6, 8), *[nn.Dropout(0.1) for _ in range(fused.FEW)], nn.Linear(8, 3))


def split(model, x, y):
    """Rows from a place on that data tells."""
    at = len(x) // 3 + 2
    rest = F.cross_entropy(model(x)[at:], y[at:]) if at < len(x) else 0
    return F.cross_entropy(model(x)[:at], y[:at]) + rest


class Deep(nn.Module):
    """Whose sums are stored, from eight rows on where a program is for one size only, see ``engine.stored``."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 512), nn.Linear(512, 3)
        self.rest = nn.ModuleList([nn.Linear(512, 512) for _ in range(3)])

    def forward(self, x):
        x = self.first(x)
        for layer in self.rest:
            x = x + 0.1 * torch.tanh(layer(x))
        return self.last(x)


PROGRAMS = {
    "texts": (Tagger, texts, tagged),
    "graphs": (Graphs, graphs, classified),
    "batches, with statistics and random numbers": (normed, rows, classified),
    "many random numbers": (dropped, rows, classified),
    "slices from ever other places": (small, rows, split),
    "rows of texts of several lengths": (small, several, masked),
    "frames of sounds": (small, sounds, heard),
}


def train(model, make, loss, lengths=LENGTHS, read=False):
    """Losses, and the weights in the end."""
    torch.manual_seed(0)
    model, rng, losses = model(), np.random.default_rng(0), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for n in lengths:
        optimizer.zero_grad()
        found = loss(model, *make(rng, n))
        losses.append(found.item() if read else found.detach())
        found.backward()
        optimizer.step()
    return [float(x) for x in losses], [p.detach().numpy() for p in model.state_dict().values()]


@pytest.mark.parametrize("read", [False, True], ids=["", "loss read before backward"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_training_is_that_of_single_operations(name, read, monkeypatch):
    found = train(*PROGRAMS[name], read=read)
    assert len(forms()) == (2 if read else 1)
    monkeypatch.setattr(config, "tier", "interpret")
    expected = train(*PROGRAMS[name], read=read)
    for mine, theirs in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-6)


def test_lengths_without_end_take_a_handful_of_compilations():
    train(small, rows, classified, lengths=[*range(40, 60), *range(10, 40)])
    assert stats.compiles + stats.kernels <= 8
    assert len(forms()) == 1


def test_deep_networks_share_a_program():
    """In that sums are stored whatever their size, which would differ from one member to the other."""
    train(Deep, rows, classified, lengths=[9, 5, 12, 3])
    assert len(forms()) == 1


def test_there_is_a_program_of_less_room_where_that_pays(monkeypatch):
    monkeypatch.setattr(padded, "PAYS", 0)
    lengths = [60, 50, 55, 21, 19, 20, 9]
    found = train(small, rows, classified, lengths)
    (form,) = forms()
    assert min(c.sizes for c in form.programs) < (32,)
    monkeypatch.setattr(config, "tier", "interpret")
    np.testing.assert_allclose(found[0], train(small, rows, classified, lengths)[0], rtol=2e-4)


def test_sizes_that_come_all_the_time_get_a_program_of_their_own(monkeypatch):
    monkeypatch.setattr(padded, "OFTEN", 0)
    train(small, rows, classified, lengths=[9, 12, 7, 20, 20, 20])
    (form,) = forms()
    assert form.counts == {(20,): 1}  # once with room for more, then by a program of its own


def test_a_text_that_grows_finds_room_for_more_than_its_length(monkeypatch):
    """Sizes that go on rising skip a power of two where computing with it costs next to nothing."""
    monkeypatch.setattr(padded.Compiled, "scaled", lambda self, sizes: 0.0)
    table, weight = torch.randn(50, 8), torch.randn(8, 50)
    text = torch.zeros(1, 3, dtype=torch.long)
    with torch.no_grad():
        for _ in range(80):
            scores = F.embedding(text, table).cumsum(1).softmax(-1) @ weight
            text = torch.cat([text, scores[:, -1].argmax(-1, keepdim=True)], 1)
            int(text[0, -1])
    (form,) = forms()
    rooms = [c.sizes[0] for c in form.programs]
    assert len(rooms) < 4 and rooms[-1] >= 128, rooms  # without that 8 or 16, 32, 64, and 128


def test_results_have_the_present_sizes():
    model = Tagger()
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for n in LENGTHS:
            x, _ = texts(rng, n)
            y = model(x)
            assert y.numpy().shape == tuple(y.shape) == (4, n, 3)
            alone = model.tags(model.rnn(model.words(x[:1]))[0])
            torch.testing.assert_close(y[:1], alone)
            assert y.reshape(-1, 3).numpy().shape == (4 * n, 3)
    assert forms(), list(stats.unlike)


def test_an_index_out_of_range_raises_and_leaves_the_weights():
    torch.manual_seed(0)
    model, rng = small(), np.random.default_rng(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(n, bad=0):
        x, y = rows(rng, n)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y + bad * torch.ones_like(y)).backward()
        optimizer.step()

    for n in LENGTHS[:6]:
        step(n)
    assert forms(), list(stats.unlike)
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(IndexError, match="Target 7 is out of bounds|out of bounds"):
        step(17, bad=7)
        model[2].bias.sum().item()
    for p, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(p, old)
    step(11)


def test_a_program_that_would_be_wrong_is_not_used(monkeypatch):
    def forgetful(ev, e, x):
        gone = e.params["axes"]
        return padding.Spread(ev.bind(e, x.x), tuple(a for d, a in enumerate(x.axes) if d not in gone))

    monkeypatch.setitem(padding._rules, "reduce_sum", forgetful)
    losses, _ = train(small, rows, classified)
    assert not forms() and stats.unlike
    monkeypatch.setattr(config, "tier", "interpret")
    np.testing.assert_allclose(losses, train(small, rows, classified)[0], rtol=2e-4)


class Causal(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.qkv, self.tags = nn.Embedding(50, 8), nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x):
        q, k, v = (z.unflatten(-1, (2, 4)).transpose(1, 2) for z in self.qkv(self.words(x)).chunk(3, -1))
        return self.tags(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


def test_what_long_texts_have_in_common_is_not_used_for_short_ones(monkeypatch):
    """From 65 words on causal attention goes by blocks of 64: there is no second block of 19 - 64."""
    lengths = (69, 73, 101, 123, 19, 32, 108, 44, 20)
    found = train(Causal, texts, tagged, lengths=lengths)
    assert len(forms()) == 2
    monkeypatch.setattr(config, "tier", "interpret")
    expected = train(Causal, texts, tagged, lengths=lengths)
    for mine, theirs in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-6)


def test_what_numpy_would_take_long_for_is_checked_by_a_compiled_program(monkeypatch):
    monkeypatch.setattr(padded, "PATIENCE", 0)
    train(small, rows, classified)
    assert len(forms()) == 1


def test_what_has_no_rule_is_evaluated_as_ever(monkeypatch):
    def step(n):
        x = torch.arange(n * 3.0).reshape(n, 3)
        return float(x.prod(0).sum() + torch.linalg.svdvals(x + 1).sum())

    found = [step(n) for n in LENGTHS]
    assert not forms() and stats.unlike
    monkeypatch.setattr(config, "tier", "interpret")
    np.testing.assert_allclose(found, [step(n) for n in LENGTHS], rtol=1e-4)


def test_graphs_that_never_come_again_are_not_kept():
    weight = torch.randn(4, 4, requires_grad=True)
    rng = np.random.default_rng(0)
    for _ in range(2 * padded.ALONE):
        x = torch.ones(4)
        for way in rng.integers(0, 2, 12):
            x = torch.tanh(weight @ x) if way else x + torch.sin(x)
        x.sum().backward()
        weight.grad = None
    assert len(padded._groups) < padded.ALONE


def chosen(rng, n):
    """Some rows, and those that are left of 40."""
    x = rng.normal(size=(40, 6)).astype(np.float32)
    return torch.tensor(x[:n]), torch.tensor(x[n:])


def prefixed(rng, n):
    """Sentences, and prefixes of another length."""
    return torch.tensor(rng.normal(size=(n + 20, 6)).astype(np.float32)), torch.ones(int(rng.integers(2, 20)), 6)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 6))

    def forward(self, x):
        return x * self.weight


@pytest.mark.parametrize("make, loss", [
    (chosen, lambda model, a, b: model(a).square().sum() + model(b).tanh().sum()),
    (prefixed, lambda model, a, b: model(a)[len(b):].square().sum() + model(b).tanh().sum()),
], ids=["what is left", "what comes after"])  # fmt: skip
def test_a_dimension_that_is_shorter_where_another_is_longer_has_room_of_its_own(make, loss, monkeypatch):
    """128 - n in the room of n is no more than was there for the largest n: rows were left out, or did not fit."""
    lengths = (30, 28, 32, 27, 31, 5, 33, 4, 38, 20, 9, 36, 23, 7, 29, 34, 11, 37, 24, 13, 39, 35, 6, 22)
    compare(make, loss, lengths, monkeypatch)


def compare(make, loss, lengths, monkeypatch):
    """Training in programs for all sizes gives what single operations give."""
    found = train(Scaled, make, loss, lengths)
    assert forms(), list(stats.unlike)
    monkeypatch.setattr(config, "tier", "interpret")
    flush("another tier")
    wanted = train(Scaled, make, loss, lengths)
    for mine, theirs in zip((*found[0], *found[1]), (*wanted[0], *wanted[1]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)


def test_two_values_of_a_size_do_not_tell_what_follows_from_it(monkeypatch):
    """With rows (9, 12), (5, 11), (5, 11) a mean over the first could as well go by the second."""
    lengths = ((9, 12), (5, 11), (5, 10), (7, 14), (8, 9), (12, 8), (10, 16), (6, 13))

    def make(rng, n):
        return tuple(torch.tensor(rng.normal(size=(k, 6)).astype(np.float32)) for k in n)

    def loss(model, a, b):
        return model(a).square().mean() + model(b).square().mean()

    compare(make, loss, lengths, monkeypatch)
    for symbols in [form.sizes.symbols for form in forms()]:
        assert all(len(set(seen)) >= 3 for seen in symbols)
        assert np.linalg.matrix_rank(np.array([[1] * len(symbols[0]), *symbols])) == 3


def test_sizes_that_go_together_are_one_form_only_while_they_do(monkeypatch):
    """The rows that are left of 40; later of 50."""

    def make(rng, n):
        whole, n = n
        x = rng.normal(size=(whole, 6)).astype(np.float32)
        return torch.tensor(x[:n]), torch.tensor(x[n:])

    def loss(model, a, b):
        return model(a).square().mean() + model(b).square().mean()

    compare(make, loss, [(40, n) for n in (30, 20, 10, 25, 5, 18)] + [(50, n) for n in (30, 20, 10, 25)], monkeypatch)


def searched(model, x):
    """Which of the sorted first column the others come after, as weights."""
    places = torch.searchsorted(x[:, 0].sort()[0].detach().contiguous(), x[:, 1:].detach().contiguous())
    return (model(x)[:, 1:] * places).mean()


def shuffled(model, x):
    """Each row by the place at which a permutation of all has it, so that it matters whether it is one."""
    order = torch.randperm(len(x))
    return (model(x) * torch.zeros(len(x)).index_add(0, order, torch.ones(len(x)))[:, None]).square().mean()


EVEN, ODD, BEYOND = (20, 32, 26, 44, 38), (27, 33, 41, 19), (70, 100, 126, 90, 81)


@pytest.mark.parametrize("loss, lengths", [
    (lambda model, x: model(x).median() + model(x).median(0)[0].sum(), EVEN + ODD),
    (lambda model, x: model(x).median(0)[0].sum(), ODD + EVEN),
    (lambda model, x: (torch.fft.ifftshift(model(x), 0) * torch.arange(len(x))[:, None]).mean(), EVEN + ODD),
    (lambda model, x: (torch.fft.fftshift(model(x), 0) * torch.arange(len(x))[:, None]).mean(), ODD + EVEN),
    (searched, (*BEYOND, 150, 600, 40)),
    (shuffled, (*BEYOND, 128, 200, 129, 30)),
], ids=["median", "median of odd", "shift of even", "shift of odd", "search", "permutation"])  # fmt: skip
def test_a_number_inside_of_a_body_may_follow_from_a_size_in_other_ways(loss, lengths, monkeypatch):
    """Of even sizes the halves are the same rounded up and rounded down; up to 127 seven halvings find a place."""
    compare(lambda rng, n: (torch.tensor(rng.normal(size=(n, 6)).astype(np.float32)),), loss, lengths, monkeypatch)


@pytest.mark.parametrize("lengths", [ODD + EVEN, EVEN + ODD], ids=["odd", "even"])
def test_sizes_that_were_in_proportion_are_one_form_only_while_they_are(lengths, monkeypatch):
    """A mean of pairs of 27, 33 and 41 rows could be one of all rows but one, halved."""

    def make(rng, n):
        return (torch.tensor(rng.normal(size=(1, n, 6))),)

    def loss(model, x):
        return F.avg_pool1d(model(x).transpose(1, 2), 2).log_softmax(2).square().mean()

    compare(make, loss, lengths, monkeypatch)


def test_halves_are_doubted_inside_of_what_need_not_be_whole():
    """Where only 8, 12 and 20 were halved, 9 may give 4 or 5; unless each trace tells."""
    sizes = Sizes([(8, 12, 20)])
    half = sizes.of((4, 6, 10))
    divisor = Size((), "scaled", (half,), 1, 0)
    agree = {n: all(a.at([n]) <= b.at([n]) for a, b in sizes.doubts([divisor], ())) for n in range(8, 14)}
    assert agree == {8: True, 9: False, 10: True, 11: False, 12: True, 13: False}
    assert not sizes.doubts([divisor], {half.seen})


class Experts(nn.Module):
    """Each row goes to some of four layers, as a router says."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(6, 8) for _ in range(4)])
        self.last = nn.Linear(8, 3)

    def forward(self, x, *places):
        out = torch.zeros(len(x), 8)
        for expert, at in zip(self.experts, places, strict=True):
            out = out.index_add(0, at, F.relu(expert(x[at])))
        return self.last(out)


def routed(rng, counts):
    x = torch.tensor(rng.normal(size=(100, 6)).astype(np.float32))
    places = [torch.tensor(rng.permutation(100)[:n]) for n in counts]
    return x, *places, torch.tensor(rng.integers(0, 3, 100))


#: Of those that a form is made of, none is as large as those that come later.
COUNTS = [(30, 41, 20, 27), (25, 33, 29, 24), (31, 38, 22, 30), (28, 36, 26, 21), (24, 39, 23, 28), (29, 35, 27, 22),
          (22, 42, 21, 33), (35, 31, 33, 20), (36, 52, 34, 36), (33, 30, 37, 26)]  # fmt: skip


def test_many_sizes_have_room_for_more_than_was_met(monkeypatch):
    found = train(Experts, routed, classified, COUNTS)
    (form,) = forms()
    assert len(form.programs) == 1 and len(form.programs[0].sizes) == 4, [c.sizes for c in form.programs]
    assert not form.holds((64, 64, 64, 64))  # what is not used is computed, too
    monkeypatch.setattr(config, "tier", "interpret")
    expected = train(Experts, routed, classified, COUNTS)
    for mine, theirs in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-6)


def test_of_many_sizes_the_largest_together_tell_what_room_is_enough(monkeypatch):
    train(Experts, routed, classified, COUNTS)
    (form,) = forms()
    monkeypatch.setattr(padded, "PAYS", 0)
    form.counts.update(form.met)
    form._refine("a test")
    most = padded._finer(np.max(list(form.met), axis=0).tolist())
    assert [c.sizes for c in form.programs[1:]] == [most]
    assert form.programs[0].sizes > most


def test_traces_of_many_sizes_are_soon_known_not_to_come_again():
    rng = np.random.default_rng(1)
    train(Experts, routed, classified, [*COUNTS[:8], *rng.integers(20, 36, (padded.MANY // 8 + 4, 4)).tolist()])
    (form,) = forms()
    assert form.endless


def test_what_sizes_cost_that_are_independent_adds_up():
    train(Experts, routed, classified, COUNTS[:8])
    (form,) = forms()
    less, more = form.volume((20, 20, 20, 20)), form.volume((40, 40, 40, 40))
    each = [form.volume([40 if k == j else 20 for k in range(4)]) - less for j in range(4)]
    assert sum(each) == pytest.approx(more - less) and min(each) > 0
    (made,) = form.programs
    assert made.scaled(made.sizes) == made.seconds
    assert made.scaled(COUNTS[0]) < made.seconds


def test_what_sizes_cost_that_belong_together_is_multiplied():
    def loss(model, x, y):
        return F.cross_entropy(model(x) + 0 * (x @ x.T).exp().sum(), y)

    train(small, rows, loss)
    (form,) = forms()
    once, twice, thrice = (form.volume((n,)) for n in (100, 200, 300))
    assert thrice - twice > 1.5 * (twice - once) > 0
