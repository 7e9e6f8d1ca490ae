"""Names below the documented ones that published programs import, and what they do."""

import dataclasses
import importlib
import unittest
import warnings
from datetime import timedelta

import numpy as np
import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike import nn
from pytorchlike.nn.attention.bias import causal_lower_right, causal_upper_left
from pytorchlike.nn.parallel import comm, parallel_apply, replicate


def test_sobol_points():
    engine = torch.quasirandom.SobolEngine(3)
    first = [[0, 0, 0], [0.5, 0.5, 0.5], [0.75, 0.25, 0.25], [0.25, 0.75, 0.75], [0.375, 0.375, 0.625]]
    assert engine.draw(5).tolist() == first and engine.num_generated == 5
    assert engine.reset().fast_forward(2).draw().tolist() == first[2:3]
    assert engine.reset().draw_base2(2, dtype=torch.float64).tolist() == first[:4]
    with pytest.raises(ValueError, match="balance properties"):
        engine.draw_base2(3)
    with pytest.raises(ValueError, match="dimensionality"):
        torch.quasirandom.SobolEngine(0)
    mixed = torch.quasirandom.SobolEngine(2, scramble=True, seed=1)
    points = mixed.draw(64)
    assert torch.equal(points, mixed.reset().draw(64)) and bool(((0 <= points) & (points < 1)).all())
    assert np.histogram(points[:, 0].numpy(), 8, (0, 1))[0].tolist() == [8] * 8  # still a net


@pytest.mark.parametrize(("make", "above"), [(causal_upper_left, 0), (causal_lower_right, 2)])
def test_causal_biases_are_masks(make, above):
    bias = make(3, 5)
    q, k, v = torch.randn(1, 3, 4), torch.randn(1, 5, 4), torch.randn(1, 5, 4)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    mask = torch.ones(3, 5, dtype=torch.bool).tril(above)
    assert type(out) is torch.Tensor and torch.equal(out, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
    assert type(bias & mask) is torch.Tensor and (bias.seq_len_q, bias.seq_len_kv) == (3, 5)
    assert repr(make(2, 4)) == repr(torch.ones(2, 4).tril(above).bool())


def test_helpers_of_functional():
    with pytest.warns(UserWarning, match="Implicit dimension"):
        assert F._get_softmax_dim("softmax", 3, 2) == 0
    assert F._canonical_mask(torch.tensor([True, False]), "m", None, "", torch.float32).tolist() == [-np.inf, 0]
    assert F._unpool_output_size(torch.zeros(1, 1, 2, 2), [2, 2], [2, 2], [0, 0], None) == [4, 4]
    with pytest.raises(ValueError, match="must be between"):
        F._unpool_output_size(torch.zeros(1, 1, 2, 2), [2, 2], [2, 2], [0, 0], [9, 9])
    x, w = torch.randn(2, 4), torch.randn(12, 4)
    for one, two in zip(F._in_projection_packed(x, x, x, w), F._in_projection(x, x, x, *w.chunk(3)), strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), rtol=1e-5, atol=1e-6)
    assert nn.init._no_grad_fill_(torch.empty(2, requires_grad=True), 3.0).tolist() == [3, 3]


def test_replicas_lead_gradients_to_the_module():
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    copies = replicate(net, ["cpu", "cpu"])
    x = torch.randn(2, 2)
    one, two = parallel_apply(copies, [x, (x,)], [{}, {}])
    (one + two).sum().backward()
    got, net[0].weight.grad = net[0].weight.grad.clone(), None
    (2 * net(x)).sum().backward()
    np.testing.assert_allclose(got.numpy(), net[0].weight.grad.numpy(), rtol=1e-5)
    with pytest.raises(RuntimeError) as error:
        parallel_apply(copies, [x, torch.randn(2, 5)])
    assert any("replica 1" in note for note in error.value.__notes__)
    assert comm.reduce_add([x, x]).tolist() == (2 * x).tolist() and len(comm.scatter(x, ["cpu", "cpu"])) == 2


