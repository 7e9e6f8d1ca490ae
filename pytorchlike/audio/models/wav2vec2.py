"""wav2vec 2.0 and HuBERT: transformers over learnt features of the waveform (Baevski et al. 2020, arXiv:2006.11477;
Hsu et al. 2021, arXiv:2106.07447).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

__all__ = [
    "Wav2Vec2Model", "hubert_base", "hubert_large", "hubert_xlarge", "wav2vec2_base", "wav2vec2_large",
    "wav2vec2_large_lv60k", "wav2vec2_model", "wav2vec2_xlsr_1b", "wav2vec2_xlsr_2b", "wav2vec2_xlsr_300m",
]  # fmt: skip

#: (channels, kernel, stride) of the convolutions: one frame for each 320 samples.
CONVOLUTIONS = [(512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2]


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation of (batch, channel, time) over the channels."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.transpose(-2, -1)).transpose(-2, -1)


class ConvLayerBlock(nn.Module):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, bias: bool,
        layer_norm: nn.Module | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.layer_norm = layer_norm
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, stride, bias=bias)

    def forward(self, x: Tensor, length: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x = self.conv(x)
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        if length is not None:
            length = torch.div(length - self.kernel_size, self.stride, rounding_mode="floor") + 1
            length = length.clamp(min=0)
        return F.gelu(x), length


class FeatureExtractor(nn.Module):
    """(batch, time) -> (batch, frames, features), and the lengths in frames."""

    def __init__(self, conv_layers: nn.ModuleList) -> None:
        super().__init__()
        self.conv_layers = conv_layers

    def forward(self, x: Tensor, length: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if x.ndim != 2:
            raise ValueError(f"Expected the input tensor to be 2D (batch, time). Found: {list(x.shape)}")
        x = x.unsqueeze(1)
        for layer in self.conv_layers:
            x, length = layer(x, length)
        return x.transpose(1, 2), length


class FeatureProjection(nn.Module):
    def __init__(self, in_features: int, out_features: int, dropout: float) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(in_features)
        self.projection = nn.Linear(in_features, out_features)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.projection(self.layer_norm(x)))


class ConvolutionalPositionalEmbedding(nn.Module):
    """Positions as a convolution over time, (batch, frames, embed_dim) -> the same."""

    def __init__(self, embed_dim: int, kernel_size: int, groups: int) -> None:
        super().__init__()
        self.embed_dim, self.kernel_size = embed_dim, kernel_size
        conv = nn.Conv1d(embed_dim, embed_dim, kernel_size, padding=kernel_size // 2, groups=groups)
        nn.init.normal_(conv.weight, mean=0, std=math.sqrt(4.0 / (embed_dim * kernel_size)))
        nn.init.zeros_(conv.bias)
        self.conv = nn.utils.parametrizations.weight_norm(conv, name="weight", dim=2)
        self.num_remove = 1 if kernel_size % 2 == 0 else 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x.transpose(-2, -1))
        if self.num_remove:
            x = x[..., : -self.num_remove]
        return F.gelu(x).transpose(-2, -1)


class SelfAttention(nn.Module):
    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"`embed_dim ({embed_dim})` is not divisible by `num_heads ({num_heads})`")
        self.num_heads, self.dropout = num_heads, dropout
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        batch, length, width = x.shape

        def heads(t: Tensor) -> Tensor:
            return t.view(batch, length, self.num_heads, -1).transpose(1, 2)

        y = F.scaled_dot_product_attention(
            heads(self.q_proj(x)), heads(self.k_proj(x)), heads(self.v_proj(x)), attn_mask=attention_mask,
            dropout_p=self.dropout if self.training else 0.0,
        )  # fmt: skip
        return self.out_proj(y.transpose(1, 2).reshape(batch, length, width))


class FeedForward(nn.Module):
    def __init__(self, features: int, hidden: int, hidden_dropout: float, dropout: float) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(features, hidden)
        self.intermediate_dropout = nn.Dropout(hidden_dropout)
        self.output_dense = nn.Linear(hidden, features)
        self.output_dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.intermediate_dropout(F.gelu(self.intermediate_dense(x)))
        return self.output_dropout(self.output_dense(x))


class EncoderLayer(nn.Module):
    def __init__(self, attention: SelfAttention, dropout: float, layer_norm_first: bool, feed_forward: FeedForward):
        super().__init__()
        width = attention.out_proj.out_features
        self.attention = attention
        self.dropout = nn.Dropout(dropout)
        self.layer_norm = nn.LayerNorm(width)
        self.layer_norm_first = layer_norm_first
        self.feed_forward = feed_forward
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        if self.layer_norm_first:
            x = x + self.dropout(self.attention(self.layer_norm(x), attention_mask))
            return x + self.feed_forward(self.final_layer_norm(x))
        x = self.layer_norm(x + self.dropout(self.attention(x, attention_mask)))
        return self.final_layer_norm(x + self.feed_forward(x))


class Transformer(nn.Module):
    """Positions and layers; in training each layer is left out with probability ``layer_drop``."""

    def __init__(
        self, pos_conv_embed: nn.Module, width: int, dropout: float, layers: nn.ModuleList, layer_norm_first: bool,
        layer_drop: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pos_conv_embed = pos_conv_embed
        self.layer_norm = nn.LayerNorm(width)
        self.layer_norm_first, self.layer_drop = layer_norm_first, layer_drop
        self.dropout = nn.Dropout(dropout)
        self.layers = layers

    def _start(self, x: Tensor) -> Tensor:
        x = x + self.pos_conv_embed(x)
        return self.dropout(self.layer_norm(x) if self.layer_norm_first else x)

    def _outputs(self, x: Tensor, attention_mask: Tensor | None, count: int) -> list[Tensor]:
        x, out = self._start(x), []
        for layer in self.layers[:count]:
            y = layer(x, attention_mask)
            if self.training and self.layer_drop:
                # chosen on the device, so that one program serves every choice
                y = torch.where(torch.rand((), device=x.device) <= self.layer_drop, x, y)
            x = y
            out.append(x)
        return out if out else [x]

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = self._outputs(x, attention_mask, len(self.layers))[-1]
        return x if self.layer_norm_first else self.layer_norm(x)

    def get_intermediate_outputs(
        self, x: Tensor, attention_mask: Tensor | None = None, num_layers: int | None = None
    ) -> list[Tensor]:
        if num_layers is not None and not 0 < num_layers <= len(self.layers):
            raise ValueError(f"`num_layers` must be between [1, {len(self.layers)}]")
        return self._outputs(x, attention_mask, len(self.layers) if num_layers is None else num_layers)


class Encoder(nn.Module):
    """(batch, frames, features) and lengths in frames -> (batch, frames, width)."""

    def __init__(self, feature_projection: nn.Module, transformer: Transformer) -> None:
        super().__init__()
        self.feature_projection, self.transformer = feature_projection, transformer

    def _start(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x = self.feature_projection(features)
        if lengths is None:
            return x, None
        padding = torch.arange(x.shape[1], device=lengths.device) >= lengths[:, None]
        x = x.masked_fill(padding[..., None], 0.0)
        return x, -10000.0 * padding[:, None, None, :].to(x.dtype).expand(-1, 1, x.shape[1], -1)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        x, mask = self._start(features, lengths)
        return self.transformer(x, attention_mask=mask)

    def extract_features(
        self, features: Tensor, lengths: Tensor | None = None, num_layers: int | None = None
    ) -> list[Tensor]:
        x, mask = self._start(features, lengths)
        return self.transformer.get_intermediate_outputs(x, attention_mask=mask, num_layers=num_layers)


class Wav2Vec2Model(nn.Module):
    """Features, encoder and, where there is one, a linear layer on top; :func:`wav2vec2_model` builds it of sizes."""

    def __init__(self, feature_extractor: nn.Module, encoder: nn.Module, aux: nn.Module | None = None) -> None:
        super().__init__()
        self.feature_extractor, self.encoder, self.aux = feature_extractor, encoder, aux

    def extract_features(
        self, waveforms: Tensor, lengths: Tensor | None = None, num_layers: int | None = None
    ) -> tuple[list[Tensor], Tensor | None]:
        """The outputs of the first ``num_layers`` layers, all by default, each (batch, frames, width), and lengths.

        waveforms: (batch, time).   lengths (batch,): in samples; what is behind them is masked.
        """
        x, lengths = self.feature_extractor(waveforms, lengths)
        return self.encoder.extract_features(x, lengths, num_layers), lengths

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(batch, time) -> (batch, frames, width, or as many as ``aux`` gives), and the lengths in frames."""
        x, lengths = self.feature_extractor(waveforms, lengths)
        x = self.encoder(x, lengths)
        return x if self.aux is None else self.aux(x), lengths


