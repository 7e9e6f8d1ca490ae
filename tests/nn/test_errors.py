"""What is said when sizes, dtypes, options or values do not fit."""

from __future__ import annotations

import pytest

import pytorchlike as torch
from pytorchlike import nn

F = nn.functional
z = torch.zeros


def k(*values):
    return torch.tensor(values)


CASES = [
    # Each: the call, the exception, what its message must hold.
    (lambda: F.nll_loss(z(2, 3), k([0], [1])), RuntimeError, r"0D or 1D target tensor expected, multi-target not supp"),
    (lambda: F.cross_entropy(z(2, 3, 4), k(0, 1)), RuntimeError, r"Expected target size \[2, 4\], got \[2\]"),
    # shapes that do not fit are told before classes that there are not
    (lambda: F.cross_entropy(z(2, 3, 5), z(2, 3).long() + 4), RuntimeError, r"Expected target size \[2, 5\], got"),
    (lambda: F.cross_entropy(z(2, 1, 4, 4), z(2, 1, 4, 4).long() + 1), RuntimeError, r"floating point type for target"),
    (lambda: F.scaled_dot_product_attention(*[z(1, 1, 2, 2).long()] * 3), NotImplementedError, r"Long"),
    (lambda: nn.EmbeddingBag(3, 2)(k(1), k(0.0)), RuntimeError, r"'offsets'.*Long, Int"),
    (lambda: nn.EmbeddingBag(3, 2, mode="max", scale_grad_by_freq=True)(k(1), k(0)), ValueError,
     r"max mode does not support scaling the gradient by the frequency"),
    (lambda: nn.utils.rnn.pad_sequence([1]), TypeError, r"expected Tensors.*int"),
    (lambda: nn.Linear(3, 2)(z(4, 5)), RuntimeError, r"4x5 and 3x2"),
    (lambda: nn.Linear(3, 2)(z(4, 3, dtype=torch.float64)), RuntimeError, r"dtype"),
    (lambda: nn.Bilinear(2, 3, 4)(z(5, 2), z(5, 4)), RuntimeError, r"3|4"),
    (lambda: nn.Conv2d(3, 4, 3)(z(1, 2, 8, 8)), RuntimeError, r"\[1, 2, 8, 8\].*3 channels.*2 channels"),
    (lambda: nn.Conv2d(3, 4, 3)(z(3, 8)), RuntimeError, r"3D.*4D.*\[3, 8\]"),
    (lambda: nn.Conv2d(3, 4, 5)(z(1, 3, 4, 4)), RuntimeError, r"[Kk]ernel size"),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, r"in_channels must be divisible by groups"),
    (lambda: nn.Conv2d(4, 3, 3, groups=2), ValueError, r"out_channels must be divisible by groups"),
    (lambda: nn.Conv2d(4, 4, 3, groups=0), ValueError, r"groups must be a positive integer"),
    (lambda: nn.Conv1d(1, 1, 3, padding="full"), ValueError, r"padding"),
    (lambda: nn.Conv1d(1, 1, 3, padding="same", stride=2), ValueError, r"strided"),
    (lambda: nn.Conv1d(1, 1, 3, padding_mode="wrap"), ValueError, r"padding_mode"),
    (lambda: nn.ConvTranspose1d(1, 1, 3, padding_mode="reflect"), ValueError, r"zeros"),
    (lambda: nn.ConvTranspose1d(2, 1, 3, stride=2)(z(1, 2, 4), output_size=(20,)), ValueError, r"20"),
    (lambda: nn.MaxPool2d(3, padding=2)(z(1, 1, 5, 5)), RuntimeError, r"pad should be at most half"),
    (lambda: nn.AvgPool2d(7)(z(1, 1, 3, 3)), RuntimeError, r"too small"),
    (lambda: nn.MaxPool1d(2)(z(4)), RuntimeError, r"2D or 3D|2D|3D"),
    (lambda: nn.AdaptiveAvgPool2d((2, 2))(z(2, 2)), ValueError, r"at least 3, got 2"),
    (lambda: nn.AdaptiveMaxPool3d((2, 2, 2))(z(2, 2, 2)), ValueError, r"at least 4, got 3"),
    (lambda: nn.AdaptiveAvgPool2d(2)(z(2, 2)), RuntimeError, r"3D or 4D.*\[2, 2\]"),
    (lambda: F.multi_margin_loss(z(5, 4), z(5), weight=z(5, 4)), ValueError, r"weight must be one-dimensional"),
    (lambda: F.batch_norm(z(3), z(3), z(3)), RuntimeError, r"at least 2 dimensions.*\[3\]"),
    (lambda: nn.FractionalMaxPool2d(2), ValueError, r"output size, or a pooling ratio"),
    (lambda: nn.BatchNorm2d(3)(z(2, 3, 4)), ValueError, r"expected 4D input \(got 3D input"),
    (lambda: nn.BatchNorm1d(3)(z(2, 4)), RuntimeError, r"4.*3|3.*4"),
    (lambda: nn.BatchNorm1d(3)(z(1, 3)), ValueError, r"more than 1 value per channel"),
    (lambda: nn.LayerNorm((3, 4))(z(2, 4, 3)), RuntimeError, r"\[3, 4\].*\[2, 4, 3\]"),
    (lambda: nn.GroupNorm(2, 5), ValueError, r"divisible"),
    (lambda: nn.InstanceNorm2d(3)(z(3,)), ValueError, r"3D or 4D"),
    (lambda: nn.LSTM(3, 4)(z(5, 2, 7)), RuntimeError, r"7.*3|3.*7"),
    (lambda: nn.LSTM(3, 4)(z(5, 2, 3), (z(1, 3, 4), z(1, 2, 4))), RuntimeError, r"\(1, 2, 4\).*\[1, 3, 4\]"),
    (lambda: nn.LSTM(3, 4)(z(5, 2, 3), (z(1, 2, 4), z(1, 2, 5))), RuntimeError, r"\(1, 2, 4\).*\[1, 2, 5\]"),
    (lambda: nn.GRU(3, 4)(z(5, 2, 3), z(1, 4)), RuntimeError, r"3-D|2-D|batched"),
    (lambda: nn.GRU(3, 0), ValueError, r"hidden_size must be greater than zero"),
    (lambda: nn.LSTM(3, 4, proj_size=4), ValueError, r"proj_size"),
    (lambda: nn.RNN(3, 4, nonlinearity="gelu"), ValueError, r"gelu"),
    (lambda: nn.LSTM(3, 4, dropout=1.5), ValueError, r"dropout"),
    (lambda: nn.LSTMCell(3, 4)(z(2, 5)), RuntimeError, r"5.*3|3.*5"),
    (lambda: nn.MultiheadAttention(6, 4), AssertionError, r"divisible"),
    (lambda: nn.MultiheadAttention(8, 2)(z(3, 1, 8), z(3, 1, 6), z(3, 1, 6)), Exception, r"6|8"),
    (lambda: nn.MultiheadAttention(8, 2)(*[z(3, 1, 8)] * 3, attn_mask=z(4, 4)), RuntimeError, r"\(4, 4\).*\(3, 3\)"),
    (lambda: F.scaled_dot_product_attention(z(2, 3, 4), z(2, 3, 5), z(2, 3, 5)), RuntimeError, r"\[2, 3, 5\]"),
    (lambda: nn.Transformer(8, 2, 1, 1, 8)(z(3, 2, 8), z(3, 1, 8)), RuntimeError, r"batch"),
    (lambda: nn.Embedding(4, 2, padding_idx=5), AssertionError, r"[Pp]adding_idx"),
    (lambda: nn.Embedding(4, 2)(k(0, 4)), IndexError, r"4"),
    (lambda: nn.Embedding(4, 2)(z(2)), RuntimeError, r"[Ll]ong|int"),
    (lambda: nn.EmbeddingBag(4, 2)(k(0, 1)), ValueError, r"offsets"),
    (lambda: nn.CrossEntropyLoss()(z(2, 3), k(0, 3)), IndexError, r"3"),
    (lambda: nn.CrossEntropyLoss()(z(2, 3), k(0, 1, 2)), ValueError, r"2.*3"),
    (lambda: nn.NLLLoss(weight=z(2))(z(2, 3), k(0, 1)), RuntimeError, r"weight"),
    (lambda: nn.CrossEntropyLoss(reduction="avg")(z(2, 3), k(0, 1)), ValueError, r"avg"),
    (lambda: nn.CrossEntropyLoss(label_smoothing=1.5)(z(2, 3), k(0, 1)), RuntimeError, r"label_smoothing"),
    (lambda: nn.BCELoss()(z(2), z(3)), ValueError, r"3.*2|2.*3"),
    (lambda: nn.BCELoss()(torch.tensor([1.5]), z(1)), RuntimeError, r"between 0 and 1"),
    (lambda: nn.BCELoss()(z(1), torch.tensor([-0.5])), RuntimeError, r"between 0 and 1"),
    (lambda: nn.GaussianNLLLoss()(z(2), z(2), torch.tensor([1.0, -1.0])), ValueError, r"var has negative"),
    (lambda: nn.MultiMarginLoss()(z(2, 3), k(0, 3)), RuntimeError, r"target"),
    (lambda: nn.CTCLoss()(z(4, 1, 3), k([1, 2]), k(5), k(2)), RuntimeError, r"5"),
    (lambda: nn.TripletMarginLoss(margin=-1), ValueError, r"margin"),
    (lambda: nn.Dropout(1.5), ValueError, r"between 0 and 1"),
    (lambda: F.dropout(z(2), p=-0.1), ValueError, r"between 0 and 1"),
    (lambda: nn.PReLU(3)(z(2, 4)), RuntimeError, r"4.*3|3.*4"),
    (lambda: F.glu(z(2, 3)), RuntimeError, r"3"),
    (lambda: nn.ReflectionPad1d(4)(z(1, 1, 3)), RuntimeError, r"4.*3|3.*4|less than"),
    (lambda: F.interpolate(z(1, 1, 4)), ValueError, r"size or scale_factor"),
    (lambda: F.interpolate(z(1, 1, 4), 2, mode="bilinear"), Exception, r"3D|bilinear"),
    (lambda: F.grid_sample(z(1, 1, 4, 4), z(1, 2, 2, 3)), RuntimeError, r"grid"),
    (lambda: nn.PixelShuffle(2)(z(1, 3, 2, 2)), RuntimeError, r"3"),
    (lambda: nn.Unflatten(1, (2, 2))(z(1, 5)), RuntimeError, r"5"),
    (lambda: F.one_hot(k(3), 2), RuntimeError, r"[Cc]lass"),
    (lambda: F.grouped_mm(z(4, 2), z(3, 2, 5), offs=k(1, 2, 4)), RuntimeError, r"int32"),
    (lambda: nn.Sequential(nn.ReLU())[2], IndexError, r"2|range"),
    (lambda: nn.ModuleDict({"a": nn.ReLU()})["b"], KeyError, r"b"),
    (lambda: nn.Module()(1), NotImplementedError, r"forward"),
    (lambda: nn.Module(3), TypeError, r"positional"),
    (lambda: nn.Module().register_buffer("a.b", z(1)), KeyError, r'can\'t contain|can\\\'t contain'),
    (lambda: nn.Module().register_parameter("a", z(1)), TypeError, r"Parameter"),
    (lambda: nn.Module().add_module("a", 3), TypeError, r"int"),
    (lambda: nn.Linear(2, 2).get_submodule("x"), AttributeError, r"x"),
    (lambda: nn.Linear(2, 2).to("somewhere"), RuntimeError, r"somewhere"),
    (lambda: nn.LazyLinear(2).weight.numel(), ValueError, "uninitialized"),
    (lambda: nn.LazyLinear(2).weight + 1, ValueError, "uninitialized"),
    (lambda: nn.LazyLinear(2).share_memory(), RuntimeError, "uninitialized"),
    (lambda: nn.utils.rnn.pack_padded_sequence(torch.ones(2, 1, 3), torch.tensor([[2]])), RuntimeError, "1D"),
    (lambda: nn.LazyLinear(2).weight.shape, RuntimeError, r"uninitialized|Can't access the shape"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(len(CASES)))
def test_error(number):
    call, kind, words = CASES[number]
    with pytest.raises(kind, match=words):
        result = call()
        for part in result if isinstance(result, tuple) else (result,):
            part.tolist()  # what only the data can tell is raised at the next read


def test_values_are_looked_at_again_when_they_are_computed():
    table = nn.Embedding(4, 2)
    index = torch.tensor([1, 3]) + torch.tensor(1)
    with pytest.raises(IndexError):
        table(index).tolist()
    assert table(index - 1).shape == (2, 2)


def test_failed_step_leaves_parameters():
    m = nn.Linear(2, 3)
    opt = torch.optim.SGD(m.parameters(), lr=0.1)
    before = m.weight.tolist()
    target = torch.tensor([5, 1]) + torch.tensor(0)
    with pytest.raises(IndexError):
        loss = nn.functional.cross_entropy(m(torch.ones(2, 2)), target)
        loss.backward()
        opt.step()
        loss.item()
    assert m.weight.tolist() == before