@pytest.mark.parametrize(("name", "lists", "options"), [
    ("adam", 3, {"amsgrad": False, "beta1": 0.9, "beta2": 0.99, "lr": 0.1, "weight_decay": 0.1, "eps": 1e-8,
                 "maximize": False}),
    ("sgd", 1, {"weight_decay": 0.1, "momentum": 0.9, "lr": 0.1, "dampening": 0.0, "nesterov": True,
                "maximize": False}),
])  # fmt: skip
def test_optimizers_as_functions(name, lists, options):
    step = getattr(importlib.import_module(f"pytorchlike.optim.{name}"), name)
    p, grads = torch.ones(3), [torch.tensor([1.0, -2.0, 0.5]) * k for k in (1, 2)]
    state = [[torch.zeros(3)] for _ in range(lists - 1)] + [[]] if name == "adam" else [[None]]
    steps = [[torch.tensor(0.0)]] if name == "adam" else []
    q = torch.ones(3, requires_grad=True)
    given = {k: v for k, v in options.items() if k[:4] != "beta"}
    betas = {"betas": (0.9, 0.99)} if name == "adam" else {}
    kind = torch.optim.Adam if name == "adam" else torch.optim.SGD
    optimizer = kind([q], **given, **betas)
    for grad in grads:
        step([p], [grad], *state, *steps, **options)
        q.grad = grad
        optimizer.step()
    np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-6)
    assert state[0][0] is not None and all(s[0].item() == 2 for s in steps)
    with pytest.raises(TypeError):
        step([p], grads[:1], *state, *steps)


def test_module_parameters_can_be_replaced_by_conversions():
    net = nn.Linear(2, 2)
    before = net.weight
    assert not torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        net.double()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
    assert before.dtype is torch.float32 and net.weight.dtype is torch.float64
    after = net.weight
    assert net.float().weight is after


def test_statistics_become_events():
    seen = []
    handle = torch.monitor.register_event_handler(seen.append)
    stat = torch.monitor.Stat("loss", [torch.monitor.MEAN, torch.monitor.MAX], timedelta(hours=1), 2)
    stat.add(1)
    assert stat.get() == {torch.monitor.MEAN: 1, torch.monitor.MAX: 1} and not seen
    stat.add(3)
    torch.monitor.unregister_event_handler(handle)
    assert [e.data for e in seen] == [{"loss.mean": 2.0, "loss.max": 3.0}] and stat.count == 0


def test_a_stance_that_calls_python():
    calls = []

    @torch.compile
    def fn(x):
        calls.append(1)
        return x + 1

    with torch.compiler.set_stance("force_eager"):
        assert [fn(torch.ones(1)).item() for _ in range(3)] == [2, 2, 2] and len(calls) == 3
    with pytest.raises(RuntimeError, match="invalid torch.compile stance"):
        torch.compiler.set_stance("sideways")
    with pytest.raises(NotImplementedError):
        torch.compiler.set_stance("default", skip_guard_eval_unsafe=True)
    assert torch.compiler.wrap_numpy(lambda a: a.cumsum())(torch.ones(3)).tolist() == [1, 2, 3]


def test_a_stance_is_set_outside_of_compiled_functions():
    @torch.compiler.set_stance("force_eager")
    def inner(x):
        return x + 1

    @torch.compile
    def outer(x):
        return inner(x)

    with pytest.raises(AssertionError, match="cannot change inside of a compiled function"):
        outer(torch.ones(1))
    with torch.compiler.set_stance("force_eager"):
        assert outer(torch.ones(1)).item() == 2
    assert inner(torch.ones(1)).item() == 2


def test_stances_that_capture_nothing_new():
    @torch.compile
    def fn(x):
        return x + 1 if torch.compiler.is_compiling() else x - 1

    with torch.compiler.set_stance("eager_on_recompile"):
        assert fn(torch.zeros(1)).item() == -1
    assert fn(torch.zeros(1)).item() == 1
    with torch.compiler.set_stance("eager_on_recompile"):
        assert fn(torch.zeros(1)).item() == 1 and fn(torch.zeros(2)).tolist() == [-1, -1]
    with torch.compiler.set_stance("fail_on_recompile"):
        assert fn(torch.zeros(1)).item() == 1
        with pytest.raises(RuntimeError, match="Detected recompile.*fn, line"):
            fn(torch.zeros(2))
    assert fn(torch.zeros(2)).tolist() == [1, 1]


def test_recurrent_layers_as_functions():
    x, h = torch.randn(4, 2, 3), torch.zeros(2, 2, 5)
    layer = nn.GRU(3, 5, bidirectional=True)
    out, state = torch.gru(x, h, layer._flat_weights, True, 1, 0.0, False, True, False)
    assert torch.equal(out, layer(x)[0]) and torch.equal(state, layer(x)[1]) and torch._VF.gru is torch.gru


def test_exported_programs_take_dataclasses():
    @dataclasses.dataclass
    class Pair:
        a: torch.Tensor
        b: torch.Tensor

    class Swap(nn.Module):
        def forward(self, pair):
            return Pair(pair.b * 2, pair.a)

    torch.export.register_dataclass(Pair)
    program = torch.export.export(Swap(), (Pair(torch.zeros(2), torch.ones(2)),))
    assert program.module()(Pair(torch.ones(2), torch.ones(2))).a.tolist() == [2, 2]
    with pytest.raises(AssertionError):
        torch.export.register_dataclass(int)


