"""``torch.utils._python_dispatch``: there is no dispatcher below autograd that Python could take part in."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["TorchDispatchMode", "is_traceable_wrapper_subclass"]


class TorchDispatchMode:
    """The class that no mode is, for programs that ask; making one raises NotImplementedError.

    Operations are recorded and become one XLA program, forward and backward together: there is no moment at which each
    could be handed to Python. ``torch.overrides.TorchFunctionMode`` sees the calls that a program makes,
    ``torch.utils.flop_counter`` counts, ``torch.autograd.graph.saved_tensors_hooks`` sees what gradients need.
    """

    def __init__(self, _dispatch_key: Any = None) -> NoReturn:
        raise NotImplementedError(
            "TorchDispatchMode: operations are compiled together and never handed to Python one by one; "
            "torch.overrides.TorchFunctionMode sees the calls that a program makes"
        )


def is_traceable_wrapper_subclass(t: object) -> bool:
    """False: no tensor class has a ``__torch_dispatch__``."""
    return False
