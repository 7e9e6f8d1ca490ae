"""Names that ask for little: hints that are kept, and what there is without a device of a kind."""

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
    with graph.region_activation_memory_budget(0.5):
        pass
    with pytest.raises(ValueError, match=r"\[0, 1\]"), graph.region_activation_memory_budget(2.0):
        pass
    with pytest.raises(TypeError):
        graph.set_override_stale_capture_stream("yes")
    torch.accelerator.empty_host_cache()


def test_what_there_is_without_the_device():
    assert torch.xpu.get_arch_list() == [] and torch.xpu.get_gencode_flags() == "" and not torch.xpu.default_generators
    assert not torch.xpu.is_tf32_supported() and torch.xpu.memory_snapshot() == []
    with torch.xpu.device_of(torch.ones(1)):
        torch.xpu.set_stream(None)
    torch.cuda.check_error(torch.cuda.cudaStatus.SUCCESS)
    with pytest.raises(torch.cuda.CudaError, match="not ready"):
        torch.cuda.check_error(34)
    layer, x = nn.Linear(2, 2), torch.ones(1, 2)
    assert torch.cuda.make_graphed_callables(layer, (x,)) is layer
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
