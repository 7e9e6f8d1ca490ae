"""``torch.export``: a model as a program that needs none of its Python, and files of it.

:func:`export` runs a module on shapes and dtypes and keeps what it does: as StableHLO (``jax.export``) for the sizes of
the arguments, for CPUs, GPUs and TPUs; with ``dynamic_shapes`` as a list of operator calls whose sizes are expressions
of the open ones. The program is run by :meth:`ExportedProgram.module`, and can be differentiated.
"""

from ._dims import AdditionalInputs as AdditionalInputs
from ._dims import Dim as Dim
from ._dims import ShapesCollection as ShapesCollection
from ._dims import dims as dims
from ._files import load as load
from ._files import save as save
from ._graph import ExportGraphSignature as ExportGraphSignature
from ._program import ExportedProgram as ExportedProgram
from ._program import draft_export as draft_export
from ._program import export as export
from ._program import register_dataclass as register_dataclass
from ._program import unflatten as unflatten

__all__ = ["AdditionalInputs", "Dim", "ExportGraphSignature", "ExportedProgram", "ShapesCollection", "dims",
           "draft_export", "export", "load", "register_dataclass", "save", "unflatten"]
