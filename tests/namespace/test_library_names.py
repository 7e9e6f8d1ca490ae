"""Names that libraries use beside the public ones: each does what the library relies on."""

import importlib
import io
import time
import typing
from collections import OrderedDict

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.nn.parallel.scatter_gather import gather, scatter, scatter_kwargs
from pytorchlike.utils import _pytree


def test_operators_under_their_inner_names():
    aten = torch.ops.aten
    x = torch.tensor([[3.0, 1.0], [2.0, 4.0]])
    assert aten.add.Tensor is aten.add.Tensor  # keys of dictionaries
    assert aten.add.Tensor is not aten.add.Scalar
    assert aten.add.Tensor(x, x, alpha=2).tolist() == (x + 2 * x).tolist()
    assert aten.sort.default(x, 1, True)[0].tolist() == [[3, 1], [4, 2]]
    assert aten.slice.Tensor(x, 1, 1, 2**63 - 1).tolist() == [[1], [4]]
    assert aten.index.Tensor(x, [None, torch.tensor([1])]).tolist() == [[1], [4]]
    assert aten._to_copy.default(x, dtype=torch.int64).dtype == torch.int64
    assert aten.linalg_norm.default(x).item() == pytest.approx(30**0.5)
    assert aten.relu(x - 2).tolist() == [[1, 0], [0, 2]]
    aten.alias.default(x)[0, 0] = 7
    assert x[0, 0] == 7
    with pytest.raises(AttributeError, match="no operator 'nothing_like_it'"):
        _ = aten.nothing_like_it
    assert "Tensor" in aten.add.overloads()


def test_the_package_is_its_own_attribute():
    assert torch.torch is torch


def test_futures_can_be_annotated():
    assert torch.futures.Future[int].__origin__ is torch.futures.Future


def test_records_of_a_file_one_by_one():
    file = io.BytesIO()
    torch.save({"x": torch.arange(3)}, file)
    file.seek(0)
    reader = torch.PyTorchFileReader(file)
    assert "data.pkl" in reader.get_all_records() and reader.has_record("data/0") and not reader.has_record("data/9")
    assert np.frombuffer(reader.get_record("data/0"), np.int64).tolist() == [0, 1, 2]
    assert reader.get_record_size("data/0") == 24
    offset = reader.get_record_offset("data/0")
    assert file.getvalue()[offset : offset + 24] == reader.get_record("data/0")


def test_elements_can_be_printed_without_the_rest():
    from pytorchlike._tensor_str import PRINT_OPTS, _add_suffixes, _tensor_str, printoptions

    x = torch.tensor([[1.5, 2.0], [3.0, 4.0]])
    assert "tensor(" + _tensor_str(x, 7) + ")" == repr(x)
    assert _tensor_str(torch.zeros(0, 2), 0) == "[]"
    assert _add_suffixes("f([1]", ["a=1", "b=2"], 2) == "f([1], a=1, b=2)"
    with printoptions(threshold=5):
        assert PRINT_OPTS.threshold == 5


def test_trees_tell_their_kinds():
    kind = _pytree._get_node_type([1, 2])
    children, context = _pytree.SUPPORTED_NODES[kind].flatten_fn([1, 2])
    spec = _pytree.TreeSpec(kind, context, [_pytree.LeafSpec() for _ in children])
    assert _pytree.tree_unflatten([3, 4], spec) == [3, 4]
    assert _pytree._get_node_type(torch.ones(1)) not in _pytree.SUPPORTED_NODES


def test_containers_of_a_module_can_be_made_again_by_their_class():
    net = torch.nn.Linear(2, 1)
    net.register_forward_hook(lambda *_: None)
    for name in ("_parameters", "_forward_hooks"):
        before = getattr(net, name)
        again = type(before)(OrderedDict(before))
        assert type(again) is type(before) and dict(again) == dict(before)
    assert net.weight is net._parameters["weight"]


