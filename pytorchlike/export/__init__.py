"""``torch.export``: a model as a program that needs none of its Python, and files of it.

:func:`export` traces a module once, for the shapes and dtypes of some arguments, into StableHLO (``jax.export``); the
program is run by :meth:`ExportedProgram.module`, on CPUs, GPUs and TPUs, and can be differentiated. Shapes are those
of the arguments: a program for other sizes is another export, so ``dynamic_shapes`` raises NotImplementedError.
"""

from ._program import Dim as Dim
from ._program import ExportedProgram as ExportedProgram
from ._program import export as export
from ._program import load as load
from ._program import save as save

__all__ = ["Dim", "ExportedProgram", "export", "load", "save"]
