"""``torch._C._distributed_rpc``: the class that libraries compare with before they follow a reference."""


class PyRRef:
    """A reference to a value in another process. There are none: remote calls are missing."""

    def __new__(cls, *args: object, **kwargs: object) -> "PyRRef":
        raise NotImplementedError("torch.distributed.rpc: remote calls and references are missing; exchange tensors "
                                  "through process groups (torch.distributed)")  # fmt: skip