def test_arguments_are_split_among_devices_and_results_joined():
    x = torch.arange(4)
    parts = scatter({"x": x, "flag": "a"}, ["cpu", "cpu"])
    assert [(p["x"].tolist(), p["flag"]) for p in parts] == [([0, 1], "a"), ([2, 3], "a")]
    assert [p[0].tolist() for p in scatter((x, 1), ["cpu"])] == [[0, 1, 2, 3]]
    args, kwargs = scatter_kwargs((x,), None, ["cpu", "cpu"])
    assert len(args) == 2 and kwargs == ({}, {})
    joined = gather([(x[:1], x[0]), (x[1:], x[1])], "cpu")
    assert [j.tolist() for j in joined] == [[0, 1, 2, 3], [0, 1]]


def test_names_that_openmmlab_takes_from_inner_modules():
    from pytorchlike.distributed.fsdp import LocalOptimStateDictConfig, fully_sharded_data_parallel
    from pytorchlike.functional import Tensor
    from pytorchlike.nn.modules.conv import _ConvTransposeMixin

    assert Tensor is torch.Tensor and issubclass(_ConvTransposeMixin, torch.nn.modules.conv._ConvTransposeNd)
    assert fully_sharded_data_parallel.LocalOptimStateDictConfig is LocalOptimStateDictConfig


def test_settings_and_marks():
    before = torch.backends.opt_einsum.strategy
    torch.backends.opt_einsum.strategy = "auto-hq"
    assert torch.backends.opt_einsum.strategy == "auto-hq"
    torch.backends.opt_einsum.strategy = before
    assert torch.jit._overload(len) is len
    with pytest.raises(NotImplementedError, match="flop_counter"):  # fvcore imports it, and counts only when asked to
        torch.jit._get_trace_graph(torch.nn.Linear(2, 2), (torch.ones(1, 2),))
    assert torch.profiler.kineto_available()
    assert torch._C._TensorMeta is type(torch.Tensor)
    assert torch.cuda._initialized is torch.cuda.is_initialized()
    assert torch._C._jit_set_autocast_mode(False) is torch._C._jit_set_bailout_depth(2) is False  # switches of nothing
    assert torch._C._nn._parse_to("cpu", torch.float16)[:2] == (torch.device("cpu"), torch.float16)
    from pytorchlike._subclasses.fake_tensor import FakeTensor, is_fake
    from pytorchlike.fx.experimental.proxy_tensor import get_proxy_mode
    from pytorchlike.serialization import MAP_LOCATION  # noqa: F401 - an annotation

    assert not is_fake(torch.ones(1)) and get_proxy_mode() is None and not isinstance(torch.ones(1), FakeTensor)


def test_iterators_of_loaders_are_told_apart():
    from pytorchlike.utils.data.dataloader import _BaseDataLoaderIter, _MultiProcessingDataLoaderIter

    iterator = iter(torch.utils.data.DataLoader(range(2)))
    assert isinstance(iterator, _BaseDataLoaderIter) and not isinstance(iterator, _MultiProcessingDataLoaderIter)


def test_the_class_and_buckets_from_inner_modules():
    import pytorchlike._tensor
    from pytorchlike._utils import _take_tensors

    assert pytorchlike._tensor.Tensor is torch.Tensor
    a, b, c, d = torch.zeros(4), torch.zeros(2), torch.zeros(3, dtype=torch.int64), torch.zeros(5)
    assert [[len(t) for t in part] for part in _take_tensors([a, b, c, d], 24)] == [[4, 2], [5], [3]]


def test_names_for_annotations_and_pickle_protocols():
    def forward(mask: torch.TensorType): ...

    assert forward.__annotations__["mask"] is torch.TensorType and not isinstance(torch.ones(1), torch.TensorType)
    with pytest.raises(TypeError, match="use torch.Tensor"):
        torch.TensorType()
    assert torch.serialization.DEFAULT_PROTOCOL == 2


def test_array_kinds_that_are_not_collated():
    from pytorchlike.utils.data._utils.collate import np_str_obj_array_pattern

    assert np_str_obj_array_pattern.search("<U3") and not np_str_obj_array_pattern.search("<f4")


def test_annotations_can_be_evaluated_where_their_names_are_unknown():
    # fastai evaluates those of an instance among its own names
    assert typing.get_type_hints(torch.nn.CrossEntropyLoss(), globalns={}, localns={})["training"] is bool


