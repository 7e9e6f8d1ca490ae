"""Summaries, operation counts and pictures of graphs: found without computing anything."""

import sys

import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike import nn
from pytorchlike.utils.flop_counter import FlopCounterMode
from pytorchlike.utils.summary import summary


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(8 * 16, 10)
        self.head.bias.requires_grad_(False)

    def forward(self, x, scale=1.0):
        return self.head(F.max_pool2d(self.features(x), 2).flatten(1)) * scale


def test_summary():
    model = Net()
    state = torch.get_rng_state()
    before = torch.compiler.stats()["flushes"]
    found = summary(model, (2, 3, 8, 8), mode="train", scale=2.0)
    assert torch.compiler.stats()["flushes"] == before  # nothing was run
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert model.features[1].num_batches_tracked.item() == 0
    rows = {row["name"]: row for row in found.rows}
    assert rows["features.0"]["outputs"] == [(2, 8, 8, 8)] and rows["head"]["inputs"] == [(2, 128)]
    assert rows["features.0"]["params"] == 224 and rows[""]["params"] == 0
    assert rows["features.0"]["flops"] == 2 * 2 * 8 * 64 * 27 and rows["head"]["flops"] == 2 * 2 * 128 * 10
    assert found.total_flops == 2 * found.total_mult_adds == rows["features.0"]["flops"] + rows["head"]["flops"]
    assert found.total_params == 224 + 16 + 1290 and found.trainable_params == found.total_params - 10
    text = str(found)
    assert "Conv2d (features.0)" in text and "[2, 8, 8, 8]" in text and "1,530" in text
    assert "features.0" not in str(summary(model, (2, 3, 8, 8), depth=1))
    assert not hasattr(model.head, "_forward_hooks") or not model.head._forward_hooks


def test_summary_of_shared_modules_and_several_inputs():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x, i):
            return {"y": self.a(self.a(x)) + i}

    found = summary(Twice(), [(2, 4), (2, 1)], dtypes=[torch.float32, torch.int64])
    assert found.total_params == 20 and "again" in str(found) and len(found.rows) == 3
    assert found.rows[0]["outputs"] == [(2, 4)]
    found = summary(Twice(), input_data=(torch.ones(2, 4), torch.ones(2, 1)))
    assert found.total_flops == 2 * 2 * 2 * 4 * 4
    recurrent = summary(nn.LSTM(8, 16, 2, batch_first=True), (2, 5, 8))
    assert recurrent.total_flops == 2 * 10 * 64 * (8 + 16 + 16 + 16)


def test_tensors_may_stand_in_the_place_of_sizes():
    layer = nn.Linear(4, 2)
    by_size = str(summary(layer, (3, 4)))
    assert str(summary(layer, torch.ones(3, 4))) == str(summary(layer, [torch.ones(3, 4)])) == by_size


def test_errors_of_summary():
    with pytest.raises(TypeError, match="must be a torch.nn.Module, not int"):
        summary(3, (1, 2))
    model = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="input_size or input_data"):
        summary(model)
    with pytest.raises(ValueError, match="mode"):
        summary(model, (1, 3), mode="x")
    with pytest.raises(ValueError, match="2 dtypes for 1"):
        summary(model, (1, 3), dtypes=[torch.float32] * 2)
    with pytest.raises(RuntimeError, match="shape|size"):
        summary(model, (1, 4))
    assert not model._forward_hooks


def test_counting_of_operations(capsys):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with FlopCounterMode(depth=1) as counter:
        model(torch.ones(3, 4)) @ torch.ones(2, 5)
    linear = 2 * 3 * (4 * 8 + 8 * 2)
    assert counter.get_total_flops() == linear + 2 * 3 * 2 * 5
    assert counter.get_flop_counts()["Sequential"] == {torch.ops.aten.addmm: linear}
    assert counter.get_flop_counts()["Sequential.2"] == {torch.ops.aten.addmm: 2 * 3 * 8 * 2}
    assert "Sequential" in capsys.readouterr().out


def test_picture_of_a_graph(monkeypatch):
    graphviz = pytest.importorskip("graphviz")
    from pytorchlike.utils.graph import make_dot

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    loss = model(torch.ones(3, 4)).pow(2).mean()
    dot = make_dot(loss, dict(model.named_parameters()))
    assert isinstance(dot, graphviz.Digraph)
    for name in ("0.weight", "0.bias", "2.weight", "2.bias", "MeanBackward0", "PowBackward0", "ReluBackward0"):
        assert name in dot.source
    assert dot.source.count("AccumulateGrad") == 4
    with pytest.raises(ValueError, match="more than 3 nodes"):
        make_dot(loss, max_nodes=3)
    with pytest.raises(RuntimeError, match="require grad"):
        make_dot(torch.ones(2))
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(ImportError, match=r"pytorchlike\[graph\]"):
        make_dot(loss)
