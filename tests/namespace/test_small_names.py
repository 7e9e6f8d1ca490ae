"""Names that ask for little: hints that are kept, and what there is without a device of a kind."""

import collections
from array import array as array_of

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.autograd import graph
from pytorchlike.autograd.profiler import MemRecordsAcc
from pytorchlike.utils._python_dispatch import TorchDispatchMode
from pytorchlike.utils.hooks import BackwardHook


def test_backward_hooks_of_a_programs_own_calls():
    seen = []

    def pre(module, grads):
        seen.append("pre")
        return tuple(2 * g for g in grads)

    layer, x = nn.Linear(2, 2, bias=False), torch.ones(1, 2, requires_grad=True)
    hook = BackwardHook(layer, [lambda m, gi, go: seen.append((m, gi[0].shape, go[0].tolist()))], [pre])
    hook.setup_output_hook(layer(hook.setup_input_hook(x))).sum().backward()
    assert seen == ["pre", (layer, (1, 2), [[2.0, 2.0]])]
    torch.testing.assert_close(x.grad, 2 * layer.weight.detach().sum(0, keepdim=True))


def test_hints_are_checked():
    assert torch.backends.cuda.cublas_workspace_size(64) == 64 == torch.backends.cuda.blas_workspace_size()
    with pytest.raises(RuntimeError, match="number of bytes"):
        torch.backends.cuda.cublaslt_workspace_size(-1)
    with pytest.raises(TypeError):
        graph.set_warn_on_accumulate_grad_stream_mismatch("yes")
    torch.accelerator.empty_host_cache()


def test_the_library_that_computes_in_integers_is_a_name():
    quantized = torch.backends.quantized
    assert quantized.engine in quantized.supported_engines
    before = quantized.engine
    quantized.engine = "qnnpack"
    assert quantized.engine == "qnnpack"
    quantized.engine = before
    for wrong in ("none", "mine", 3):
        with pytest.raises(RuntimeError, match="quantized engine"):
            quantized.engine = wrong


def test_settings_of_the_code_generator_are_set_for_a_block():
    from pytorchlike._inductor import config

    with config.patch({"max_autotune": True}), config.patch("of_no_name", 3), config.patch(epilogue_fusion=True):
        assert config.max_autotune and config.epilogue_fusion and config.of_no_name == 3
    assert not config.max_autotune and not config.epilogue_fusion and not hasattr(config, "of_no_name")


def test_why_fused_attention_is_not_used():
    x = torch.ones(1, 1, 2, 4)
    params = torch.backends.cuda.SDPAParams(x, x, x)
    with pytest.warns(UserWarning, match="not on a GPU"):
        assert not torch.backends.cuda.can_use_flash_attention(params, True)
    assert not torch.backends.cuda.can_use_efficient_attention(params)


def test_arguments_without_meaning_are_refused():
    from pytorchlike.ao import quantization as aq

    layer = nn.Linear(2, 2)
    for call, says in [
        (lambda: aq.prepare(layer, allow_list=[nn.Linear]), "allow_list"),
        (lambda: aq.convert(layer, convert_custom_config_dict={1: 2}), "convert_custom_config_dict"),
        (lambda: torch.export.save(torch.export.export(layer, (torch.ones(1, 2),)), "x", opset_version={"a": 1}),
         "opset_version"),
        (lambda: torch.fx.symbolic_trace(layer).print_readable(colored=True), "colored"),
        (lambda: torch.fx.symbolic_trace(layer).graph.python_code(verbose=True), "verbose"),
        (lambda: torch.eye(2).to_sparse().to_dense(masked_grad=False), "masked_grad"),
        (lambda: torch.compiler.set_enable_guard_collectives(True), "leave the call out"),
        (lambda: torch.utils.data.datapipes.iter.ShardingFilter([1], 1), "sharding_group_filter"),
    ]:  # fmt: skip
        with pytest.raises(NotImplementedError, match=says):
            call()
    for call in (lambda: aq.get_default_qconfig("x86", 1), lambda: aq.get_default_qat_qconfig("x86", 0)):
        with pytest.raises(AssertionError, match="[Vv]ersion"):
            call()
    with pytest.raises(TypeError):
        torch.fx.symbolic_trace(layer).graph.python_code("self", no_such=1)
    with pytest.warns(UserWarning, match="mods"):
        torch.utils.flop_counter.FlopCounterMode(layer, display=False)


