"""``torch.testing``: comparing tensors, and making them."""

from ._comparison import assert_allclose as assert_allclose
from ._comparison import assert_close as assert_close
from ._creation import make_tensor as make_tensor
from ._filecheck import FileCheck as FileCheck

__all__ = ["FileCheck", "assert_allclose", "assert_close", "make_tensor"]
