"""Quantisation (``torch.ao.quantization``), in the style where a program marks its layers itself.

Dynamic: :func:`quantize_dynamic`. After training: a model with QuantStub, DeQuantStub and ``qconfig``, :func:`prepare`,
data, :func:`convert`. In training: :func:`prepare_qat`, training, :func:`convert`. The styles on graphs
(``quantize_fx``, ``quantize_pt2e``) are not there.
"""

from .fake_quantize import *  # noqa: F403
from .fuse_modules import *  # noqa: F403
from .observer import *  # noqa: F403
from .qconfig import *  # noqa: F403
from .quantize import *  # noqa: F403
from .stubs import *  # noqa: F403
