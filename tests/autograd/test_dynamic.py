"""Programs whose graph differs from call to call, on both executors."""

import random

import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.engine import policy as engine_policy


@pytest.fixture(params=["fused", "ops"])
def executor(request, tier):
    tier(request.param)
    return request.param


def weights(*shape, seed=0):
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.5).requires_grad_()


def both(tier, run):
    """The results of ``run`` on both executors, which must agree."""
    found = []
    for name in ("fused", "ops"):
        tier(name)
        found.append(run())
    assert found[0] == pytest.approx(found[1], rel=1e-5, abs=1e-6)
    return found[0]


def flat(*tensors):
    return [v for t in tensors for v in t.detach().flatten().tolist()]


def test_recursion(tier):
    def run():
        w = weights(2, 2)

        def value(tree):
            return torch.tensor([float(tree), 1.0]) if isinstance(tree, int) else torch.tanh(
                w @ (value(tree[0]) + value(tree[1])))  # fmt: skip

        for tree in ((1, 2), ((1, 2), 3), (1, ((2, 3), (4, 1)))):
            value(tree).sum().backward()
        return flat(w.grad)

    both(tier, run)


def test_loops_that_depend_on_data(tier):
    def run():
        w = torch.tensor(1.5, requires_grad=True)
        x = torch.tensor(1.0)
        steps = 0
        while x < 20:
            x = x * w + 1
            steps += 1
        x.backward()
        return [steps, x.item(), w.grad.item()]

    steps, value, slope = both(tier, run)
    assert steps == 5

    def again(w):
        x = 1.0
        for _ in range(5):
            x = x * w + 1
        return x

    assert value == pytest.approx(again(1.5))
    assert slope == pytest.approx((again(1.5 + 1e-6) - again(1.5 - 1e-6)) / 2e-6, rel=1e-4)


def test_carried_state(tier):
    """Truncated backpropagation: the state goes on, the graph does not."""

    def run():
        w, h = weights(2, 2), torch.zeros(2)
        optimizer = torch.optim.SGD([w], lr=0.1)
        losses = []
        for chunk in range(4):
            h = h.detach()
            loss = 0
            for t in range(3):
                h = torch.tanh(w @ h + (chunk + t) / 10)
                loss = loss + (h * h).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return [*losses, *flat(w, h)]

    both(tier, run)


def test_forgetting_to_detach_is_told(executor):
    w, h = weights(2, 2), torch.zeros(2)
    h = torch.tanh(w @ h + 1)
    h.sum().backward()
    h = torch.tanh(w @ h + 1)
    with pytest.raises(RuntimeError, match="second time"):
        h.sum().backward()


def test_several_optimizers(tier):
    def run():
        a, b = weights(3), weights(3, seed=1)
        first, second = torch.optim.SGD([a], lr=0.1), torch.optim.Adam([b], lr=0.05)
        for step in range(4):
            first.zero_grad()
            second.zero_grad()
            fake = a * 2
            (b * fake.detach()).pow(2).sum().backward()
            second.step()
            if step % 2:
                (b.detach() * fake).sin().sum().backward()
                first.step()
        return flat(a, b)

    both(tier, run)


def test_gradient_accumulation_is_one_large_batch(executor):
    x = torch.arange(8.0).view(4, 2) / 8
    w, same = weights(2), weights(2)
    (torch.tanh(x @ w).pow(2).sum() / 4).backward()
    for row in x.split(1):
        (torch.tanh(row @ same).pow(2).sum() / 4).backward()
    assert torch.allclose(w.grad, same.grad, atol=1e-6)


def test_inner_loops_are_differentiated(tier):
    """As MAML does it: the gradient of a loss after a few steps of descent."""
    x, y = torch.tensor([0.5, -1.0]), torch.tensor([1.0, 2.0])

    def after(w, steps=3):
        for _ in range(steps):
            loss = ((w * x - y) ** 2).sum()
            (g,) = torch.autograd.grad(loss, w, create_graph=True)
            w = w - 0.1 * g
        return ((w * x - y) ** 2).sum()

    def run():
        w = torch.tensor([0.3, 0.7], requires_grad=True)
        after(w).backward()
        return flat(w.grad)

    # by hand: one step of descent multiplies w * x - y by 1 - 0.2 * x * x
    want = [2 * (0.3 * 0.5 - 1) * 0.5 * (1 - 0.2 * 0.25) ** 6, 2 * (-0.7 - 2) * -1 * (1 - 0.2) ** 6]
    assert both(tier, run) == pytest.approx(want, rel=1e-4)


