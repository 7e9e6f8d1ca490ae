"""``torch._dynamo.exc``: errors of PyTorch's bytecode compiler that programs catch; export raises ``UserError``."""

from ..capture.replay import TorchDynamoException as TorchDynamoException
from ..capture.replay import Unsupported as Unsupported

__all__ = ["TorchDynamoException", "Unsupported", "UserError"]


class UserError(TorchDynamoException):
    """A program asks for what cannot be: ``dynamic_shapes`` that an exported module does not keep to."""