def test_opened_files_have_a_length_if_told(tmp_path):
    from pytorchlike.utils.data.datapipes.iter import FileOpener

    path = tmp_path / "a.txt"
    path.write_text("hello")
    assert len(FileOpener([str(path)], length=1)) == 1
    with pytest.raises(TypeError, match="valid length"):
        len(FileOpener([str(path)]))
    for _, file in FileOpener([str(path)]):
        with file:
            assert file.read() == "hello"


def test_dim_order_says_when_it_is_ambiguous():
    x = torch.zeros(2, 3, 5, 7)
    assert x.transpose(1, 2).dim_order(ambiguity_check=True) == (0, 2, 1, 3)
    one = torch.zeros(1, 2, 3, 4)
    assert one.dim_order() == (0, 1, 2, 3) == one.dim_order(ambiguity_check=[torch.contiguous_format])
    for asked in (True, [torch.channels_last]):
        with pytest.raises(RuntimeError, match="unique dim order"):
            one.dim_order(ambiguity_check=asked)
    with pytest.raises(TypeError, match="bool or a list"):
        x.dim_order(ambiguity_check="any")


def test_what_there_is_without_the_device():
    assert torch.xpu.get_arch_list() == [] and torch.xpu.get_gencode_flags() == "" and not torch.xpu.default_generators
    assert not torch.xpu.is_tf32_supported() and torch.xpu.memory_snapshot() == []
    with torch.xpu.device_of(torch.ones(1)):
        torch.xpu.set_stream(None)
    torch.cuda.check_error(torch.cuda.cudaStatus.SUCCESS)
    with pytest.raises(torch.cuda.CudaError, match="not ready"):
        torch.cuda.check_error(34)
    layer, x = nn.Linear(2, 2), torch.ones(1, 2)
    assert torch.cuda.graphs.make_graphed_callables(layer, (x,)) is layer
    layer.register_forward_hook(lambda *a: None)
    with pytest.raises(RuntimeError, match="hooks"):
        torch.cuda.make_graphed_callables(layer, (x,))


def test_records_of_memory_by_time():
    class Record:
        def __init__(self, at):
            self.at = at

        def start_ns(self):
            return self.at

    assert [r.at for r in MemRecordsAcc([Record(5), Record(1), Record(9)]).in_interval(2, 9)] == [5, 9]