def wav2vec2_model(
    extractor_mode: str, extractor_conv_layer_config: Sequence[tuple[int, int, int]] | None,
    extractor_conv_bias: bool, encoder_embed_dim: int, encoder_projection_dropout: float,
    encoder_pos_conv_kernel: int, encoder_pos_conv_groups: int, encoder_num_layers: int, encoder_num_heads: int,
    encoder_attention_dropout: float, encoder_ff_interm_features: int, encoder_ff_interm_dropout: float,
    encoder_dropout: float, encoder_layer_norm_first: bool, encoder_layer_drop: float, aux_num_out: int | None,
) -> Wav2Vec2Model:  # fmt: skip
    """A model of any size. extractor_mode: "group_norm" (of the first convolution) or "layer_norm" (of each)."""
    if extractor_mode not in ("group_norm", "layer_norm"):
        raise ValueError(f'extractor_mode is "group_norm" or "layer_norm", not {extractor_mode!r}')
    convolutions, channels = nn.ModuleList(), 1
    for i, (out, kernel, stride) in enumerate(extractor_conv_layer_config or CONVOLUTIONS):
        if extractor_mode == "layer_norm":
            norm: nn.Module | None = ChannelNorm(out)
        else:
            norm = nn.GroupNorm(out, out, affine=True) if i == 0 else None
        convolutions.append(ConvLayerBlock(channels, out, kernel, stride, extractor_conv_bias, norm))
        channels = out
    layers = nn.ModuleList(
        EncoderLayer(
            SelfAttention(encoder_embed_dim, encoder_num_heads, encoder_attention_dropout), encoder_dropout,
            encoder_layer_norm_first,
            FeedForward(
                encoder_embed_dim, encoder_ff_interm_features, encoder_ff_interm_dropout, encoder_dropout
            ),
        )
        for _ in range(encoder_num_layers)
    )  # fmt: skip
    positions = ConvolutionalPositionalEmbedding(encoder_embed_dim, encoder_pos_conv_kernel, encoder_pos_conv_groups)
    # where the layers normalise first, the sum of their outputs is normalised last
    transformer = Transformer(
        positions, encoder_embed_dim, encoder_dropout, layers, not encoder_layer_norm_first, encoder_layer_drop
    )
    projection = FeatureProjection(channels, encoder_embed_dim, encoder_projection_dropout)
    aux = None if aux_num_out is None else nn.Linear(encoder_embed_dim, aux_num_out)
    return Wav2Vec2Model(FeatureExtractor(convolutions), Encoder(projection, transformer), aux)


