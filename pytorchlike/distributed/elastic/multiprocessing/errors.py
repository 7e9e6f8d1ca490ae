"""``record``: a main function whose exception is written to a file, where a launcher asks for that."""

from __future__ import annotations

import functools
import json
import os
import time
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["record"]


def record(fn: Callable[..., Any], error_handler: Any = None) -> Callable[..., Any]:
    """``fn``; an exception of it is also written as JSON to the file that TORCHELASTIC_ERROR_FILE names.

    error_handler: NotImplementedError for anything else than None.
    """
    if error_handler is not None:
        raise NotImplementedError("record: error_handler is a part of PyTorch's launcher; see TORCHELASTIC_ERROR_FILE")

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except Exception as error:
            path = os.environ.get("TORCHELASTIC_ERROR_FILE")
            if path:
                told = {"message": f"{type(error).__name__}: {error}",
                        "extraInfo": {"py_callstack": traceback.format_exc(), "timestamp": str(time.time())}}
                with open(path, "w") as file:
                    json.dump({"message": told}, file)
            raise

    return wrapped