def test_rules_of_an_operator_for_a_mode():
    @torch.library.custom_op("small_names::double", mutates_args=())
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    @torch.library.register_torch_dispatch("small_names::double", Mode)
    def rule(mode, func, types, args, kwargs):
        assert isinstance(mode, Mode) and str(func) == "small_names.double.default"
        return func(*args) * 10

    with Mode():
        assert double(torch.ones(1)).tolist() == [20]
    assert double(torch.ones(1)).tolist() == [2]


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_functions_with_the_arguments_of_their_operators():
    """``torch.dropout`` and its kin take other arguments than in ``torch.nn.functional``; reductions are numbers."""
    F, aten, C = nn.functional, torch.ops.aten, torch._C._nn
    x, y = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.25, -3.0]]), torch.tensor([[0.25, 0.5, 1.0], [0.0, 1.0, 0.5]])
    w, sign = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, -1.0])
    assert torch.equal(torch.dropout(x, 0.5, False), x) and not torch.dropout(x, 1.0, True).any()
    assert torch.equal(torch.embedding(x, torch.tensor([1])), x[1:])
    torch.testing.assert_close(
        torch.batch_norm(x, w, None, None, None, True, 0.1, 1e-5, False), F.batch_norm(x, None, None, w, None, True)
    )
    pairs = [
        ("binary_cross_entropy_with_logits", (x, y), {}), ("kl_div", (x, y), {}), ("hinge_embedding_loss", (x, y), {}),
        ("margin_ranking_loss", (x[:, 0], x[:, 1], sign), {}), ("triplet_margin_loss", (x, y, x.flip(0)), {}),
        ("cosine_embedding_loss", (x, y, sign), {}),
    ]  # fmt: skip
    for name, args, more in pairs:
        wants = [getattr(F, name)(*args, reduction=r, **more) for r in ("none", "mean", "sum")]
        for k, want in enumerate(wants):
            torch.testing.assert_close(getattr(torch, name)(*args, reduction=k, **more), want)
            torch.testing.assert_close(getattr(aten, name)(*args, reduction=k, **more), want)
        torch.testing.assert_close(getattr(torch, name)(*args), wants[0])  # of torch itself: nothing is reduced
        torch.testing.assert_close(getattr(aten, name)(*args), wants[1])
    torch.testing.assert_close(C.mse_loss(x, y, 0), F.mse_loss(x, y, reduction="none"))
    torch.testing.assert_close(C.gelu(x), F.gelu(x))
    out, mean, rstd = torch.native_layer_norm(x, (3,), w, None, 1e-5)
    torch.testing.assert_close(out, F.layer_norm(x, (3,), w))
    v = torch._weight_norm(x, torch.tensor([[2.0], [3.0]]), 0)
    torch.testing.assert_close(v.norm(dim=1), torch.tensor([2.0, 3.0]))
    p = x.softmax(1)
    torch.testing.assert_close(torch._softmax_backward_data(y, p, 1, p.dtype), p * (y - (p * y).sum(1, keepdim=True)))


def test_private_functions_that_programs_call():
    rows, columns = torch.tensor([0, 0, 1, 3, 3]), torch.tensor([1, 0, 2, 2, 1])
    starts = torch._convert_indices_from_coo_to_csr(rows, 5)
    assert starts.tolist() == [0, 2, 3, 3, 5, 5]
    assert torch._convert_indices_from_csr_to_coo(starts, columns).tolist() == [rows.tolist(), columns.tolist()]
    flipped = torch._convert_indices_from_csr_to_coo(starts, columns, out_int32=True, transpose=True)
    assert flipped.tolist() == [columns.tolist(), rows.tolist()] and flipped.dtype == torch.int32
    assert torch._shape_as_tensor(torch.ones(2, 0)).tolist() == [2, 0]
    from pytorchlike.onnx.operators import reshape_from_tensor_shape, shape_as_tensor

    reshaped = reshape_from_tensor_shape(torch.arange(6), shape_as_tensor(torch.ones(3, 2)))
    assert reshaped.tolist() == [[0, 1], [2, 3], [4, 5]]
    for bad in (torch.tensor([2.0, 3.0]), torch.tensor([[2, 3]]), torch.tensor([2, 4])):
        with pytest.raises(RuntimeError):
            reshape_from_tensor_shape(torch.arange(6), bad)
    torch._assert(True, "")
    torch._assert_async(torch.tensor(1))
    with pytest.raises(AssertionError, match="no"):
        torch._assert(False, "no")
    with pytest.raises(RuntimeError, match="no"):
        torch._assert_async(torch.tensor(0), "no")


def test_names_that_programs_import(monkeypatch):
    from pytorchlike.hub import _get_torch_home
    from pytorchlike.quantization.fuse_modules import fuse_modules
    from pytorchlike.quantization.observer import MinMaxObserver
    from pytorchlike.utils._pytree import tree_is_leaf

    assert fuse_modules is torch.quantization.fuse_modules is torch.ao.quantization.fuse_modules
    assert MinMaxObserver is torch.ao.quantization.MinMaxObserver
    monkeypatch.setenv("TORCH_HOME", "/somewhere")
    assert issubclass(torch.jit.TracerWarning, Warning) and _get_torch_home() == "/somewhere"
    assert not torch.cuda._is_in_bad_fork() and torch._C._LinAlgError is torch.linalg.LinAlgError
    assert torch._C._get_cudnn_enabled() is torch.backends.cudnn.enabled
    assert tree_is_leaf(1) and not tree_is_leaf([1]) and tree_is_leaf([1], is_leaf=lambda x: True)


