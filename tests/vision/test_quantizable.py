"""Models prepared for quantisation have the float models' parameters and outputs, and survive fusing and converting."""

import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.vision import models
from pytorchlike.vision.models import quantization as Q
from pytorchlike.vision.models import resnet


def test_blocks_and_models_have_the_same_state():
    for name in ("resnet18", "mobilenet_v2"):
        with torch.device("meta"):
            plain, prepared = getattr(models, name)(), getattr(Q, name)()
        assert list(plain.state_dict()) == list(prepared.state_dict())
        assert not any(m.inplace for m in prepared.modules() if isinstance(m, nn.ReLU))
    for plain, prepared in (resnet.BasicBlock, Q.QuantizableBasicBlock), (resnet.Bottleneck, Q.QuantizableBottleneck):
        down = nn.Sequential(nn.Conv2d(4, 2 * plain.expansion, 1, bias=False), nn.BatchNorm2d(2 * plain.expansion))
        a, b = plain(4, 2, downsample=down).eval(), prepared(4, 2, downsample=down).eval()
        b.load_state_dict(a.state_dict())
        x = torch.rand(1, 4, 5, 5)
        with torch.no_grad():
            want = a(x)
            torch.testing.assert_close(b(x), want)
            b.fuse_model()
            assert isinstance(b.bn1, nn.Identity) and isinstance(b.downsample[1], nn.Identity)
            torch.testing.assert_close(b(x), want, rtol=1e-4, atol=1e-5)


def test_mobilenet_fuses():
    with torch.device("meta"):
        model = Q.mobilenet_v2().train()
        model.fuse_model()
    blocks = [m for m in model.modules() if isinstance(m, Q.QuantizableInvertedResidual)]
    assert len(blocks) == 17 and any(m.use_res_connect for m in blocks)
    for block in blocks:
        assert isinstance(block.conv[-1], nn.Identity) and type(block.conv[-2]).__name__ == "ConvBn2d"
        assert all(type(part[0]).__name__ == "ConvBnReLU2d" for part in block.conv[:-2])


def test_weights(monkeypatch):
    asked = []

    def found(self, *args, **kwargs):
        asked.append(self.name)
        raise LookupError

    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", found)
    with pytest.raises(NotImplementedError, match="quantised weights"):
        Q.resnet18(weights="DEFAULT", quantize=True)
    with torch.device("meta"):
        for make in (models.squeezenet1_0, models.resnet50):  # the latter has newer weights, which did not exist then
            with pytest.warns(UserWarning, match="pretrained"), pytest.raises(LookupError):
                make(pretrained=True)
    assert asked == ["IMAGENET1K_V1", "IMAGENET1K_V1"]