def test_branches_and_reads(executor):
    w = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    total = torch.zeros(())
    for v in w:
        total = total + (v * v if v > 0 else -3 * v)
        assert total.item() > 0
    total.backward()
    assert w.grad.tolist() == [2, -3, 6]


def test_graphs_of_different_lengths_share_leaves(tier):
    def run():
        w = weights(3)
        for n in (1, 3, 2, 3, 1):
            h = torch.ones(3)
            for _ in range(n):
                h = (h * w).sin()
            h.sum().backward()
        return flat(w.grad)

    both(tier, run)


def test_detach_inside_of_what_repeats(monkeypatch):
    """Pieces that come again and again are compiled whole, and still stop gradients where the program does."""
    from pytorchlike.engine.config import config

    monkeypatch.setattr(config, "tier", "ops")
    cell = torch.nn.Linear(2, 2)

    def gradient(rounds):
        cell.zero_grad()
        h = torch.ones(1, 2)
        for _ in range(rounds):
            h = torch.tanh(cell(h))
            h = h * (h.detach() * 2)
        h.sum().backward()
        return cell.weight.grad.clone()

    first = [gradient(n) for n in (3, 4)]
    for _ in range(4):
        again = [gradient(n) for n in (3, 4)]
    for a, b in zip(first, again, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-7)


def random_tree(rng, leaves):
    if leaves == 1:
        return rng.randrange(10)
    left = rng.randrange(1, leaves)
    return random_tree(rng, left), random_tree(rng, leaves - left)


class Encoder(torch.nn.Module):
    """A cell over random binary trees; words come from a table that has another size for each tree."""

    def __init__(self, width=4):
        super().__init__()
        torch.manual_seed(0)
        self.words = torch.nn.Embedding(10, width)
        self.join = torch.nn.Linear(2 * width, 2 * width)
        self.out = torch.nn.Linear(width, 2)

    def node(self, tree, rows, names):
        if isinstance(tree, int):
            k = names.pop()
            return rows[k : k + 1]
        left, right = self.node(tree[0], rows, names), self.node(tree[1], rows, names)
        gate, new = self.join(torch.cat([left, right], dim=1)).chunk(2, dim=1)
        gate = torch.sigmoid(gate)
        return gate * torch.tanh(new) + (1 - gate) * left * right

    def forward(self, tree, leaves):
        rows = self.words(torch.arange(leaves) % 10)
        return self.out(self.node(tree, rows, list(range(leaves))))


@pytest.fixture
def pieces(monkeypatch):
    """Graphs that differ are divided after a few, and their pieces are compiled at once."""
    monkeypatch.setattr(engine_policy, "VISITS", 4)
    monkeypatch.setattr(engine_policy, "WORTH", 0)
    engine_policy.reset()
    yield engine_policy
    engine_policy.reset()


def train_on_trees(count, step):
    rng = random.Random(0)
    net = Encoder()
    found = []
    for _ in range(count):
        leaves = rng.randrange(3, 9)
        found += step(net, random_tree(rng, leaves), leaves)
    return net, found


def sgd(net, tree, leaves):
    for p in net.parameters():
        p.grad = None
    loss = torch.nn.functional.cross_entropy(net(tree, leaves), torch.tensor([leaves % 2]))
    loss.backward()
    with torch.no_grad():
        for p in net.parameters():
            p -= 0.1 * p.grad
    return [loss.item()]


def test_graphs_that_never_come_again_run_in_pieces(pieces, tier):
    """The same numbers as operation by operation; and in the end hardly anything of a tree is recorded anew."""
    from pytorchlike.engine import stats

    tier("ops")
    expected, losses = train_on_trees(40, sgd)
    tier("auto")
    before = []

    def counted(net, tree, leaves):
        before.append((stats.misses, stats.flushes))
        return sgd(net, tree, leaves)

    net, found = train_on_trees(40, counted)
    assert pieces.dividing
    assert found == pytest.approx(losses, rel=1e-4, abs=1e-5)
    for p, q in zip(net.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)
    (m0, f0), (m1, f1) = before[-11], before[-1]
    assert f1 - f0 > 30  # about one execution for each inner node
    assert m1 - m0 < 10 * 25  # a tree has a hundred operations


