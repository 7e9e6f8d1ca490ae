"""``torch.fx.proxy``."""

from . import Proxy as Proxy
from . import Tracer as TracerBase  # noqa: F401
