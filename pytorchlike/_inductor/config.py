"""Settings of PyTorch's code generator, kept for programs that set them. XLA's are told by docs/environment.md."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

max_autotune = coordinate_descent_tuning = epilogue_fusion = fx_graph_cache = force_fuse_int_mm_with_mul = False
triton, cpp, cuda = (SimpleNamespace(unique_kernel_names=False, cudagraphs=False) for _ in range(3))


@contextlib.contextmanager
def patch(arg: str | dict[str, Any] | None = None, value: Any = None, **changes: Any) -> Iterator[None]:
    """Within the block settings have other values: ``patch("name", value)``, ``patch({...})`` or ``patch(name=value)``.

    Nothing depends on them, as with all of these settings.
    """
    told = {arg: value} if isinstance(arg, str) else {**(arg or {}), **changes}
    space = globals()
    before = {name: space[name] for name in told if name in space}
    space.update(told)
    try:
        yield
    finally:
        for name in told:
            del space[name]
        space.update(before)