def _sized(
    name: str, mode: str, bias: bool, width: int, layers: int, heads: int, hidden: int, norm_first: bool,
    drops: tuple[float, ...],
) -> Callable[..., Wav2Vec2Model]:  # fmt: skip
    def build(
        encoder_projection_dropout: float = drops[0], encoder_attention_dropout: float = drops[1],
        encoder_ff_interm_dropout: float = drops[2], encoder_dropout: float = drops[3],
        encoder_layer_drop: float = drops[4], aux_num_out: int | None = None,
    ) -> Wav2Vec2Model:  # fmt: skip
        return wav2vec2_model(
            mode, None, bias, width, encoder_projection_dropout, 128, 16, layers, heads, encoder_attention_dropout,
            hidden, encoder_ff_interm_dropout, encoder_dropout, norm_first, encoder_layer_drop, aux_num_out,
        )  # fmt: skip

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"The model of {layers} layers, {width} wide, with {heads} heads; the rates of dropout vary."
    return build


wav2vec2_base = _sized("wav2vec2_base", "group_norm", False, 768, 12, 12, 3072, False, (0.1, 0.1, 0.1, 0.1, 0.1))
wav2vec2_large = _sized("wav2vec2_large", "group_norm", False, 1024, 24, 16, 4096, False, (0.1, 0.1, 0.1, 0.1, 0.1))
wav2vec2_large_lv60k = _sized(
    "wav2vec2_large_lv60k", "layer_norm", True, 1024, 24, 16, 4096, True, (0.1, 0.0, 0.1, 0.0, 0.1)
)
wav2vec2_xlsr_300m = _sized("wav2vec2_xlsr_300m", "layer_norm", True, 1024, 24, 16, 4096, True, (0.0,) * 5)
wav2vec2_xlsr_1b = _sized("wav2vec2_xlsr_1b", "layer_norm", True, 1280, 48, 16, 5120, True, (0.1, 0.0, 0.0, 0.0, 0.0))
wav2vec2_xlsr_2b = _sized("wav2vec2_xlsr_2b", "layer_norm", True, 1920, 48, 16, 7680, True, (0.1, 0.0, 0.0, 0.0, 0.0))
hubert_base = _sized("hubert_base", "group_norm", False, 768, 12, 12, 3072, False, (0.1, 0.1, 0.0, 0.1, 0.05))
hubert_large = _sized("hubert_large", "layer_norm", False, 1024, 24, 16, 4096, True, (0.0,) * 5)
hubert_xlarge = _sized("hubert_xlarge", "layer_norm", False, 1280, 48, 16, 5120, True, (0.0,) * 5)
