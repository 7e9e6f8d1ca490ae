"""Text: vocabularies, tokenizers, transforms and data sets under torchtext's names.

Under ``python -m pytorchlike`` and after ``install_as_torch()``, ``import torchtext`` gives this package: that of
torchtext's last version, 0.18, with the ``Field``s and iterators of 0.8 beside it (``legacy``, and in ``data``).
Tokenizers and word pieces by other libraries want ``pip install "pytorchlike[text]"``.
"""

from .._hook import VERSIONS
from . import data, datasets, functional, legacy, models, transforms, utils, vocab

__all__ = [
    "data", "datasets", "disable_torchtext_deprecation_warning", "functional", "legacy", "models", "transforms",
    "utils", "vocab",
]  # fmt: skip

#: The torchtext that is followed.
__version__ = VERSIONS["torchtext"]


def disable_torchtext_deprecation_warning() -> None:
    """For programs that call it; there is no such warning here."""
