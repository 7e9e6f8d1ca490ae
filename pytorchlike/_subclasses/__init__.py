"""``torch._subclasses``: tensors without data, for trying shapes."""

from .fake_tensor import FakeTensor as FakeTensor
from .fake_tensor import FakeTensorMode as FakeTensorMode
