"""Sequences one after the other attend each to itself, as each alone would."""

import pytest

import pytorchlike as torch
from pytorchlike.nn import functional as F
from pytorchlike.nn.attention.varlen import AuxRequest, varlen_attn

ENDS = [0, 3, 7]


@pytest.mark.parametrize("causal", [False, True])
def test_each_sequence_is_alone(causal):
    torch.manual_seed(0)
    q, k, v = (torch.randn(7, n, 4, requires_grad=True) for n in (4, 2, 2))
    window = (-1, 0) if causal else (-1, -1)
    ends = torch.tensor(ENDS, dtype=torch.int32)
    how = {"window_size": window, "enable_gqa": True, "return_aux": AuxRequest(True)}
    found, lse = varlen_attn(q, k, v, ends, ends, 4, 4, **how)
    parts = []
    for a, b in zip(ENDS, ENDS[1:], strict=False):
        alone = [x[a:b].transpose(0, 1)[None] for x in (q, k, v)]
        parts.append(F.scaled_dot_product_attention(*alone, is_causal=causal, enable_gqa=True)[0].transpose(0, 1))
    assert torch.allclose(found, torch.cat(parts), atol=1e-6) and lse.shape == (4, 7)
    (grad,) = torch.autograd.grad(found.square().sum(), q, retain_graph=True)
    (wanted,) = torch.autograd.grad(torch.cat(parts).square().sum(), q)
    assert torch.allclose(grad, wanted, atol=1e-5)
    with pytest.raises(ValueError, match="enable_gqa"):
        varlen_attn(q, k, v, ends, ends, 4, 4)


def test_who_sees_nothing_gets_zeros():
    q, ends = torch.ones(2, 1, 2), torch.tensor([0, 1, 2], dtype=torch.int32)
    found = varlen_attn(q, q, q, ends, ends, 1, 1, seqused_k=torch.tensor([1, 0]))
    assert found[0].tolist() == [[1, 1]] and found[1].tolist() == [[0, 0]]
