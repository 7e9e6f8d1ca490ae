"""``torch._subclasses``: what libraries ask of it. No tensor here is fake."""

from .fake_tensor import FakeTensor as FakeTensor
from .fake_tensor import FakeTensorMode as FakeTensorMode
