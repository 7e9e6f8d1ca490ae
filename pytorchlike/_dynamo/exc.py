"""``torch._dynamo.exc``: errors of PyTorch's bytecode compiler that programs catch; export raises ``UserError``."""

__all__ = ["TorchDynamoException", "Unsupported", "UserError"]


class TorchDynamoException(RuntimeError):
    """Any error of the compiler."""


class Unsupported(TorchDynamoException):
    """Code that the compiler could not follow."""


class UserError(TorchDynamoException):
    """A program asks for what cannot be: ``dynamic_shapes`` that an exported module does not keep to."""
