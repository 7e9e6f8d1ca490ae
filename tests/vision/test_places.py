"""Programs find torchvision's things under the modules that torchvision has them in."""

import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn, vision
from pytorchlike.vision import ops
from pytorchlike.vision._places import PLACES
from pytorchlike.vision.models._utils import _ovewrite_named_param, _ovewrite_value_param, handle_legacy_interface
from pytorchlike.vision.models.vision_transformer import ConvStemConfig, VisionTransformer, interpolate_embeddings
from pytorchlike.vision.utils import flow_to_image

USUAL = {
    "_internally_replaced_utils": "load_state_dict_from_url", "datasets.coco": "CocoDetection",
    "datasets.voc": "VOCSegmentation", "io.image": "read_image ImageReadMode",
    "models.detection._utils": "retrieve_out_channels Matcher BoxCoder",
    "models.detection.generalized_rcnn": "GeneralizedRCNN", "models.detection.image_list": "ImageList",
    "models.detection.ssdlite": "SSDLiteClassificationHead SSDLiteHead ssdlite320_mobilenet_v3_large",
    "models.segmentation._utils": "_SimpleSegmentationModel",
    "models.segmentation.deeplabv3": "DeepLabHead DeepLabV3 ASPP ASPPConv deeplabv3_resnet50",
    "models.segmentation.fcn": "FCNHead", "ops._utils": "split_normalization_params", "ops.deform_conv": "DeformConv2d",
    "ops.focal_loss": "sigmoid_focal_loss", "ops.poolers": "MultiScaleRoIAlign", "ops.ps_roi_pool": "PSRoIPool",
    "ops.roi_align": "RoIAlign roi_align", "ops.stochastic_depth": "StochasticDepth",
    "transforms._functional_tensor": "resize normalize",
    "transforms.v2._utils": "query_size check_type is_pure_tensor get_size",
    "transforms.v2._transform": "Transform", "tv_tensors._tv_tensor": "TVTensor", "version": "__version__",
}  # fmt: skip


def test_every_place_leads_somewhere():
    for place in PLACES:
        module = sys.modules[f"{vision.__name__}.{place}"]
        assert dir(module), place
        with pytest.raises(AttributeError, match="no attribute 'missing'"):
            module.missing  # noqa: B018
    for place, names in USUAL.items():
        for name in names.split():
            assert getattr(sys.modules[f"{vision.__name__}.{place}"], name) is not None
    assert vision.models.segmentation.deeplabv3.DeepLabHead is vision.models.segmentation.DeepLabHead


def test_anchors_are_found_where_programs_look_for_them():
    detection = vision.models.detection
    anchors = detection.anchor_utils.AnchorGenerator
    assert detection.rpn.AnchorGenerator is anchors
    assert detection.rpn.ImageList is detection.anchor_utils.ImageList is detection.transform.ImageList
    assert detection.anchor_utils.DefaultBoxGenerator is detection.ssd.DefaultBoxGenerator


def test_lower_case_functions_among_the_models_are_builders():
    asking = {"get_model", "get_model_builder", "get_model_weights", "get_weight", "list_models"}
    found = {n for n, v in vars(vision.models).items() if n.islower() and not n.startswith("_") and callable(v)}
    assert found - asking <= set(vision.models.list_models())


def test_importing_a_place_leaves_the_function_of_its_name():
    program = """
import torchvision.ops.roi_align
from torchvision.ops.roi_align import RoIAlign
import torchvision.models.segmentation.deeplabv3 as deeplab
from torchvision.models.segmentation import deeplabv3
assert callable(torchvision.ops.roi_align) and torchvision.ops.RoIAlign is RoIAlign
assert deeplab is deeplabv3 and deeplab.DeepLabHead
"""
    subprocess.run([sys.executable, "-m", "pytorchlike", "-"], input=program, text=True, check=True)


def test_pillow_is_there_after_torchvision():
    pytest.importorskip("PIL")
    program = "import PIL, torchvision; assert PIL.Image.new('L', (2, 1)).size == (2, 1) and PIL.ImageOps.flip"
    subprocess.run([sys.executable, "-m", "pytorchlike", "-"], input=program, text=True, check=True)


def test_legacy_interface():
    @handle_legacy_interface(weights=("pretrained", lambda kwargs: kwargs.get("best", "W")))
    def build(*, weights=None, progress=True, **kwargs):
        return weights, progress, kwargs

    assert build() == (None, True, {}) and build(weights="X", a=1) == ("X", True, {"a": 1})
    with pytest.warns(UserWarning, match="'pretrained' is deprecated"):
        assert build(pretrained=True) == ("W", True, {})
        assert build(pretrained=False) == (None, True, {})
        assert build(True, False) == ("W", False, {})
        assert build(True, best="B") == ("B", True, {"best": "B"})
        with pytest.raises(ValueError, match="No weights are available for model build"):
            build(True, best=None)
    kwargs = {"a": 1}
    _ovewrite_named_param(kwargs, "b", 2)
    assert kwargs == {"a": 1, "b": 2} and _ovewrite_value_param("c", None, 3) == 3
    with pytest.raises(ValueError, match="'a' expected value 3 but got 1"):
        _ovewrite_named_param(kwargs, "a", 3)


