"""``torch._dynamo.exc``: errors of PyTorch's bytecode compiler that programs catch; nothing here raises them."""

__all__ = ["TorchDynamoException", "Unsupported"]


class TorchDynamoException(RuntimeError):
    """Any error of the compiler."""


class Unsupported(TorchDynamoException):
    """Code that the compiler could not follow."""