class Sums(Encoder):
    """Every node looks up a word of its own, and a cell has a product in its midst."""

    def forward(self, tree, leaves):
        children = [tree[0], tree[1]] if isinstance(tree, tuple) else []
        below = [self.forward(c, 1) for c in children] or [torch.zeros(1, 4)]
        h = self.words(torch.tensor([leaves % 10])) + torch.cat(below).sum(0, keepdim=True)
        gate, new = self.join(torch.cat([h, h], dim=1)).chunk(2, dim=1)
        return torch.sigmoid(gate) * torch.tanh(self.out(new).repeat(1, 2))


def test_pieces_are_the_nodes_of_a_tree(pieces, tier, monkeypatch):
    """Not what trees had in common by chance that were recorded whole before, nor what came before them."""
    from pytorchlike.engine import execute
    from pytorchlike.engine.trie import Call

    tier("auto")
    run, seen = execute.run, []

    def watched(trace, reason):
        seen.append([e.op.name for e in trace.state.entries() if type(e) is Call])
        run(trace, reason)

    monkeypatch.setattr(execute, "run", watched)
    rng = random.Random(0)
    torch.manual_seed(0)
    net = Sums()
    losses = []
    for k in range(40):
        if k == 30:
            seen.clear()
        net(random_tree(rng, rng.randrange(2, 9)), 0).sum().backward()  # gradients add up
        losses.append(net.out.bias.grad.sum().item())
    assert pieces.dividing
    nodes = [ops for ops in seen if "tanh" in ops]
    assert max(ops.count("tanh") for ops in nodes) == 1
    assert len({tuple(ops) for ops in nodes}) <= 4
    monkeypatch.undo()
    tier("interpret")
    rng = random.Random(0)
    torch.manual_seed(0)
    net = Sums()
    for expected in losses:
        net(random_tree(rng, rng.randrange(2, 9)), 0).sum().backward()
        assert net.out.bias.grad.sum().item() == pytest.approx(expected, rel=1e-4)


def test_graphs_that_come_again_stay_whole(pieces, tier):
    """Where others, recorded by the same lines, are divided: one program has served them before."""
    from pytorchlike.engine import stats

    tier("auto")
    torch.manual_seed(0)
    net, known = Encoder(), random_tree(random.Random(1), 5)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)

    def flushes(tree, leaves):
        before = stats.flushes
        opt.zero_grad()
        net(tree, leaves).sum().backward()
        opt.step()
        return stats.flushes - before

    assert [flushes(known, 5) for _ in range(6)][-1] == 1
    rng = random.Random(0)
    for _ in range(30):
        leaves = rng.randrange(6, 9)
        parts = flushes(random_tree(rng, leaves), leaves)
    assert pieces.dividing
    assert parts > 2
    assert flushes(known, 5) == 1


def second_order(net, tree, leaves):
    x = net(tree, leaves)
    (g,) = torch.autograd.grad(x.square().sum(), net.join.weight, create_graph=True)
    penalty = g.square().sum()
    penalty.backward(retain_graph=True)
    once = net.join.bias.grad.sum().item()
    penalty.backward()
    twice = net.join.bias.grad.sum().item()
    net.zero_grad()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        penalty.backward()
    return [penalty.item(), once, twice]


def with_hooks(net, tree, leaves):
    seen = []
    handle = net.join.register_full_backward_hook(lambda m, given, got: seen.append(got[0].abs().sum().item()))
    x = net(tree, leaves)
    x.register_hook(lambda g: 2 * g)
    x.sum().backward()
    handle.remove()
    (inner,) = torch.autograd.grad(net(tree, leaves).sum(), [net.words.weight])
    found = [len(seen), sum(seen), net.words.weight.grad.sum().item(), inner.sum().item()]
    net.zero_grad()
    return found


