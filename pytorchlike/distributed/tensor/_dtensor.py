"""``DTensor``: the class of tensors of which each process has a part; ``_divided.py`` says what they do."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from ...tensor.asking import disabled

__all__ = ["DTensor"]


class DTensor(Tensor):
    """A tensor that is divided among the processes of a mesh, or repeated in each of them.

    Made by ``distribute_tensor``, ``DTensor.from_local`` and ``fully_shard``; NotImplementedError for the constructor.
    """

    __torch_function__ = disabled  # type: ignore[assignment]

    def __new__(cls, *args: Any, **kwargs: Any) -> DTensor:
        raise NotImplementedError("DTensor is made by torch.distributed.tensor.distribute_tensor(tensor, mesh, "
                                  "placements) or DTensor.from_local(tensor, mesh, placements)")

    @staticmethod
    def from_local(local_tensor: Tensor, device_mesh: Any = None, placements: Any = None, *, run_check: bool = False,
                   shape: Any = None, stride: Any = None) -> DTensor:  # fmt: skip
        """The tensor of which ``local_tensor`` is this process's part.

        device_mesh: a DeviceMesh of processes (None: all of them, in one axis).  placements: for each of its axes
        Replicate(), the default, or Shard(dim).  shape: of the whole; None stands for parts of equal size.
        run_check: take the first process's part where it is repeated.  NotImplementedError for stride and for several
        axes that divide.
        """
        from ._divided import from_local

        return from_local(local_tensor, device_mesh, placements, run_check, shape, stride)
