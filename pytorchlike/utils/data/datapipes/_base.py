"""Pipes, and how functional forms are found."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from ..dataset import Dataset, IterableDataset

__all__ = ["DFIterDataPipe", "DataChunk", "IterDataPipe", "MapDataPipe", "argument_validation", "functional_datapipe",
           "guaranteed_datapipes_determinism", "non_deterministic", "runtime_validation", "runtime_validation_disabled"]


class _Forms:
    """Functional forms: ``pipe.name(...)`` is ``Class(pipe, ...)``, for the classes registered under a name."""

    functions: ClassVar[dict[str, Callable[..., Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        made = type(self).functions.get(name)
        if made is None:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        return functools.partial(made, self)

    @classmethod
    def register_function(cls, function_name: str, function: Callable[..., Any]) -> None:
        """Let ``pipe.function_name(...)`` be ``function(pipe, ...)``."""
        cls.functions[function_name] = function

    @classmethod
    def register_datapipe_as_function(cls, function_name: str, cls_to_register: Callable[..., Any],
                                      enable_df_api_tracing: bool = False) -> None:
        """As ``register_function``, once for each name. Exception if it is taken."""
        if function_name in cls.functions:
            raise Exception(f"Unable to add DataPipe function name {function_name} as it is already taken")
        cls.functions[function_name] = cls_to_register


class IterDataPipe(_Forms, IterableDataset):
    """A dataset that is iterated over; subclasses give ``__iter__``. ``functional_datapipe`` names forms of it."""

    functions: ClassVar[dict[str, Callable[..., Any]]] = {}

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __repr__(self) -> str:
        return type(self).__name__

    def reset(self) -> None:
        """Called by subclasses that keep something between iterations; nothing to do here."""


class DFIterDataPipe(IterDataPipe):
    """A pipe of data frames. No pipe here is one."""


class MapDataPipe(_Forms, Dataset):
    """A dataset with an index; subclasses give ``__getitem__`` and ``__len__``."""

    functions: ClassVar[dict[str, Callable[..., Any]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return type(self).__name__


class DataChunk(list):
    """A batch of samples; ``raw_iterator()`` goes through them."""

    def raw_iterator(self) -> Iterator[Any]:
        """The samples."""
        return iter(self)

    def as_str(self, indent: str = "") -> str:
        """The samples in brackets."""
        return f"{indent}[{', '.join(map(str, self))}]"


class functional_datapipe:
    """``@functional_datapipe("name")``: pipes of the decorated class's kind get ``.name(...)``."""

    def __init__(self, name: str, enable_df_api_tracing: bool = False) -> None:
        self.name = name

    def __call__(self, cls: type) -> type:
        for kind in (IterDataPipe, MapDataPipe):
            if isinstance(cls, type) and issubclass(cls, kind):
                kind.register_datapipe_as_function(self.name, cls)
                return cls
        raise TypeError(f"functional_datapipe: {cls!r} is neither an IterDataPipe nor a MapDataPipe")


class guaranteed_datapipes_determinism:
    """Within this, making a pipe that is marked as non-deterministic raises TypeError."""

    on = False

    def __enter__(self) -> None:
        self._before, guaranteed_datapipes_determinism.on = guaranteed_datapipes_determinism.on, True

    def __exit__(self, *error: Any) -> None:
        guaranteed_datapipes_determinism.on = self._before


class non_deterministic:
    """A decorator for pipes whose order varies, always or (given a function) for arguments for which it says so."""

    def __init__(self, arg: type | Callable[..., bool]) -> None:
        self.cls: type | None = arg if isinstance(arg, type) else None
        self.says: Callable[..., bool] = (lambda *a, **k: True) if self.cls else arg  # type: ignore[assignment]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.cls is None:  # @non_deterministic(function)
            kind = args[0]
            return self._made(kind)
        return self._made(self.cls)(*args, **kwargs)

    def _made(self, kind: type) -> Callable[..., Any]:
        @functools.wraps(kind, updated=())
        def make(*args: Any, **kwargs: Any) -> Any:
            if guaranteed_datapipes_determinism.on and self.says(*args, **kwargs):
                raise TypeError(f"{kind.__name__} is non-deterministic, so it cannot be made within "
                                "guaranteed_datapipes_determinism()")
            return kind(*args, **kwargs)

        return make


def argument_validation(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: annotations of pipes are not checked when they are made."""
    return f


def runtime_validation(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: samples are not checked against annotations."""
    return f


class runtime_validation_disabled:
    """A context without the checks of :func:`runtime_validation`, of which there are none."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: Any) -> None:
        return None