def test_asarray():
    """Shares memory, copies, detaches or takes part in the graph, as it is told."""
    a = torch.ones(3, requires_grad=True)
    b = a + 1
    assert torch.asarray(a) is a and torch.asarray(b) is b
    assert torch.asarray(b, requires_grad=False).is_leaf and torch.asarray(b, requires_grad=True) is b
    copy = torch.asarray(b, copy=True)
    assert copy is not b and copy.grad_fn.name() == "CloneBackward0"
    array = np.ones(2)
    shared, own = torch.asarray(array), torch.asarray(array, copy=True, dtype=torch.float32)
    array[0] = 7
    assert shared.tolist() == [7, 1] and own.tolist() == [1, 1] and own.dtype == torch.float32
    numbers = array_of("h", [1, 2])
    view = torch.asarray(numbers, dtype=torch.int16)
    numbers[0] = 5
    assert view.tolist() == [5, 2]
    assert torch.asarray([1, 2.5], requires_grad=True).requires_grad and torch.asarray(np.float64(0.5)).item() == 0.5
    for other in ([1, 2], 3):
        with pytest.raises(ValueError, match="can't alias arbitrary sequence"):
            torch.asarray(other, copy=False)
    with pytest.raises(ValueError, match="can't alias tensor with dtype"):
        torch.asarray(a, dtype=torch.float64, copy=False)


def test_capsules():
    x = torch.arange(3.0)
    capsule = torch.utils.dlpack.to_dlpack(x)
    assert torch.from_dlpack(capsule).tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="can be taken once"):
        torch.from_dlpack(capsule)


def test_what_linalg_has_replaced_says_so():
    eye, ones = torch.eye(3), torch.ones(3)
    lu, pivots = torch.linalg.lu_factor(eye)
    for name, call in {
        "qr": lambda: torch.qr(eye), "cholesky": lambda: eye.cholesky(), "lu": lambda: torch.lu(eye),
        "lu_solve": lambda: torch.lu_solve(eye, lu, pivots), "chain_matmul": lambda: torch.chain_matmul(eye, eye),
        "triangular_solve": lambda: torch.triangular_solve(eye, eye), "cross": lambda: torch.cross(ones, ones),
        "range": lambda: torch.range(1, 4), "set_default_tensor_type":
            lambda: torch.set_default_tensor_type(torch.FloatTensor),
    }.items():  # fmt: skip
        with pytest.warns(UserWarning, match=rf"torch\.{name}\b.* deprecated"):
            call()


def test_names_of_results_and_of_subclasses():
    class Mine(torch.Tensor):
        pass

    made = torch.ones(2).as_subclass(Mine)
    assert repr(made) == "Mine([1., 1.])" and repr(made + 1) == "Mine([2., 2.])"
    assert repr(torch.nn.Parameter(torch.ones(1))) == "Parameter containing:\ntensor([1.], requires_grad=True)"
    assert torch.Tensor.__repr__(torch.nn.Parameter(torch.ones(1))) == "tensor([1.], requires_grad=True)"
    of_mine = torch.nn.Parameter(made, requires_grad=False)
    assert type(of_mine) is Mine and repr(of_mine) == "Parameter(Mine([1., 1.]))"

    class Own(torch.nn.Parameter):
        pass

    assert repr(Own(torch.ones(1))) == "Parameter containing:\nParameter(Own([1.], requires_grad=True))"
    with pytest.raises(RuntimeError, match="passed in a <class 'str'>"):
        "a" in made  # noqa: B015
    found = torch.histogramdd(torch.tensor([[0.0, 1.0]]), bins=[1, 1])
    assert repr(found).startswith("torch.return_types.histogramdd(\nhist=")
    assert torch.nn.functional.grad is torch.nn.grad and torch.masked._ops.sum is torch.masked.sum
    source = torch.Generator()
    assert source.set_state(source.get_state()) is source
    torch.compiler.set_default_backend("eager")
    assert torch.compiler.get_default_backend() == "eager"
    torch.compiler.set_default_backend(None)
    assert torch.compiler.get_default_backend() == "inductor"
    found = torch.linalg.lstsq(torch.eye(4, 3)[None], torch.ones(2, 4, 2), driver="gelsd")
    assert [tuple(part.shape) for part in found] == [(2, 3, 2), (2, 2), (1,), (1, 3)]


