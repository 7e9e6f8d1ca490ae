"""Tensors that know what they are: pictures, videos, masks, boxes, points (``torchvision.tv_tensors``).

``transforms.v2`` treats each kind in its own way. Operations on them return plain tensors, except ``clone``, ``to``,
``detach``, ``requires_grad_`` and ``pin_memory``; ``wrap`` makes a result what another tensor is.
"""

from __future__ import annotations

from contextlib import nullcontext
from enum import Enum
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor

from ..transforms import _pil
from ..transforms import functional as F

__all__ = [
    "BoundingBoxFormat", "BoundingBoxes", "Image", "KeyPoints", "Mask", "TVTensor", "Video",
    "is_rotated_bounding_format", "set_return_type", "wrap",
]  # fmt: skip


_NEXT = "\n" + " " * len("tensor(")


class TVTensor(Tensor):
    """The base of these tensors; ``_about`` names the attributes that go with the elements."""

    _about: tuple[str, ...] = ()
    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def _of(cls, data: Any, dtype: Any, device: Any, requires_grad: bool | None) -> Any:
        if requires_grad is None:
            requires_grad = data.requires_grad if isinstance(data, Tensor) else False
        if device is None and isinstance(data, Tensor):
            device = data.device
        tensor = torch.as_tensor(plain(data), dtype=dtype, device=device)
        return tensor.requires_grad_(requires_grad).as_subclass(cls)

    def clone(self, *args: Any, **kwargs: Any) -> Any:
        """A copy of the same kind."""
        return wrap(plain(self).clone(*args, **kwargs), like=self)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Of another type or in another place, of the same kind."""
        return wrap(plain(self).to(*args, **kwargs), like=self)

    def detach(self) -> Any:
        """Without the tape, of the same kind."""
        return wrap(plain(self).detach(), like=self)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """As of any tensor."""
        super().requires_grad_(requires_grad)
        return self

    def pin_memory(self, *args: Any, **kwargs: Any) -> Any:
        """As of any tensor, of the same kind."""
        return wrap(plain(self).pin_memory(*args, **kwargs), like=self)

    def __deepcopy__(self, memo: dict) -> Any:
        return wrap(plain(self).detach().clone().requires_grad_(self.requires_grad), like=self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuilt, (type(self), plain(self), {name: getattr(self, name) for name in self._about})

    def __repr__(self, **kwargs: Any) -> str:
        about = "".join(f", {name}={getattr(self, name)}" for name in self._about)
        name = type(self).__name__
        shown = repr(plain(self))[len("tensor(") : -1]  # its further lines begin below the first bracket
        return f"{name}({shown.replace(_NEXT, _NEXT[:-7] + ' ' * (len(name) + 1))}{about})"


def _plainly(name: str) -> Any:
    """A method whose result is a plain tensor, though ``to`` gives one of the same kind."""

    def method(self: TVTensor, *args: Any, **kwargs: Any) -> Any:
        return getattr(plain(self), name)(*args, **kwargs)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"As of any tensor: ``{name}`` gives a plain one."
    return method


for _name in ("half", "bfloat16", "float", "double", "bool", "byte", "char", "short", "int", "long", "type", "type_as",
              "contiguous", "cpu", "cuda"):  # fmt: skip
    setattr(TVTensor, _name, _plainly(_name))


def plain(data: Any) -> Any:
    """The tensor without its kind; other objects as they are."""
    return data.as_subclass(Tensor) if isinstance(data, TVTensor) else data


def _rebuilt(cls: type[TVTensor], tensor: Tensor, about: dict[str, Any]) -> Any:
    made = tensor.as_subclass(cls)
    for name, value in about.items():
        setattr(made, name, value)
    return made


def wrap(wrappee: Tensor, *, like: Any, **kwargs: Any) -> Any:
    """``wrappee`` as a tensor of the kind of ``like``, with its attributes except those given."""
    if not isinstance(like, TVTensor):
        return wrappee
    known = set(like._about)
    if not set(kwargs) <= known:
        raise TypeError(f"{type(like).__name__} has no attribute {sorted(set(kwargs) - known)[0]!r}")
    about = {name: kwargs.get(name, getattr(like, name)) for name in like._about}
    if isinstance(about.get("format"), str):
        about["format"] = BoundingBoxFormat[about["format"].upper()]
    return _rebuilt(type(like), plain(wrappee), about)


def set_return_type(return_type: str) -> Any:
    """What operations return: "Tensor". Also a context manager.

    Raises NotImplementedError for "TVTensor": operations on subclasses of Tensor give plain tensors here; ``wrap`` what
    should keep its kind. ValueError for other names.
    """
    if return_type == "TVTensor":
        raise NotImplementedError(
            "operations on tv_tensors return plain tensors; use tv_tensors.wrap(result, like=...) to keep the kind"
        )
    if return_type != "Tensor":
        raise ValueError(f"return_type must be 'TVTensor' or 'Tensor', got {return_type!r}")
    return nullcontext()


class Image(TVTensor):
    """A picture (..., C, H, W) from a tensor, an array or a Pillow picture; (H, W) becomes (1, H, W)."""

    def __new__(cls, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool | None = None) -> Any:
        if _pil.is_image(data):
            data = F.pil_to_tensor(data)
        made = torch.as_tensor(plain(data))
        if made.ndim < 2:
            raise ValueError(f"a picture has at least 2 dimensions (H, W), got shape {tuple(made.shape)}")
        return cls._of(made[None] if made.ndim == 2 else data, dtype, device, requires_grad)


class Video(TVTensor):
    """Pictures one after the other, (..., T, C, H, W)."""

    def __new__(cls, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool | None = None) -> Any:
        made = cls._of(data, dtype, device, requires_grad)
        if made.ndim < 4:
            raise ValueError(f"a video has at least 4 dimensions (T, C, H, W), got shape {tuple(made.shape)}")
        return made


class Mask(TVTensor):
    """Numbers or flags of pixels, (..., H, W)."""

    def __new__(cls, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool | None = None) -> Any:
        return cls._of(F.pil_to_tensor(data) if _pil.is_image(data) else data, dtype, device, requires_grad)


class BoundingBoxFormat(Enum):
    """What the four numbers are: two corners; a corner and the size; the centre and the size.

    The formats of rotated boxes have names here, but no transform takes them.
    """

    XYXY = "XYXY"
    XYWH = "XYWH"
    CXCYWH = "CXCYWH"
    XYWHR = "XYWHR"
    CXCYWHR = "CXCYWHR"
    XYXYXYXY = "XYXYXYXY"


_ROTATED = (BoundingBoxFormat.XYWHR, BoundingBoxFormat.CXCYWHR, BoundingBoxFormat.XYXYXYXY)


def is_rotated_bounding_format(format: BoundingBoxFormat | str) -> bool:
    """Whether it is a format of rotated boxes."""
    return (BoundingBoxFormat[format.upper()] if isinstance(format, str) else format) in _ROTATED


class BoundingBoxes(TVTensor):
    """Boxes (N, 4), or one (4,), of a picture.

    format: a BoundingBoxFormat or its name.   canvas_size: (height, width) of the picture.
    clamping_mode: "soft" or "hard" (cut to the picture by transforms), or None (not cut).
    Raises ValueError for other shapes, NotImplementedError for rotated boxes.
    """

    _about = ("format", "canvas_size", "clamping_mode")
    format: BoundingBoxFormat
    canvas_size: tuple[int, int]
    clamping_mode: str | None

    def __new__(
        cls, data: Any, *, format: BoundingBoxFormat | str, canvas_size: tuple[int, int],
        clamping_mode: str | None = "soft", dtype: Any = None, device: Any = None, requires_grad: bool | None = None,
    ) -> Any:  # fmt: skip
        if isinstance(format, str):
            format = BoundingBoxFormat[format.upper()]
        if format in _ROTATED:
            raise NotImplementedError(f"rotated boxes ({format.name}) are not supported; use XYXY, XYWH or CXCYWH")
        if clamping_mode not in ("soft", "hard", None):
            raise ValueError(f"clamping_mode must be 'soft', 'hard' or None, got {clamping_mode!r}")
        made = cls._of(data, dtype, device, requires_grad)
        if made.ndim == 1:
            made = plain(made)[None].as_subclass(cls)
        if made.ndim != 2 or (made.shape[-1] != 4 and made.numel()):
            raise ValueError(f"boxes have shape (N, 4), got {tuple(made.shape)}")
        made.format, made.canvas_size, made.clamping_mode = format, tuple(canvas_size), clamping_mode
        return made


class KeyPoints(TVTensor):
    """Points (..., 2), x and y, of a picture of ``canvas_size`` (height, width)."""

    _about = ("canvas_size",)
    canvas_size: tuple[int, int]

    def __new__(
        cls, data: Any, *, canvas_size: tuple[int, int], dtype: Any = None, device: Any = None,
        requires_grad: bool | None = None,
    ) -> Any:  # fmt: skip
        made = cls._of(data, dtype, device, requires_grad)
        if made.ndim == 1:
            made = plain(made)[None].as_subclass(cls)
        if made.shape[-1] != 2:
            raise ValueError(f"points have shape (..., 2), got {tuple(made.shape)}")
        made.canvas_size = tuple(canvas_size)
        return made