def test_names_that_forecasting_and_chemistry_packages_import():
    from pytorchlike.distributions.transforms import _clipped_sigmoid
    from pytorchlike.utils.data.dataloader import _collate_fn_t

    assert 0 < _clipped_sigmoid(torch.tensor(-1e4)).item() < _clipped_sigmoid(torch.tensor(1e4)).item() < 1
    assert typing.get_args(_collate_fn_t)[1] is typing.Any
    assert not isinstance(torch.device("cpu"), torch.DeviceObjType)  # nor is PyTorch's


def test_tensors_are_told_apart_by_a_number():
    a, b = torch.ones(1), torch.ones(1)  # pyro compares parameters by it
    assert a._cdata == a._cdata != b._cdata


def test_questions_about_sizes_have_plain_answers():
    from pytorchlike.fx.experimental import symbolic_shapes as s

    assert s.guard_size_oblivious(3 == 3) and s.statically_known_true(True) and s.definitely_false(0)
    assert s.hint_int(3) == s.guard_int(3) == 3 and s.is_concrete_int(3) and not s.is_symbolic(3)
    assert s.free_symbols([1, 2]) == set() and not s.has_free_symbols((3,)) and s.sym_eq([1, (2, 3)], (1, [2, 3]))
    with pytest.raises(ValueError, match="Invalid value"):
        s.constrain_range(5, min=0, max=4)