def test_extremes_by_either_name_in_sparse_products():
    a = torch.tensor([[1.0, 2.0], [0.0, 3.0]]).to_sparse_csr()
    b = torch.tensor([[1.0, -1.0], [2.0, 1.0]])
    for short, long in (("max", "amax"), ("min", "amin")):
        assert torch.equal(torch.sparse.mm(a, b, short), torch.sparse.mm(a, b, long))


def test_leaves_of_trees_are_found_with_their_paths():
    from pytorchlike.utils import _pytree

    class Pair:
        def __init__(self, x, y):
            self.x, self.y = x, y

    keys = (_pytree.GetAttrKey("x"), _pytree.GetAttrKey("y"))
    _pytree.register_pytree_node(Pair, lambda p: ([p.x, p.y], None), lambda xs, _: Pair(*xs),
                                 flatten_with_keys_fn=lambda p: (list(zip(keys, (p.x, p.y), strict=True)), None))
    tree = {"a": [1, (2,)], "p": Pair(3, {"k": 4})}
    pairs, spec = _pytree.tree_flatten_with_path(tree)
    assert [(_pytree.keystr(path), leaf) for path, leaf in pairs] == [
        ("['a'][0]", 1), ("['a'][1][0]", 2), ("['p'].x", 3), ("['p'].y['k']", 4)]  # fmt: skip
    assert _pytree.key_get(tree, pairs[3][0]) == 4 and spec == _pytree.tree_structure(tree)
    named = _pytree.tree_map_with_path(lambda path, x, y: (_pytree.keystr(path), x + y), {"a": [1]}, {"a": [5]})
    assert named == {"a": [("['a'][0]", 6)]}


def test_the_base_of_tensors_is_found():
    assert isinstance(torch.tensor(1), torch._C.TensorBase) and torch._tensor.Tensor is torch.Tensor


def test_draws_that_programs_ask_for_by_inner_names():
    torch.manual_seed(0)
    shares = torch._sample_dirichlet(torch.tensor([0.2, 0.2]))
    assert shares.shape == (2,) and abs(shares.sum().item() - 1) < 1e-6
    assert (torch._standard_gamma(torch.ones(3)) > 0).all()


def test_settings_of_backends_can_be_closed_but_for_blocks():
    backends = torch.backends
    opened = getattr(backends, "__allow_nonbracketed_mutation")  # as MONAI sets cuDNN's flags
    assert not backends.flags_frozen()
    with opened():
        backends.disable_global_flags()
        assert backends.flags_frozen()
        with pytest.raises(RuntimeError, match="not allowed to set torch.backends.cudnn flags"):
            backends.cudnn.benchmark = True
        with backends.cudnn.flags(benchmark=True):
            assert backends.cudnn.benchmark and backends.flags_frozen()
        with opened():
            backends.cudnn.benchmark = False
    assert not backends.flags_frozen()  # the block puts back what was before


