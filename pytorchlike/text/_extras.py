"""Libraries that are imported when they are first needed."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["wanted"]

#: What installs a module, where its extra is not "text".
_OTHERS = {"spacy": "pip install spacy", "sacremoses": "pip install sacremoses", "nltk": "pip install nltk",
           "revtok": "pip install revtok"}  # fmt: skip


def wanted(module: str, purpose: str) -> ModuleType:
    """The module; ImportError that says what wants it and how to install it if it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        how = _OTHERS.get(module, 'pip install "pytorchlike[text]"')
        raise ImportError(f"{purpose} needs {module}: {how}") from error
