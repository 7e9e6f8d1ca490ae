"""``torch.export``: a model as a program that needs none of its Python, and files of it.

:func:`export` traces a module once, for the shapes and dtypes of some arguments, into StableHLO (``jax.export``); the
program is run by :meth:`ExportedProgram.module`, on CPUs, GPUs and TPUs, and can be differentiated. Shapes are those
of the arguments: a program for other sizes is another export, so ``dynamic_shapes`` raises NotImplementedError.
"""

from ._program import Dim as Dim
from ._program import ExportedProgram as ExportedProgram
from ._program import dims as dims
from ._program import draft_export as draft_export
from ._program import export as export
from ._program import load as load
from ._program import register_dataclass as register_dataclass
from ._program import save as save
from ._program import unflatten as unflatten

__all__ = ["Dim", "ExportedProgram", "dims", "draft_export", "export", "load", "register_dataclass", "save",
           "unflatten"]
