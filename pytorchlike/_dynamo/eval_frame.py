"""``torch._dynamo.eval_frame``: what ``torch.compile`` makes of a Module, for ``isinstance``."""

from ..capture import OptimizedModule

__all__ = ["OptimizedModule"]
