"""Products of factors with scales."""

import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike.nn.functional import ScalingType


def _factors(m, k, n):
    a, b = torch.arange(float(m * k)).sin().reshape(m, k), torch.arange(float(k * n)).cos().reshape(k, n)
    return a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn)


def test_scales_of_the_whole_of_rows_and_of_blocks():
    a, b = _factors(4, 256, 3)
    x, y = a.float(), b.float()
    whole, row = ScalingType.TensorWise, ScalingType.RowWise
    found = F.scaled_mm(a, b, torch.tensor(2.0), whole, torch.tensor(0.5), whole)
    assert found.dtype is torch.bfloat16 and torch.equal(found, (x @ y).bfloat16())
    sa, sb, bias = torch.tensor([[1.0], [2], [3], [4]]), torch.tensor([[1.0, 0.5, 2]]), torch.ones(3)
    found = F.scaled_mm(a, b, sa, row, sb, row, bias=bias, output_dtype=torch.float32)
    torch.testing.assert_close(found, (x * sa) @ (y * sb) + 1)
    blocks = torch.tensor([[1.0, 2.0]] * 4)
    found = F.scaled_mm(a, b, [blocks], [ScalingType.BlockWise1x128], sb, row, output_dtype=None)
    torch.testing.assert_close(found, (x * blocks.repeat_interleave(128, 1)) @ (y * sb))


def test_groups():
    a, b = _factors(4, 16, 6)
    b = b.reshape(16, 2, 3).permute(1, 0, 2)
    sa, sb = torch.tensor([1.0, 2, 3, 4]), torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    row = ScalingType.RowWise
    ends = torch.tensor([1, 4], dtype=torch.int32)
    found = F.scaled_grouped_mm(a, b, sa, row, sb, row, offs=ends, output_dtype=torch.float32)
    x, y = a.float() * sa[:, None], b.float() * sb[:, None]
    torch.testing.assert_close(found, torch.cat([x[:1] @ y[0], x[1:] @ y[1]]))


def test_what_is_refused():
    a, b = _factors(4, 16, 3)
    one, whole = torch.ones(()), ScalingType.TensorWise
    with pytest.raises(ValueError, match="4 scales"):
        F.scaled_mm(a, b, one, ScalingType.RowWise, one, whole)
    with pytest.raises(ValueError, match="one number"):
        F.scaled_mm(a, b, torch.ones(2), whole, one, whole)
    with pytest.raises(NotImplementedError, match="scale by row"):
        F.scaled_mm(a, b, one, ScalingType.BlockWise1x16, one, whole)
    with pytest.raises(NotImplementedError, match="unswizzled"):
        F.scaled_mm(a, b, one, whole, one, whole, swizzle_a=F.SwizzleType.SWIZZLE_32_4_4)


def test_no_queries_or_batch():
    for shape in ((1, 0, 4), (0, 2, 4), (0, 0, 4)):
        x = torch.zeros(shape)
        assert torch.nn.functional.scaled_dot_product_attention(x, x, x).shape == shape
