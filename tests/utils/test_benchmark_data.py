"""Random tensors for benchmarks, and counts of instructions as data."""

import pytest

import pytorchlike as torch
from pytorchlike.utils import benchmark
from pytorchlike.utils.benchmark import FunctionCount, FunctionCounts, FuzzedParameter, FuzzedTensor, Fuzzer


def _fuzzer(seed):
    return Fuzzer(
        [FuzzedParameter("n", 4, 64, "loguniform"), FuzzedParameter("d", distribution={1: 0.5, 2: 0.5}),
         FuzzedParameter("m", distribution={benchmark.ParameterAlias("n"): 0.5, 8: 0.5})],
        [FuzzedTensor("x", ("n", "m"), dim_parameter="d", probability_contiguous=0.3, max_elements=1000),
         FuzzedTensor("y", (3, "m"), steps=(2, 1), dtype=torch.int64)],
        seed=seed,
    )  # fmt: skip


def test_fuzzed_tensors_keep_to_their_sizes_and_come_again_from_a_seed():
    runs = [list(_fuzzer(3).take(6)) for _ in range(2)]
    for (a, told, p), (b, _, q) in zip(*runs, strict=True):
        assert p == q and torch.equal(a["x"], b["x"]) and a["x"].stride() == b["x"].stride()
        assert a["x"].shape == (p["n"], p["m"])[: p["d"]] and a["x"].numel() <= 1000 and a["y"].shape == (3, p["m"])
        assert told["x"]["is_contiguous"] == a["x"].is_contiguous() and a["y"].dtype is torch.int64
    assert any(not t["x"].is_contiguous() for t, _, _ in runs[0]) and _fuzzer(0).rejection_rate is None


def test_fuzzed_sparse_tensors():
    tensor = benchmark.FuzzedSparseTensor("s", ("n", "n"), density="p", coalesced="c")
    fuzzer = Fuzzer([FuzzedParameter("n", 5, 9, "uniform"), FuzzedParameter("p", 0.2, 0.5, "uniform"),
                     FuzzedParameter("c", distribution={True: 1.0})], [tensor], seed=1)  # fmt: skip
    ((found, told, p),) = fuzzer.take(1)
    assert found["s"].is_sparse and found["s"].is_coalesced() and told["s"]["shape"] == (p["n"], p["n"])


def test_what_cannot_be_drawn():
    for wrong in ({}, {"distribution": "normal"}, {"distribution": "uniform", "minval": 3, "maxval": 1},
                  {"distribution": {1: 0.5}, "strict": True}):  # fmt: skip
        with pytest.raises(ValueError):
            FuzzedParameter("x", **wrong)
    one = FuzzedParameter("n", 1, 2, "uniform")
    with pytest.raises(ValueError, match="overlap"):
        Fuzzer([one, one], [])
    with pytest.raises(ValueError, match="constraints"):
        next(Fuzzer([one], [], constraints=[lambda n: False]).take(1))


def test_counts_of_instructions():
    a = FunctionCounts((FunctionCount(5, "f"), FunctionCount(3, "g")), inclusive=False)
    assert (a + a).sum() == 16 and [tuple(x) for x in a - a.filter(lambda n: n == "f")] == [(3, "g")]
    assert [tuple(x) for x in a.transform(lambda n: "h")] == [(8, "h")] and len(a[:1]) == 1 and "Total: 8" in repr(a)
    with pytest.raises(AssertionError):
        a + FunctionCounts((), inclusive=True)
    none = FunctionCounts((), inclusive=False)
    stats = benchmark.CallgrindStats(benchmark.TaskSpec("x", "pass"), 1, True, none, a[1:], a, a, None)
    assert stats.counts() == 5 and stats.delta(stats).sum() == 0 and "5 instructions" in repr(stats)
    with pytest.raises(ValueError, match="copied anyway"):
        benchmark.CopyIfCallgrind(3)
