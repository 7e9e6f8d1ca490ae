"""Tracing of tensors into graphs: never active."""

from typing import Any, NoReturn

__all__ = ["get_proxy_mode", "make_fx"]


def make_fx(f: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: operators are not dispatched one by one; see ``torch.fx.symbolic_trace``."""
    raise NotImplementedError("make_fx: what is recorded here is a JAX program, no graph of PyTorch's inner operators; "
                              "torch.fx.symbolic_trace makes a graph of modules and functions, "
                              "torch.compiler.report tells what was recorded")  # fmt: skip


def get_proxy_mode() -> None:
    """None: nothing is traced."""
    return None