def test_sharded_grad_scaler_of_one_process():
    from pytorchlike.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

    w = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([w], lr=1.0)
    scaler = ShardedGradScaler("cpu", init_scale=4.0, growth_interval=1)
    for bad, want, scale in ((1.0, [0, 0], 8.0), (float("inf"), [0, 0], 4.0)):
        optimizer.zero_grad()
        scaler.scale((w * bad).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert w.tolist() == want and scaler.get_scale() == scale


def test_what_tensordict_imports():
    from pytorchlike._utils import _get_device_module
    from pytorchlike.nn.utils._named_member_accessor import set_tensor, swap_tensor
    from pytorchlike.utils.data._utils.worker import _generate_state

    layer = torch.nn.BatchNorm1d(2)
    weight, new = layer.weight, torch.ones(3)
    assert swap_tensor(layer, "weight", new) is weight
    assert layer.weight is new
    assert swap_tensor(layer, "extra", new, allow_missing=True) is None
    assert swap_tensor(layer, "extra", None, allow_missing=True) is new
    assert not hasattr(layer, "extra")
    set_tensor(layer, "running_mean", new)
    assert dict(layer.named_buffers())["running_mean"] is new
    with pytest.raises(AttributeError, match="no attribute `nothing`"):
        swap_tensor(layer, "nothing", new)
    with pytest.raises(KeyError, match="contain"):
        swap_tensor(layer, "a.b", new)
    assert _generate_state(5, 1) == [3025039489, 3528014902, 3507927383, 2601490367]  # PyTorch's
    assert _get_device_module("cuda") is torch.cuda
    with pytest.raises(RuntimeError, match="corresponding module"):
        _get_device_module("nothing")
    assert _pytree.is_structseq_instance(time.localtime()) and not _pytree.is_structseq_instance((1, 2))
    kids, context = _pytree._list_flatten_with_keys([5, 6])
    assert [(str(k), k.get([5, 6])) for k, _ in kids] == [("[0]", 5), ("[1]", 6)]
    assert _pytree._list_unflatten([v for _, v in kids], context) == [5, 6] == _pytree._list_flatten([5, 6])[0]
    assert isinstance(torch.ones(2).untyped_storage(), torch.StorageBase)
    assert not torch._C._is_torch_function_mode_enabled()
    with torch.overrides.BaseTorchFunctionMode():
        assert torch._C._is_torch_function_mode_enabled()


def test_dtypes_without_tensors():
    assert torch.bit is torch.uint1
    assert not torch.uint4.is_signed and torch.int4.is_signed and torch.bits16.itemsize == 2
    assert torch.float4_e2m1fn_x2.is_floating_point and torch.quint4x2 not in {torch.quint8, torch.uint8}
    with pytest.raises(NotImplementedError, match="whole bytes"):
        torch.zeros(2, dtype=torch.uint4)


def test_fake_modes_are_found():
    from pytorchlike._guards import active_fake_mode, detect_fake_mode
    from pytorchlike._subclasses import FakeTensorMode

    assert active_fake_mode() is None and detect_fake_mode([torch.ones(1)]) is None
    with FakeTensorMode() as mode:
        x = torch.ones(1)
        assert active_fake_mode() is mode
    assert detect_fake_mode({"x": x}) is mode


def test_batches_of_ones_own_are_pinned():
    from pytorchlike.utils.data._utils.pin_memory import pin_memory

    batch = {"x": torch.ones(2), "y": [torch.zeros(1), "name"]}
    assert pin_memory(batch) is batch


def test_devices_of_a_context_by_their_inner_names():
    from pytorchlike._C import Value, device, dtype
    from pytorchlike.utils import _device

    assert device is torch.device and dtype is torch.dtype and not isinstance(torch.ones(1), Value)
    assert _device.CURRENT_DEVICE is None
    with _device.DeviceContext("meta"):
        assert torch.ones(1).device == torch.device("meta") == _device.CURRENT_DEVICE


@pytest.mark.parametrize("package", ["_dynamo", "_inductor", "_functorch"])
def test_settings_of_compilers_are_kept(package):
    config = importlib.import_module(f"pytorchlike.{package}.config")
    config.mine = 3
    with config.patch(mine=4, other=5):
        assert (config.mine, config.other) == (4, 5)
    assert config.mine == 3 and not hasattr(config, "other")
    with config.patch("mine", 6):
        assert config.mine == 6
    del config.mine
    assert getattr(torch, package).config is config


def test_functions_of_operators_by_a_library_as_decorators():
    lib = torch.library.Library("test_library_names", "DEF")
    lib.define("twice(Tensor x) -> Tensor")

    @torch.library.impl(lib, "twice", "CompositeExplicitAutograd")
    def twice(x):
        return x * 2

    @torch.library.impl(lib, "twice", "Meta")
    def shape(x):
        return torch.empty_like(x)

    assert torch.ops.test_library_names.twice(torch.ones(2)).tolist() == [2, 2] and twice(3) == 6
    assert torch.ops.test_library_names.twice(torch.ones(2, device="meta")).is_meta


def test_whether_a_dual_level_is_open_and_references_to_other_processes():
    from pytorchlike.autograd import forward_ad

    assert forward_ad._current_level == -1
    with forward_ad.dual_level():
        assert forward_ad._current_level == 0
    assert not isinstance(1, torch._C._distributed_rpc.PyRRef)
    assert not torch.distributed.rpc.is_available() and not torch.distributed.autograd.is_available()
    with pytest.raises(NotImplementedError, match="remote calls"):
        torch._C._distributed_rpc.PyRRef(1)


def test_attributes_of_tensor_classes_are_their_own():
    class Indexed(torch.Tensor):
        pass

    base = torch.arange(6.0).view(3, 2)
    t = torch.Tensor._make_subclass(Indexed, base[1:])
    t._index = (slice(1, None),)
    assert t[torch.tensor([1, 0])].tolist() == [[4, 5], [2, 3]]
    # what shows a part of a storage and has no base to tell knows the whole as well
    for part in (t, base[1:].detach(), t[:1]):
        assert part.untyped_storage().nbytes() == 24
        assert part.untyped_storage().data_ptr() == base.untyped_storage().data_ptr()
        assert torch._C._is_alias_of(part, base) and not torch._C._is_alias_of(part, base.clone())


def test_step_counters_may_be_tensors_on_the_cpu():
    """Optimizers of libraries ask by PyTorch's inner name where ``capturable`` can be had."""
    from pytorchlike.optim.optimizer import _get_capturable_supported_devices

    assert torch.zeros(()).device.type in _get_capturable_supported_devices()
    assert "tpu" not in _get_capturable_supported_devices(supports_xla=False)