def test_stem_of_convolutions_and_other_sizes():
    stem = [ConvStemConfig(4, 3, 2), ConvStemConfig(6, 3, 4)]
    model = VisionTransformer(16, 8, 1, 2, 8, 8, num_classes=3, conv_stem_configs=stem)
    names = [k for k in model.state_dict() if k.startswith("conv_proj") and k.endswith("weight")]
    assert names[0] == "conv_proj.conv_bn_relu_0.0.weight" and names[-1] == "conv_proj.conv_last.weight"
    assert model(torch.zeros(2, 3, 16, 16)).shape == (2, 3)
    places = torch.arange(4.0)[None, :, None].repeat(1, 1, 2)
    embedding = torch.cat([torch.full((1, 1, 2), 9.0), places], 1)
    state = OrderedDict({"encoder.pos_embedding": embedding, "heads.x": places})
    larger = interpolate_embeddings(24, 8, OrderedDict(state), interpolation_mode="bilinear", reset_heads=True)
    assert list(larger) == ["encoder.pos_embedding"]
    assert larger["encoder.pos_embedding"][0, :, 0].tolist() == [9.0, 0.0, 0.5, 1.0, 1.0, 1.5, 2.0, 2.0, 2.5, 3.0]
    same = interpolate_embeddings(16, 8, state)
    assert same is state
    with pytest.raises(ValueError, match="perfect square"):
        interpolate_embeddings(24, 8, OrderedDict({"encoder.pos_embedding": torch.zeros(1, 4, 2)}))


def test_heads_of_ssd_are_replaced():
    from pytorchlike.vision.models.detection import _utils, ssd

    backbone = nn.Sequential(nn.Conv2d(3, 5, 3, 2))
    assert _utils.retrieve_out_channels(backbone, (20, 16)) == [5]
    head = ssd.SSDHead([4, 5], [2, 3], 7)
    head.classification_head = ssd.SSDClassificationHead([4, 5], [2, 3], 2)
    out = head([torch.zeros(1, 4, 3, 3), torch.zeros(1, 5, 1, 2)])
    assert out["cls_logits"].shape == (1, 2 * 9 + 3 * 2, 2) and out["bbox_regression"].shape == (1, 24, 4)
    assert list(head.state_dict())[0] == "classification_head.module_list.0.weight"
    lite = ssd.SSDLiteHead([4], [2], 7, nn.BatchNorm2d)
    assert "regression_head.module_list.0.1.bias" in lite.state_dict()


def test_position_sensitive_pooling():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 2 * 2 * 3, 7, 9)).astype(np.float32)
    boxes = np.array([[0, 1, 2, 7, 6], [1, 0, 0, 3.4, 4.6], [0, 5, 5, 30, 5], [1, -2, 3, 4, 5]], np.float32)
    want = np.zeros((4, 2, 2, 3), np.float32)
    for k, (n, *box) in enumerate(boxes):
        x1, y1, x2, y2 = (int(np.floor(v * 0.9 + 0.5)) for v in box)
        high, wide = max(y2 - y1, 1) / 2, max(x2 - x1, 1) / 3
        for c, p, q in np.ndindex(2, 2, 3):
            rows = slice(*np.clip([np.floor(p * high) + y1, np.ceil((p + 1) * high) + y1], 0, 6).astype(int))
            cols = slice(*np.clip([np.floor(q * wide) + x1, np.ceil((q + 1) * wide) + x1], 0, 8).astype(int))
            cell = x[int(n), (c * 2 + p) * 3 + q, rows, cols]
            want[k, c, p, q] = cell.mean() if cell.size else 0
    found = ops.PSRoIPool((2, 3), 0.9)(torch.tensor(x), torch.tensor(boxes))
    np.testing.assert_allclose(found.numpy(), want, atol=1e-6)
    with pytest.raises(RuntimeError, match="multiple of"):
        ops.ps_roi_pool(torch.tensor(x), torch.tensor(boxes), 5)


def test_drop_block_of_cubes():
    torch.manual_seed(0)
    x = torch.ones(2, 2, 6, 6, 6)
    dropped = ops.DropBlock3d(0.3, 2)(x).numpy()
    zero = dropped == 0
    assert 0.05 < zero.mean() < 0.6 and abs(dropped.mean() - 1) < 1e-3
    assert ops.DropBlock3d(0.3, 2).eval()(x) is x
    with pytest.raises(ValueError, match="5 dimensional"):
        ops.drop_block3d(x[0], 0.3, 2)


def test_parameters_of_norms_apart():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.LayerNorm(4)), nn.Linear(4, 2))
    norms, others = ops._utils.split_normalization_params(model)
    assert [tuple(p.shape) for p in norms] == [(4,)] * 4 and len(others) == 4
    with pytest.raises(ValueError, match="not a subclass"):
        ops._utils.split_normalization_params(model, [int])


def test_colours_of_flow():
    flow = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])
    img = flow_to_image(flow)
    assert img.dtype == torch.uint8 and img.shape == (3, 2, 2) and flow_to_image(flow[None]).shape == (1, 3, 2, 2)
    assert img[:, 1, 1].tolist() == [255, 255, 255] and img[:, 1, 0].tolist() != img[:, 0, 0].tolist()
    with pytest.raises(ValueError, match="dtype"):
        flow_to_image(flow.double())
    with pytest.raises(ValueError, match="shape"):
        flow_to_image(flow[:1])
