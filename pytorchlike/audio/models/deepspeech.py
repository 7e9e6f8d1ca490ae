"""DeepSpeech: speech recognition by one recurrent layer (Hannun et al. 2014, arXiv:1412.5567)."""

from __future__ import annotations

from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

__all__ = ["DeepSpeech", "FullyConnected"]


class FullyConnected(nn.Module):
    """A linear layer, its output between 0 and ``relu_max_clip``."""

    def __init__(self, n_feature: int, n_hidden: int, dropout: float, relu_max_clip: int = 20) -> None:
        super().__init__()
        self.fc = nn.Linear(n_feature, n_hidden, bias=True)
        self.relu_max_clip, self.dropout = relu_max_clip, dropout

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardtanh(F.relu(self.fc(x)), 0, self.relu_max_clip)
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class DeepSpeech(nn.Module):
    """(batch, 1, time, n_feature) -> log-probabilities (batch, time, n_class)."""

    def __init__(self, n_feature: int, n_hidden: int = 2048, n_class: int = 40, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_hidden = n_hidden
        self.fc1 = FullyConnected(n_feature, n_hidden, dropout)
        self.fc2 = FullyConnected(n_hidden, n_hidden, dropout)
        self.fc3 = FullyConnected(n_hidden, n_hidden, dropout)
        self.bi_rnn = nn.RNN(n_hidden, n_hidden, num_layers=1, nonlinearity="relu", bidirectional=True)
        self.fc4 = FullyConnected(n_hidden, n_hidden, dropout)
        self.out = nn.Linear(n_hidden, n_class)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc3(self.fc2(self.fc1(x))).squeeze(1).transpose(0, 1)
        x, _ = self.bi_rnn(x)
        x = self.fc4(x[:, :, : self.n_hidden] + x[:, :, self.n_hidden :])
        return F.log_softmax(self.out(x).permute(1, 0, 2), dim=2)
