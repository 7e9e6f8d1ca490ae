"""Conv-TasNet: separation of speakers in the time domain (Luo & Mesgarani 2019, doi:10.1109/TASLP.2019.2915167)."""

from __future__ import annotations

from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

__all__ = ["ConvTasNet", "conv_tasnet_base"]


class ConvBlock(nn.Module):
    """One dilated block: (batch, io_channels, frames) -> what is added to its input (or None), and the skip."""

    def __init__(
        self, io_channels: int, hidden_channels: int, kernel_size: int, padding: int, dilation: int = 1,
        no_residual: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv_layers = nn.Sequential(
            nn.Conv1d(io_channels, hidden_channels, kernel_size=1),
            nn.PReLU(),
            nn.GroupNorm(1, hidden_channels, eps=1e-08),
            nn.Conv1d(
                hidden_channels, hidden_channels, kernel_size=kernel_size, padding=padding, dilation=dilation,
                groups=hidden_channels,
            ),
            nn.PReLU(),
            nn.GroupNorm(1, hidden_channels, eps=1e-08),
        )  # fmt: skip
        self.res_out = None if no_residual else nn.Conv1d(hidden_channels, io_channels, kernel_size=1)
        self.skip_out = nn.Conv1d(hidden_channels, io_channels, kernel_size=1)

    def forward(self, input: Tensor) -> tuple[Tensor | None, Tensor]:
        feature = self.conv_layers(input)
        return None if self.res_out is None else self.res_out(feature), self.skip_out(feature)


class MaskGenerator(nn.Module):
    """(batch, input_dim, frames) -> masks (batch, num_sources, input_dim, frames)."""

    def __init__(
        self, input_dim: int, num_sources: int, kernel_size: int, num_feats: int, num_hidden: int, num_layers: int,
        num_stacks: int, msk_activate: str,
    ) -> None:  # fmt: skip
        super().__init__()
        self.input_dim, self.num_sources = input_dim, num_sources
        self.input_norm = nn.GroupNorm(1, input_dim, eps=1e-8)
        self.input_conv = nn.Conv1d(input_dim, num_feats, kernel_size=1)
        dilations = [2**i for _ in range(num_stacks) for i in range(num_layers)]
        self.conv_layers = nn.ModuleList(
            ConvBlock(num_feats, num_hidden, kernel_size, d, d, no_residual=i == len(dilations) - 1)
            for i, d in enumerate(dilations)
        )
        self.output_prelu = nn.PReLU()
        self.output_conv = nn.Conv1d(num_feats, input_dim * num_sources, kernel_size=1)
        if msk_activate not in ("sigmoid", "relu"):
            raise ValueError(f"Unsupported activation {msk_activate}")
        self.mask_activate = nn.Sigmoid() if msk_activate == "sigmoid" else nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        feats = self.input_conv(self.input_norm(input))
        output: Tensor | float = 0.0
        for layer in self.conv_layers:
            residual, skip = layer(feats)
            if residual is not None:
                feats = feats + residual
            output = output + skip
        output = self.mask_activate(self.output_conv(self.output_prelu(output)))
        return output.view(input.shape[0], self.num_sources, self.input_dim, -1)


class ConvTasNet(nn.Module):
    """(batch, 1, time) -> (batch, num_sources, time). Raises ValueError for other shapes."""

    def __init__(
        self, num_sources: int = 2, enc_kernel_size: int = 16, enc_num_feats: int = 512, msk_kernel_size: int = 3,
        msk_num_feats: int = 128, msk_num_hidden_feats: int = 512, msk_num_layers: int = 8, msk_num_stacks: int = 3,
        msk_activate: str = "sigmoid",
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_sources, self.enc_num_feats = num_sources, enc_num_feats
        self.enc_kernel_size, self.enc_stride = enc_kernel_size, enc_kernel_size // 2
        sizes = {"kernel_size": enc_kernel_size, "stride": self.enc_stride, "padding": self.enc_stride, "bias": False}
        self.encoder = nn.Conv1d(1, enc_num_feats, **sizes)
        self.mask_generator = MaskGenerator(
            enc_num_feats, num_sources, msk_kernel_size, msk_num_feats, msk_num_hidden_feats, msk_num_layers,
            msk_num_stacks, msk_activate,
        )  # fmt: skip
        self.decoder = nn.ConvTranspose1d(enc_num_feats, 1, **sizes)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim != 3 or input.shape[1] != 1:
            raise ValueError(f"Expected 3D tensor (batch, channel==1, frames). Found: {tuple(input.shape)}")
        length = input.shape[-1]
        padded = F.pad(input, (0, -(length - self.enc_kernel_size % 2) % self.enc_stride))
        feats = self.encoder(padded)
        masked = self.mask_generator(feats) * feats.unsqueeze(1)
        decoded = self.decoder(masked.reshape(-1, self.enc_num_feats, masked.shape[-1]))
        return decoded.view(input.shape[0], self.num_sources, -1)[..., :length]


def conv_tasnet_base(num_sources: int = 2) -> ConvTasNet:
    """The non-causal network of the paper, of its best size."""
    return ConvTasNet(num_sources=num_sources)