@pytest.mark.parametrize("step", [second_order, with_hooks])
def test_pieces_keep_the_tape_whole(pieces, tier, step):
    """Second derivatives, retained and freed graphs, and hooks go through pieces as through one graph."""
    tier("ops")
    _, expected = train_on_trees(2, step)
    tier("auto")
    train_on_trees(24, sgd)  # divides
    assert pieces.dividing
    _, found = train_on_trees(2, step)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def penalised(w):
    """Gradients at points between two batches, as critics are trained."""
    real = (w * torch.arange(3.0)).sum()
    between = (torch.arange(3.0) * 0.5).requires_grad_()
    (slope,) = torch.autograd.grad((w * between).square().sum(), between, create_graph=True)
    return real + (slope.norm() - 1) ** 2


def from_made_states(w):
    """States below a tree that are told to require gradients."""
    total = (w * 2).sum()
    for _ in range(3):
        total = total + (torch.zeros(1, 3).fill_(0.5).requires_grad_() * w).sum()
    return total


@pytest.mark.parametrize("loss_of", [penalised, from_made_states])
def test_a_leaf_made_within_a_step_does_not_divide_it(loss_of, tier):
    tier("fused")
    w = nn.Parameter(torch.ones(3))
    opt = torch.optim.SGD([w], lr=0.1)
    flushes = []
    for _ in range(4):
        before = torch.compiler.stats()["flushes"]
        opt.zero_grad()
        loss_of(w).backward()
        opt.step()
        flushes.append(torch.compiler.stats()["flushes"] - before)
    assert flushes[1:] == [1, 1, 1]


def test_iterations_on_a_leaf_made_anew_share_a_program(tier):
    """Each begins with its leaf, although nothing is read in between: the graph does not grow with their number."""
    tier("fused")
    w, x = nn.Parameter(torch.ones(3)), torch.arange(3.0)
    compiles = []
    for _ in range(5):
        x = x.detach().requires_grad_()
        (g,) = torch.autograd.grad((w * x).square().sum(), x)
        x = x + 0.1 * g.sign()
        compiles.append(torch.compiler.stats()["compiles"])
    assert x.tolist() == pytest.approx([0.0, 1.5, 2.5])
    assert compiles[2:] == compiles[2:3] * 3


def test_steps_of_a_decoder_over_texts_of_ever_new_lengths_are_not_compiled_for_each(monkeypatch):
    """A step that is read comes several times in a row, and then never again."""
    monkeypatch.setattr(engine_policy, "RENTED", 0)  # a program for all lengths is made as soon as can be
    monkeypatch.setattr(engine_policy, "SHARED", -1)
    torch.compiler.reset()
    cell, out = nn.GRUCell(8, 8), nn.Linear(16, 5)

    def translate(length, steps=6):
        memory, h = torch.randn(length, 8), torch.zeros(1, 8)
        for _ in range(steps):
            weights = torch.softmax(memory @ h[0], 0)
            h = cell((weights @ memory).unsqueeze(0), h)
            scores = out(torch.cat((h, (weights @ memory).unsqueeze(0)), 1))
            assert scores.argmax().item() >= 0
            scores.sum().backward(retain_graph=True)
            float(cell.weight_hh.grad[0, 0])
            h = h.detach()

    for length in range(5, 15):
        translate(length)
    before = torch.compiler.stats()["compiles"]
    for length in range(20, 26):
        translate(length)
    assert torch.compiler.stats()["compiles"] - before <= 2  # room for longer texts, forward and backward


def test_the_end_of_an_episode_is_not_compiled_for_each_length():
    """Actions are read, and the loss goes back through all of them: the way back is long, and never the same."""
    torch.compiler.reset()
    policy = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(policy.parameters())

    def episode(length):
        chosen = []
        for _ in range(length):
            scores = policy(torch.randn(4)).log_softmax(-1)
            chosen.append(scores[scores.argmax().item()])
        optimizer.zero_grad()
        torch.stack(chosen).sum().backward()
        optimizer.step()

    for length in (20, 30, 25):
        episode(length)
    before = torch.compiler.stats()
    for length in [*range(20, 32)] * 2:
        episode(length)
    after = torch.compiler.stats()
    assert after["compiles"] + after["kernels"] - before["compiles"] - before["kernels"] <= 12
