"""RAFT: Teed & Deng 2020, arXiv:2003.12039."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ...ops.misc import Conv2dNormActivation
from ...transforms._presets import OpticalFlow
from .._api import builder, weights_enum

__all__ = ["RAFT", "Raft_Large_Weights", "Raft_Small_Weights", "raft_large", "raft_small"]


class ResidualBlock(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, in_channels: int, out_channels: int, *, norm_layer: Any, stride: int = 1,
                 always_project: bool = False) -> None:  # fmt: skip
        super().__init__()
        conv = partial(Conv2dNormActivation, norm_layer=norm_layer, bias=True)
        self.convnormrelu1 = conv(in_channels, out_channels, 3, stride)
        self.convnormrelu2 = conv(out_channels, out_channels, 3)
        around = stride != 1 or always_project
        self.downsample = conv(in_channels, out_channels, 1, stride, activation_layer=None) if around else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.downsample(x) + self.convnormrelu2(self.convnormrelu1(x)))


class BottleneckBlock(nn.Module):
    """A narrow convolution between two of size 1, and a way around them."""

    def __init__(self, in_channels: int, out_channels: int, *, norm_layer: Any, stride: int = 1) -> None:
        super().__init__()
        conv, inner = partial(Conv2dNormActivation, norm_layer=norm_layer, bias=True), out_channels // 4
        self.convnormrelu1 = conv(in_channels, inner, 1)
        self.convnormrelu2 = conv(inner, inner, 3, stride)
        self.convnormrelu3 = conv(inner, out_channels, 1)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Identity() if stride == 1 else conv(in_channels, out_channels, 1, stride,
                                                                 activation_layer=None)  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.downsample(x) + self.convnormrelu3(self.convnormrelu2(self.convnormrelu1(x))))


class FeatureEncoder(nn.Module):
    """(N, 3, H, W) -> (N, layers[-1], H / 8, W / 8)."""

    def __init__(self, *, block: Any = ResidualBlock, layers: tuple[int, ...] = (64, 64, 96, 128, 256),
                 strides: tuple[int, ...] = (2, 1, 2, 2), norm_layer: Any = nn.BatchNorm2d) -> None:  # fmt: skip
        super().__init__()
        if len(layers) != 5:
            raise ValueError(f"The expected number of layers is 5, instead got {len(layers)}")
        self.convnormrelu = Conv2dNormActivation(3, layers[0], 7, strides[0], norm_layer=norm_layer, bias=True)
        for k in range(1, 4):
            setattr(self, f"layer{k}", nn.Sequential(
                block(layers[k - 1], layers[k], norm_layer=norm_layer, stride=strides[k]),
                block(layers[k], layers[k], norm_layer=norm_layer),
            ))  # fmt: skip
        self.conv = nn.Conv2d(layers[3], layers[4], 1)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        self.output_dim = layers[-1]
        self.downsample_factor = 8

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.layer3(self.layer2(self.layer1(self.convnormrelu(x)))))


class MotionEncoder(nn.Module):
    """Correlations and flow as features."""

    def __init__(self, *, in_channels_corr: int, corr_layers: tuple[int, ...] = (256, 192),
                 flow_layers: tuple[int, ...] = (128, 64), out_channels: int = 128) -> None:  # fmt: skip
        super().__init__()
        conv = partial(Conv2dNormActivation, norm_layer=None)
        self.convcorr1 = conv(in_channels_corr, corr_layers[0], 1)
        self.convcorr2 = conv(corr_layers[0], corr_layers[1], 3) if len(corr_layers) == 2 else nn.Identity()
        self.convflow1 = conv(2, flow_layers[0], 7)
        self.convflow2 = conv(flow_layers[0], flow_layers[1], 3)
        self.conv = conv(corr_layers[-1] + flow_layers[-1], out_channels - 2, 3)
        self.out_channels = out_channels

    def forward(self, flow: Tensor, corr_features: Tensor) -> Tensor:
        corr = self.convcorr2(self.convcorr1(corr_features))
        found = self.conv(torch.cat([corr, self.convflow2(self.convflow1(flow))], 1))
        return torch.cat([found, flow], 1)


class ConvGRU(nn.Module):
    """A GRU whose products are convolutions."""

    def __init__(self, *, input_size: int, hidden_size: int, kernel_size: Any, padding: Any) -> None:
        super().__init__()
        both = hidden_size + input_size
        self.convz = nn.Conv2d(both, hidden_size, kernel_size, padding=padding)
        self.convr = nn.Conv2d(both, hidden_size, kernel_size, padding=padding)
        self.convq = nn.Conv2d(both, hidden_size, kernel_size, padding=padding)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        hx = torch.cat([h, x], 1)
        z, r = torch.sigmoid(self.convz(hx)), torch.sigmoid(self.convr(hx))
        return (1 - z) * h + z * torch.tanh(self.convq(torch.cat([r * h, x], 1)))


class RecurrentBlock(nn.Module):
    """One or two convolutional GRUs, one after the other."""

    def __init__(self, *, input_size: int, hidden_size: int, kernel_size: Any = ((1, 5), (5, 1)),
                 padding: Any = ((0, 2), (2, 0))) -> None:  # fmt: skip
        super().__init__()
        if len(kernel_size) != len(padding) or len(kernel_size) not in (1, 2):
            raise ValueError(f"kernel_size and padding should have the same length of 1 or 2, got {kernel_size} and "
                             f"{padding}")  # fmt: skip
        self._names = [f"convgru{k + 1}" for k in range(len(kernel_size))]
        for name, kernel, pad in zip(self._names, kernel_size, padding, strict=True):
            gru = ConvGRU(input_size=input_size, hidden_size=hidden_size, kernel_size=kernel, padding=pad)
            setattr(self, name, gru)
        self.hidden_size = hidden_size

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        for name in self._names:
            h = getattr(self, name)(h, x)
        return h


class FlowHead(nn.Module):
    """How the flow changes."""

    def __init__(self, *, in_channels: int, hidden_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, hidden_size, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden_size, 2, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.relu(self.conv1(x)))


class UpdateBlock(nn.Module):
    """One update of the state and the flow."""

    def __init__(self, *, motion_encoder: nn.Module, recurrent_block: nn.Module, flow_head: nn.Module) -> None:
        super().__init__()
        self.motion_encoder, self.recurrent_block, self.flow_head = motion_encoder, recurrent_block, flow_head
        self.hidden_state_size = recurrent_block.hidden_size

    def forward(self, hidden_state: Tensor, context: Tensor, corr_features: Tensor, flow: Tensor) -> Any:
        motion = self.motion_encoder(flow, corr_features)
        hidden_state = self.recurrent_block(hidden_state, torch.cat([context, motion], 1))
        return hidden_state, self.flow_head(hidden_state)


class MaskPredictor(nn.Module):
    """Weights with which the flow is made eight times as large."""

    def __init__(self, *, in_channels: int, hidden_size: int, multiplier: float = 0.25) -> None:
        super().__init__()
        self.convrelu = Conv2dNormActivation(in_channels, hidden_size, 3, norm_layer=None)
        self.conv = nn.Conv2d(hidden_size, 8 * 8 * 9, 1)
        self.multiplier = multiplier

    def forward(self, x: Tensor) -> Tensor:
        return self.multiplier * self.conv(self.convrelu(x))


class CorrBlock(nn.Module):
    """Products of all pairs of places of two maps, at several resolutions, looked up about given places."""

    def __init__(self, *, num_levels: int = 4, radius: int = 4) -> None:
        super().__init__()
        self.num_levels, self.radius = num_levels, radius
        self.out_channels = num_levels * (2 * radius + 1) ** 2

    def build_pyramid(self, fmap1: Tensor, fmap2: Tensor) -> list[Tensor]:
        """(N, C, H, W) twice -> (N * H * W, 1, H_i, W_i) of each level. ValueError for maps that are too small."""
        n, c, h, w = fmap1.shape
        least = 2 * 2 ** (self.num_levels - 1)
        if fmap1.shape != fmap2.shape or min(h, w) < least:
            raise ValueError(f"Feature maps must have one shape, and be at least {least} places large; got "
                             f"{tuple(fmap1.shape)} and {tuple(fmap2.shape)}. Their sides are an eighth of the "
                             "pictures'.")  # fmt: skip
        products = fmap1.flatten(2).transpose(1, 2) @ fmap2.flatten(2) / c**0.5
        levels = [products.reshape(n * h * w, 1, h, w)]
        for _ in range(self.num_levels - 1):
            levels.append(F.avg_pool2d(levels[-1], 2, 2))
        return levels

    def index_pyramid(self, levels: list[Tensor], centroids: Tensor) -> Tensor:
        """Within ``radius`` of places (N, 2, H, W): (N, out_channels, H, W)."""
        n, _, h, w = centroids.shape
        side = 2 * self.radius + 1
        steps = torch.arange(-self.radius, self.radius + 1, device=centroids.device).to(centroids.dtype)
        around = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).reshape(1, side, side, 2)
        middle = centroids.permute(0, 2, 3, 1).reshape(n * h * w, 1, 1, 2)
        found = []
        for k, level in enumerate(levels):
            sizes = torch.tensor([level.shape[-1] - 1, level.shape[-2] - 1], device=centroids.device)
            at = 2 * (middle / 2**k + around) / sizes - 1
            found.append(F.grid_sample(level, at, align_corners=True).reshape(n, h, w, -1))
        return torch.cat(found, -1).permute(0, 3, 1, 2)


def _places(n: int, h: int, w: int, like: Tensor) -> Tensor:
    """x and y of each place: (N, 2, H, W)."""
    y, x = torch.meshgrid(torch.arange(h, device=like.device), torch.arange(w, device=like.device), indexing="ij")
    return torch.stack([x, y]).to(like.dtype)[None].expand(n, 2, h, w)


def _upsample(flow: Tensor, mask: Tensor | None) -> Tensor:
    """Eight times as large, each place a weighted mean of nine (bilinear without weights)."""
    n, _, h, w = flow.shape
    if mask is None:
        return 8 * F.interpolate(flow, size=(8 * h, 8 * w), mode="bilinear", align_corners=True)
    weights = mask.reshape(n, 1, 9, 8, 8, h, w).softmax(2)
    near = F.unfold(8 * flow, 3, padding=1).reshape(n, 2, 9, 1, 1, h, w)
    return (weights * near).sum(2).permute(0, 1, 4, 2, 5, 3).reshape(n, 2, 8 * h, 8 * w)


class RAFT(nn.Module):
    """(N, 3, H, W) twice, in [-1, 1], sides multiples of 8, at least 128 -> the flow (N, 2, H, W) after each update."""

    def __init__(self, *, feature_encoder: nn.Module, context_encoder: nn.Module, corr_block: CorrBlock,
                 update_block: UpdateBlock, mask_predictor: nn.Module | None = None) -> None:  # fmt: skip
        super().__init__()
        self.feature_encoder, self.context_encoder = feature_encoder, context_encoder
        self.corr_block, self.update_block, self.mask_predictor = corr_block, update_block, mask_predictor

    def forward(self, image1: Tensor, image2: Tensor, num_flow_updates: int = 12) -> list[Tensor]:
        n, _, h, w = image1.shape
        if image1.shape != image2.shape:
            raise ValueError(f"input images should have the same shape, instead got ({h}, {w}) != "
                             f"{tuple(image2.shape[-2:])}")  # fmt: skip
        if h % 8 or w % 8:
            raise ValueError(f"input image H and W should be divisible by 8, instead got {h} (h) and {w} (w)")
        one, two = self.feature_encoder(torch.cat([image1, image2])).chunk(2)
        levels = self.corr_block.build_pyramid(one, two)
        context = self.context_encoder(image1)
        state, context = context[:, : self.update_block.hidden_state_size], context[
            :, self.update_block.hidden_state_size :]  # fmt: skip
        state, context = torch.tanh(state), F.relu(context)
        start = now = _places(n, h // 8, w // 8, one)
        flows = []
        for _ in range(num_flow_updates):
            now = now.detach()  # the updates are learnt one by one
            corr = self.corr_block.index_pyramid(levels, now)
            state, change = self.update_block(state, context, corr, now - start)
            now = now + change
            mask = None if self.mask_predictor is None else self.mask_predictor(state)
            flows.append(_upsample(now - start, mask))
        return flows


def _raft(encoder: tuple[int, ...], context: tuple[int, ...], block: Any, context_norm: Any, radius: int,
          corr: tuple[int, ...], flow: tuple[int, ...], motion: int, hidden: int, kernels: Any, padding: Any, head: int,
          masked: bool) -> Callable[..., RAFT]:  # fmt: skip
    def make(**kwargs: Any) -> RAFT:
        blocks = CorrBlock(num_levels=4, radius=radius)
        update = UpdateBlock(
            motion_encoder=MotionEncoder(in_channels_corr=blocks.out_channels, corr_layers=corr, flow_layers=flow,
                                         out_channels=motion),
            recurrent_block=RecurrentBlock(input_size=motion + context[-1] - hidden, hidden_size=hidden,
                                           kernel_size=kernels, padding=padding),
            flow_head=FlowHead(in_channels=hidden, hidden_size=head),
        )  # fmt: skip
        parts = {
            "feature_encoder": FeatureEncoder(block=block, layers=encoder, norm_layer=nn.InstanceNorm2d),
            "context_encoder": FeatureEncoder(block=block, layers=context, norm_layer=context_norm),
            "corr_block": blocks, "update_block": update,
            "mask_predictor": MaskPredictor(in_channels=hidden, hidden_size=256) if masked else None,
        }  # fmt: skip
        return RAFT(**{**parts, **kwargs})

    return make


_large = _raft((64, 64, 96, 128, 256), (64, 64, 96, 128, 256), ResidualBlock, nn.BatchNorm2d, 4, (256, 192), (128, 64),
               128, 128, ((1, 5), (5, 1)), ((0, 2), (2, 0)), 256, True)  # fmt: skip
_small = _raft((32, 32, 64, 96, 128), (32, 32, 64, 96, 160), BottleneckBlock, None, 3, (96,), (64, 32), 82, 96, (3,),
               (1,), 128, False)  # fmt: skip

Raft_Large_Weights = weights_enum("Raft_Large_Weights", __name__, {
    "C_T_V1": "raft_large_C_T_V1-22a6c225.pth", "C_T_V2": "raft_large_C_T_V2-1bb1363a.pth",
    "C_T_SKHT_V1": "raft_large_C_T_SKHT_V1-0b8c9e55.pth", "C_T_SKHT_V2": "raft_large_C_T_SKHT_V2-ff5fadd5.pth",
    "C_T_SKHT_K_V1": "raft_large_C_T_SKHT_K_V1-4a6a5039.pth", "C_T_SKHT_K_V2": "raft_large_C_T_SKHT_K_V2-b5c70766.pth",
}, classes=None, preset=OpticalFlow, default="C_T_SKHT_V2")  # fmt: skip
Raft_Small_Weights = weights_enum("Raft_Small_Weights", __name__, {
    "C_T_V1": "raft_small_C_T_V1-ad48884c.pth", "C_T_V2": "raft_small_C_T_V2-01064c6d.pth",
}, classes=None, preset=OpticalFlow, default="C_T_V2")  # fmt: skip
raft_large = builder("raft_large", __name__, Raft_Large_Weights, _large, "RAFT, large")
raft_small = builder("raft_small", __name__, Raft_Small_Weights, _small, "RAFT, small")
