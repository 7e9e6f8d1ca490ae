"""Classifiers as backbones with a feature pyramid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytorchlike import Tensor, nn

from ...ops.misc import FeaturePyramidNetwork, FrozenBatchNorm2d, LastLevelMaxPool
from .. import mobilenetv3, resnet
from .._utils import IntermediateLayerGetter

__all__ = ["BackboneWithFPN", "mobilenet_backbone", "resnet_fpn_backbone", "trainable_layers_of"]


class BackboneWithFPN(nn.Module):
    """(N, 3, H, W) -> {name: (N, out_channels, H_i, W_i)}: layers of a model, through a feature pyramid."""

    def __init__(
        self, backbone: nn.Module, return_layers: dict[str, str], in_channels_list: list[int], out_channels: int,
        extra_blocks: nn.Module | None = None, norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.body = IntermediateLayerGetter(backbone, return_layers)
        self.fpn = FeaturePyramidNetwork(in_channels_list, out_channels, extra_blocks or LastLevelMaxPool(), norm_layer)
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.fpn(self.body(x))


def trainable_layers_of(trained: bool, asked: int | None, most: int, default: int) -> int:
    """How many layers are trained: all if none was trained before. ValueError outside [0, most]."""
    found = (default if asked is None else asked) if trained else most
    if not 0 <= found <= most:
        raise ValueError(f"Trainable backbone layers should be in the range [0,{most}], got {found}")
    return found


_validate_trainable_layers = trainable_layers_of  # torchvision's names


def resnet_extractor(
    backbone: nn.Module, trainable_layers: int, returned_layers: list[int] | None = None,
    extra_blocks: nn.Module | None = None, norm_layer: Callable[..., nn.Module] | None = None,
) -> BackboneWithFPN:  # fmt: skip
    """A ResNet with a pyramid of its layers (1 to 4), all but the last ``trainable_layers`` of which are frozen."""
    if not 0 <= trainable_layers <= 5:
        raise ValueError(f"Trainable layers should be in the range [0,5], got {trainable_layers}")
    trained = ("layer4", "layer3", "layer2", "layer1", "conv1")[:trainable_layers]
    trained += ("bn1",) if trainable_layers == 5 else ()
    for name, parameter in backbone.named_parameters():
        if not name.startswith(trained or ("?",)):
            parameter.requires_grad_(False)
    returned = [1, 2, 3, 4] if returned_layers is None else returned_layers
    if not all(0 < k < 5 for k in returned):
        raise ValueError(f"Each returned layer should be in the range [1,4]. Got {returned}")
    first = backbone.inplanes // 8  # type: ignore[operator]
    names = {f"layer{k}": str(i) for i, k in enumerate(returned)}
    return BackboneWithFPN(backbone, names, [first * 2 ** (k - 1) for k in returned], 256, extra_blocks, norm_layer)


_resnet_fpn_extractor = resnet_extractor


def resnet_fpn_backbone(
    *, backbone_name: str, weights: Any, norm_layer: Callable[..., nn.Module] = FrozenBatchNorm2d,
    trainable_layers: int = 3, returned_layers: list[int] | None = None, extra_blocks: nn.Module | None = None,
) -> BackboneWithFPN:  # fmt: skip
    """A ResNet by name with a feature pyramid."""
    backbone = getattr(resnet, backbone_name)(weights=weights, norm_layer=norm_layer)
    return resnet_extractor(backbone, trainable_layers, returned_layers, extra_blocks)


def stages_of_mobilenet(features: Any) -> list[int]:
    """The layers of a MobileNet at which the resolution changes, the first and the last one."""
    return [0, *(i for i, b in enumerate(features) if getattr(b, "_is_cn", False)), len(features) - 1]


def freeze_first(features: Any, stages: list[int], trainable_layers: int) -> None:
    """Freeze all but the last ``trainable_layers`` stages, which begin at ``stages``. ValueError if there are fewer."""
    if not 0 <= trainable_layers <= len(stages):
        raise ValueError(f"Trainable layers should be in the range [0,{len(stages)}], got {trainable_layers}")
    layers = [*features]
    for layer in layers[: len(layers) if trainable_layers == 0 else stages[len(stages) - trainable_layers]]:
        for parameter in layer.parameters():
            parameter.requires_grad_(False)


def mobilenet_backbone(
    *, backbone_name: str, weights: Any, fpn: bool, norm_layer: Callable[..., nn.Module] = FrozenBatchNorm2d,
    trainable_layers: int = 2, returned_layers: list[int] | None = None, extra_blocks: nn.Module | None = None,
) -> BackboneWithFPN:  # fmt: skip
    """A MobileNet V3 by name with a feature pyramid. NotImplementedError without the pyramid, and for MobileNet V2."""
    if not fpn or not backbone_name.startswith("mobilenet_v3"):
        raise NotImplementedError("mobilenet_backbone makes MobileNets V3 with a feature pyramid (fpn=True) only")
    features = getattr(mobilenetv3, backbone_name)(weights=weights, norm_layer=norm_layer).features
    layers = [*features]
    stages = stages_of_mobilenet(layers)
    freeze_first(layers, stages, trainable_layers)
    returned = [len(stages) - 2, len(stages) - 1] if returned_layers is None else returned_layers
    names = {str(stages[k]): str(v) for v, k in enumerate(returned)}
    channels = [layers[stages[k]].out_channels for k in returned]
    return BackboneWithFPN(features, names, channels, 256, extra_blocks)