def test_a_function_for_the_autograd_key_is_called_first():
    lib = torch.library.Library("taped_mine", "DEF")
    lib.define("double(Tensor x) -> Tensor")
    lib.impl("double", lambda x: x * 2, "CPU")

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            with torch._C._AutoDispatchBelowAutograd():
                return torch.ops.taped_mine.double(x)

        @staticmethod
        def backward(ctx, g):
            return g * 7  # not the derivative, so that one sees who is asked

    lib.impl("double", Double.apply, "Autograd")
    x = torch.ones(3, requires_grad=True)
    y = torch.ops.taped_mine.double(x)
    y.sum().backward()
    assert y.tolist() == [2.0] * 3 and x.grad.tolist() == [7.0] * 3
    with pytest.raises(NotImplementedError, match="ADInplaceOrView"):
        lib.impl("double", Double.apply, "ADInplaceOrView")


def test_an_operator_that_may_launch_triton_kernels_is_one_as_any_other():
    @torch.library.triton_op("taped_mine::triple", mutates_args=())
    def triple(x: torch.Tensor) -> torch.Tensor:
        return x * 3

    assert torch.ops.taped_mine.triple(torch.ones(2)).tolist() == [3.0, 3.0] == triple(torch.ones(2)).tolist()
    with pytest.raises(NotImplementedError, match="Pallas"):
        torch.library.wrap_triton(lambda x: x)


def test_parts_of_containers_by_their_inner_names():
    from pytorchlike.utils import _pytree as tree

    Point = collections.namedtuple("Point", "x y")
    assert tree._namedtuple_flatten(Point(1, 2)) == ([1, 2], Point)
    assert tree._namedtuple_unflatten([3, 4], Point) == Point(3, 4)
    nested = {"a": (1, 2.0), "b": collections.deque([Point(3, "s")], 5), "c": collections.defaultdict(int, k=4)}
    leaves, spec = tree.tree_flatten(nested)
    assert leaves == [1, 2.0, 3, "s", 4] and tree.tree_unflatten(leaves, spec) == nested
    assert tree.tree_all_only(int, lambda n: n > 0, nested) and not tree.tree_any_only(str, str.isupper, nested)
    assert tree.arg_tree_leaves(1, [2], k=(3,)) == [1, 2, 3]
    assert tree.is_namedtuple(Point) and tree.is_namedtuple_instance(Point(1, 2)) and not tree.is_namedtuple((1, 2))
    seen = []
    assert tree.tree_map_only_(str, seen.append, nested) is nested and seen == ["s"]


def test_names_of_torchscript_that_libraries_import():
    """brevitas asks if TorchScript is on; copies of torch.fx test for its objects and for who calls what by a bool."""
    from pytorchlike._C import ScriptObject
    from pytorchlike._jit_internal import boolean_dispatch, boolean_dispatched
    from pytorchlike.jit import _state

    assert _state._enabled and not isinstance(torch.nn.Linear(1, 1), ScriptObject)
    _state.disable()
    try:
        assert not _state._enabled
    finally:
        _state.enable()
    yes, no = (lambda x, flag=False: ("yes", x)), (lambda x, flag=False: ("no", x))
    fn = boolean_dispatch("flag", 1, False, yes, no, "m", "f")
    assert fn(1) == ("no", 1) and fn(1, flag=True) == fn(1, True) == ("yes", 1)
    told = boolean_dispatched[fn]
    assert told["if_true"] is yes and told["if_false"] is no and (told["index"], told["arg_name"]) == (1, "flag")


def test_names_around_graphs_of_inner_operators_that_libraries_import():
    """nequip imports them with its models, for a compilation that it is not asked for."""
    from pytorchlike._decomp import core_aten_decompositions, get_decompositions
    from pytorchlike._inductor import codecache
    from pytorchlike.optim.swa_utils import _group_tensors_by_device_and_dtype as grouped

    assert core_aten_decompositions() == get_decompositions([torch.ops.aten.add]) == {} and codecache.__doc__
    a, b = torch.ones(1), torch.ones(1, dtype=torch.float64)
    assert [lists for lists, _ in grouped([[a, b], [a, b]]).values()] == [[[a], [a]], [[b], [b]]]


def test_optimizers_may_lift_a_limit_of_pytorchs_compiler():
    with torch._dynamo.utils.disable_cache_limit():
        pass