def test_pipes_of_data():
    from pytorchlike.utils.data import DataLoader, IterDataPipe, functional_datapipe
    from pytorchlike.utils.data.datapipes.iter import IterableWrapper
    from pytorchlike.utils.data.datapipes.map import SequenceWrapper

    pipe = IterableWrapper(range(10)).map(lambda x: x * x).filter(lambda x: x % 2 == 0)
    assert list(pipe.batch(2)) == [[0, 4], [16, 36], [64]] and list(pipe.batch(2, drop_last=True).unbatch())[-1] == 36
    left, right = IterableWrapper(range(4)).fork(2)
    assert list(left) == list(right) == list(left) == [0, 1, 2, 3]
    even, odd = IterableWrapper(range(5)).demux(2, lambda x: x % 2)
    assert list(even.zip(odd)) == [(0, 1), (2, 3)]
    torch.manual_seed(3)
    once = list(IterableWrapper(range(9)).shuffle())
    torch.manual_seed(3)
    assert once == list(IterableWrapper(range(9)).shuffle()) != sorted(once) == list(range(9))
    assert list(IterableWrapper(range(7)).groupby(lambda x: x % 3, group_size=2))[:3] == [[0, 3], [1, 4], [2, 5]]
    assert list(SequenceWrapper("abcd").map(str.upper).batch(3)) == [["A", "B", "C"], ["D"]]
    batches = DataLoader(IterableWrapper(range(4)).sharding_filter(), batch_size=2)
    assert [b.tolist() for b in batches] == [[0, 1], [2, 3]]

    @functional_datapipe("_twice")
    class Twice(IterDataPipe):
        def __init__(self, source):
            self.source = source

        def __iter__(self):
            return (x for item in self.source for x in (item, item))

    assert list(IterableWrapper([1, 2])._twice()) == [1, 1, 2, 2]
    with pytest.raises(AttributeError, match="no_such_step"):
        pipe.no_such_step()


def test_the_base_of_others_tests():
    from pytorchlike.testing._internal.common_utils import TestCase, instantiate_parametrized_tests, parametrize

    @instantiate_parametrized_tests
    class Cases(TestCase):
        @parametrize("a", [1.0, 2.0])
        @parametrize("b", [3])
        def test_sum(self, a, b):
            self.assertEqual(torch.tensor(a + b), a + b)
            self.assertNotEqual([torch.tensor(a)], [torch.tensor(a + 1)])

        def test_wrong(self):
            self.assertEqual(torch.tensor(1.0), torch.tensor(1.5))

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Cases).run(result)
    assert result.testsRun == 3 and [case.id().split(".")[-1] for case, _ in result.failures] == ["test_wrong"]


