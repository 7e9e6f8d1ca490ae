"""Conformer: self-attention and convolution (Gulati et al. 2020, arXiv:2005.08100)."""

from __future__ import annotations

import pytorchlike as torch
from pytorchlike import Tensor, nn

__all__ = ["Conformer", "ConformerLayer"]


class _ConvolutionModule(nn.Module):
    """(batch, time, channel) -> the same, by pointwise and depthwise convolutions."""

    def __init__(
        self, input_dim: int, num_channels: int, depthwise_kernel_size: int, dropout: float, bias: bool,
        use_group_norm: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        if (depthwise_kernel_size - 1) % 2 != 0:
            raise ValueError("depthwise_kernel_size must be odd to achieve 'SAME' padding.")
        self.layer_norm = nn.LayerNorm(input_dim)
        norm = nn.GroupNorm(1, num_channels) if use_group_norm else nn.BatchNorm1d(num_channels)
        self.sequential = nn.Sequential(
            nn.Conv1d(input_dim, 2 * num_channels, 1, bias=bias),
            nn.GLU(dim=1),
            nn.Conv1d(
                num_channels, num_channels, depthwise_kernel_size, padding=(depthwise_kernel_size - 1) // 2,
                groups=num_channels, bias=bias,
            ),
            norm,
            nn.SiLU(),
            nn.Conv1d(num_channels, input_dim, kernel_size=1, bias=bias),
            nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        return self.sequential(self.layer_norm(input).transpose(1, 2)).transpose(1, 2)


class _FeedForwardModule(nn.Module):
    def __init__(self, input_dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.sequential = nn.Sequential(
            nn.LayerNorm(input_dim), nn.Linear(input_dim, hidden_dim), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(hidden_dim, input_dim), nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        return self.sequential(input)


class ConformerLayer(nn.Module):
    """(time, batch, input_dim) -> the same; the padding mask (batch, time) is True where there is nothing."""

    def __init__(
        self, input_dim: int, ffn_dim: int, num_attention_heads: int, depthwise_conv_kernel_size: int,
        dropout: float = 0.0, use_group_norm: bool = False, convolution_first: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.ffn1 = _FeedForwardModule(input_dim, ffn_dim, dropout=dropout)
        self.self_attn_layer_norm = nn.LayerNorm(input_dim)
        self.self_attn = nn.MultiheadAttention(input_dim, num_attention_heads, dropout=dropout)
        self.self_attn_dropout = nn.Dropout(dropout)
        self.conv_module = _ConvolutionModule(
            input_dim, input_dim, depthwise_conv_kernel_size, dropout, True, use_group_norm
        )
        self.ffn2 = _FeedForwardModule(input_dim, ffn_dim, dropout=dropout)
        self.final_layer_norm = nn.LayerNorm(input_dim)
        self.convolution_first = convolution_first

    def _convolved(self, x: Tensor) -> Tensor:
        return x + self.conv_module(x.transpose(0, 1)).transpose(0, 1)

    def forward(self, input: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        x = input + self.ffn1(input) * 0.5
        if self.convolution_first:
            x = self._convolved(x)
        y = self.self_attn_layer_norm(x)
        y, _ = self.self_attn(y, y, y, key_padding_mask=key_padding_mask, need_weights=False)
        x = x + self.self_attn_dropout(y)
        if not self.convolution_first:
            x = self._convolved(x)
        return self.final_layer_norm(x + self.ffn2(x) * 0.5)


class Conformer(nn.Module):
    """(batch, time, input_dim) and lengths (batch,) -> the same shapes; ``lengths`` at most ``time``."""

    def __init__(
        self, input_dim: int, num_heads: int, ffn_dim: int, num_layers: int, depthwise_conv_kernel_size: int,
        dropout: float = 0.0, use_group_norm: bool = False, convolution_first: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conformer_layers = nn.ModuleList(
            ConformerLayer(
                input_dim, ffn_dim, num_heads, depthwise_conv_kernel_size, dropout, use_group_norm, convolution_first
            )
            for _ in range(num_layers)
        )

    def forward(self, input: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        mask = torch.arange(input.shape[1], device=lengths.device) >= lengths.unsqueeze(1)
        x = input.transpose(0, 1)
        for layer in self.conformer_layers:
            x = layer(x, mask)
        return x.transpose(0, 1), lengths
