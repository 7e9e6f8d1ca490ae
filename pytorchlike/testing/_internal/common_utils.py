"""``TestCase``, ``run_tests`` and what else tests import from PyTorch's ``common_utils``."""

from __future__ import annotations

import functools
import os
import random
import sys
import unittest
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ...tensor import Tensor
from ...tensor.random import manual_seed
from .._comparison import assert_close
from .._creation import make_tensor as make_tensor

__all__ = ["IS_CI", "IS_LINUX", "IS_MACOS", "IS_WINDOWS", "TestCase", "freeze_rng_state",
           "instantiate_parametrized_tests", "parametrize", "run_tests", "set_rng_seed", "skipIfNoCuda", "slowTest",
           "subtest"]

IS_WINDOWS, IS_MACOS, IS_LINUX = sys.platform == "win32", sys.platform == "darwin", sys.platform == "linux"
IS_CI = bool(os.environ.get("CI"))
SEED = 1234


def __getattr__(name: str) -> Any:
    if name in ("TEST_CUDA", "TEST_MULTIGPU"):  # asked when it is needed: this starts JAX
        from ... import cuda

        return cuda.device_count() > (name == "TEST_MULTIGPU")
    raise AttributeError(f"module 'torch.testing._internal.common_utils' has no attribute '{name}': PyTorch's own test "
                         "tools are not part of pytorchlike")


def set_rng_seed(seed: int | None = None) -> None:
    """Seed torch's, Python's and NumPy's random numbers."""
    chosen = SEED if seed is None else seed
    manual_seed(chosen)
    random.seed(chosen)
    np.random.seed(chosen)


def freeze_rng_state() -> Any:
    """A context after which torch's random numbers go on as if it had drawn none."""
    from ...tensor.random import fork_rng

    return fork_rng()


def skipIfNoCuda(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Skip a test where there is no GPU."""

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from ... import cuda

        if not cuda.is_available():
            raise unittest.SkipTest("no GPU")
        return fn(*args, **kwargs)

    return wrapped


def slowTest(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Skip a test unless PYTORCH_TEST_WITH_SLOW is 1."""
    asked = os.environ.get("PYTORCH_TEST_WITH_SLOW") == "1"
    return unittest.skipUnless(asked, "slow; set PYTORCH_TEST_WITH_SLOW=1")(fn)


class TestCase(unittest.TestCase):
    """``unittest.TestCase`` whose ``assertEqual`` compares tensors, too, each test with the same random numbers."""

    __test__ = False  # for pytest: this is a base class
    precision, rel_tol = 0.0, 0.0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__test__ = True

    def setUp(self) -> None:
        """Seed the random numbers."""
        set_rng_seed()

    def assertEqual(self, first: Any, second: Any, msg: Any = None, *, atol: float | None = None,
                    rtol: float | None = None, equal_nan: bool = True, exact_dtype: bool = True,
                    exact_device: bool = False, exact_layout: bool = False, exact_stride: bool = False,
                    exact_is_coalesced: bool = False) -> None:
        """Equal: tensors within the tolerance of their dtype, or `atol` and `rtol`; containers item by item."""
        if isinstance(first, str) or isinstance(second, str) or not _numeric(first) or not _numeric(second):
            super().assertEqual(first, second, msg)
            return
        if isinstance(first, Tensor) != isinstance(second, Tensor):
            exact_dtype = False
            first, second = (x if isinstance(x, Tensor) else _like(x, other)
                             for x, other in ((first, second), (second, first)))
        assert_close(first, second, atol=atol, rtol=rtol, equal_nan=equal_nan, check_dtype=exact_dtype,
                     check_device=exact_device, check_layout=exact_layout, check_stride=exact_stride, msg=msg)

    def assertNotEqual(self, first: Any, second: Any, msg: Any = None, **kwargs: Any) -> None:
        """The opposite of `assertEqual`."""
        with self.assertRaises(AssertionError, msg=msg):
            self.assertEqual(first, second, **kwargs)

    def assertEqualIgnoreType(self, first: Any, second: Any, *args: Any, **kwargs: Any) -> None:
        """As `assertEqual`, whatever the dtypes."""
        self.assertEqual(first, second, *args, exact_dtype=False, **kwargs)


def _numeric(x: Any) -> bool:
    if isinstance(x, dict):
        return all(map(_numeric, x.values()))
    if isinstance(x, (list, tuple)):
        return all(map(_numeric, x))
    return isinstance(x, (Tensor, np.ndarray, np.generic, float, complex)) or isinstance(x, int)


def _like(x: Any, tensor: Tensor) -> Tensor:
    from ...tensor import as_tensor

    return as_tensor(x, device=tensor.device)


class subtest:
    """Values of one case of ``parametrize``."""

    def __init__(self, arg_values: Any, name: str | None = None, decorators: Iterable[Any] = ()) -> None:
        self.arg_values, self.name, self.decorators = arg_values, name, list(decorators)


class parametrize:
    """A test method for each of the values; the class needs ``@instantiate_parametrized_tests``."""

    def __init__(self, arg_str: str, arg_values: Iterable[Any], name_fn: Callable[..., str] | None = None) -> None:
        self.names = [name.strip() for name in arg_str.split(",") if name.strip()]
        self.values, self.name_fn = list(arg_values), name_fn

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        fn.__dict__.setdefault("_cases", []).insert(0, self)
        return fn

    def cases(self) -> Iterator[tuple[str, dict[str, Any], list[Any]]]:
        """(name, arguments, decorators) of each."""
        for i, value in enumerate(self.values):
            one = value if isinstance(value, subtest) else subtest(value)
            values = [one.arg_values] if len(self.names) == 1 else list(one.arg_values)
            told = one.name or (self.name_fn(*values) if self.name_fn else "_".join(
                f"{n}_{v}" if isinstance(v, (int, float, str, bool)) else f"{n}{i}"
                for n, v in zip(self.names, values, strict=True)))
            yield told.replace(".", "_"), dict(zip(self.names, values, strict=True)), one.decorators


def instantiate_parametrized_tests(generic_cls: type) -> type:
    """A method for each case of the parametrized methods of a class, which are removed."""
    for name, fn in list(vars(generic_cls).items()):
        layers = getattr(fn, "_cases", None)
        if not layers:
            continue
        delattr(generic_cls, name)
        combined: list[tuple[str, dict[str, Any], list[Any]]] = [("", {}, [])]
        for layer in layers:
            combined = [(f"{told}_{more}", {**given, **args}, [*marks, *its])
                        for told, given, marks in combined for more, args, its in layer.cases()]
        for told, given, marks in combined:
            made: Any = functools.partialmethod(fn, **given)._make_unbound_method()
            made.__name__ = f"{name}{told}"
            for mark in marks:
                made = mark(made)
            setattr(generic_cls, f"{name}{told}", made)
    return generic_cls


def run_tests(argv: list[str] | None = None) -> None:
    """Run the tests of the main module, and exit."""
    unittest.main(argv=argv if argv is not None else sys.argv)