def test_checkpoint_wrappers_keep_names():
    from pytorchlike.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing

    net = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1)))
    names, x = sorted(net.state_dict()), torch.randn(2, 2)
    before = net(x)
    apply_activation_checkpointing(net, check_fn=lambda m: isinstance(m, nn.Linear))
    assert sorted(net.state_dict()) == names and torch.equal(net(x), before)
    net.load_state_dict(net.state_dict())
    net(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_tensors_as_keys_that_are_not_kept():
    from pytorchlike.utils.weak import WeakTensorKeyDictionary

    one, two = torch.ones(2), torch.ones(2)
    found = WeakTensorKeyDictionary({one: 1})
    found[two] = 2
    assert found[one] == 1 and len(found) == 2 and torch.ones(2) not in found
    del one
    assert len(found) == 1 and list(found.values()) == [2]


@pytest.mark.parametrize("use", [
    lambda: torch.ones(1).to_mkldnn(), lambda: torch.cuda.nccl.all_reduce([]),
    lambda: torch.compiler.load_cache_artifacts(b""), lambda: torch.serialization.register_package(1, None, None),
    lambda: torch.onnx.InputObserver(), lambda: torch.library.wrap_triton(print),
    lambda: torch.autograd.profiler.emit_nvtx(), lambda: torch.export.unflatten(None),
    lambda: torch.distributed.autograd.context(),
])  # fmt: skip
def test_what_has_no_meaning_fails_when_it_is_used(use):
    with pytest.raises(NotImplementedError) as error:
        use()
    assert len(str(error.value).split()) > 8  # it says what and why


def test_names_of_old_programs():
    from pytorchlike._jit_internal import boolean_dispatch
    from pytorchlike._six import container_abcs, inf, string_classes
    from pytorchlike._utils import ExceptionWrapper, _get_device_index

    assert issubclass(dict, container_abcs.Mapping) and inf > 1 and isinstance("", string_classes)
    choose = boolean_dispatch("flag", 1, False, lambda x, flag: "yes", lambda x, flag=False: "no", "m", "f")
    assert (choose(0), choose(0, True), choose(0, flag=True)) == ("no", "yes", "yes")
    assert _get_device_index("cpu", allow_cpu=True) == -1 and _get_device_index(2) == 2
    try:
        {}["x"]
    except KeyError:
        told = ExceptionWrapper(where="in a worker")
    with pytest.raises(KeyError, match="Caught KeyError in a worker"):
        told.reraise()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.import_module("pytorchlike._inductor.config").max_autotune = False


def test_pipes_that_shuffle_are_found_and_set():
    from pytorchlike.utils.data.datapipes.iter import IterableWrapper
    from pytorchlike.utils.data.datapipes.iter.combinatorics import ShufflerIterDataPipe
    from pytorchlike.utils.data.graph_settings import apply_shuffle_settings

    pipe = IterableWrapper(range(9)).shuffle().batch(3)
    assert apply_shuffle_settings(pipe, shuffle=False) is pipe
    assert list(pipe) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    shuffled = apply_shuffle_settings(IterableWrapper(range(9)), shuffle=True)
    assert isinstance(shuffled, ShufflerIterDataPipe) and sorted(shuffled) == list(range(9))
    assert shuffled._shuffle_enabled


def test_the_cpu_is_counted_without_arguments():
    assert torch.cpu.device_count() >= 1


def test_offloaded_modules_keep_names_and_gradients():
    from pytorchlike.distributed.algorithms._checkpoint.checkpoint_wrapper import offload_wrapper

    layer = torch.nn.Linear(2, 1)
    wrapped = offload_wrapper(layer)
    wrapped(torch.tensor([[1.0, 2.0]])).sum().backward()
    assert layer.weight.grad.tolist() == [[1, 2]] and sorted(wrapped.state_dict()) == ["bias", "weight"]
    wrapped.load_state_dict(layer.state_dict())


def test_functions_under_the_names_that_operators_have():
    """Programs that were written against ``torch._C`` call these; they have the operators' arguments and results."""
    x = torch.tensor([3, 1, 3, 2, 1])
    assert [p.tolist() for p in torch._unique2(x)] == [[1, 2, 3], [], []]
    assert [p.tolist() for p in torch._unique2(x, True, True, True)] == [[1, 2, 3], [2, 0, 2, 1, 0], [2, 1, 2]]
    rows, bags = torch.arange(6.0).view(3, 2), torch.tensor([0, 2])
    index = torch.tensor([0, 1, 2, 1])
    for mode, (out, *told) in enumerate([([[2, 4], [6, 8]], [], [0, 0], [0, 0]),
                                         ([[1, 2], [3, 4]], [0, 0, 1, 1], [2, 2], [2, 2]),
                                         ([[2, 3], [4, 5]], [0, 0, 1, 1], [2, 2], [[1, 1], [2, 2]])]):  # fmt: skip
        assert [p.tolist() for p in torch.embedding_bag(rows, index, bags, False, mode)] == [out, *told]
    bits = torch.ones(2, 3, dtype=torch.int8)
    assert torch._int_mm(bits, bits.T).dtype == torch.int32
    small = torch.ones(2, 2).to(torch.float8_e4m3fn)
    scaled = torch._scaled_mm(small, small.t(), torch.tensor(2.0), torch.tensor(3.0), out_dtype=torch.bfloat16)
    assert scaled.tolist() == [[12, 12], [12, 12]] and scaled.dtype == torch.bfloat16
    values, places = torch.max_pool1d_with_indices(torch.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    assert values.tolist() == [[3, 2]] and places.tolist() == [[1, 2]]
    assert torch._trilinear(*[torch.ones(2, 3, 4)] * 3, [], [], [], [1, 2]).tolist() == [12, 12]
    dropped = torch.feature_dropout(torch.ones(8, 8, 4), 0.5, True)
    assert dropped.amax(-1).equal(dropped.amin(-1)) and torch.feature_dropout_(dropped, 1.0, True).sum() == 0
    generator = torch.Generator().manual_seed(1)
    assert torch.poisson(torch.ones(3), generator).shape == torch._sample_dirichlet(torch.ones(3), generator).shape


def test_softmax_is_told_how_far_up_a_warning_belongs():
    """Modules that copy PyTorch's ``nn.Softmax`` pass it on."""
    x = torch.ones(2, 4)
    assert F.softmax(x, -1, _stacklevel=5).sum() == 2 and F.log_softmax(x, dim=1, _stacklevel=5).shape == x.shape
    with pytest.raises(ValueError, match="max mode does not support scaling the gradient by the frequency"):
        F.embedding_bag(torch.tensor([[0]]), x, mode="max", scale_grad_by_freq=True)
