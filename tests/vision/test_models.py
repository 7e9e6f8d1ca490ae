"""Models have torchvision's parameters, by name, and compute what its models compute. Figures: torchvision 0.28."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.vision import models
from pytorchlike.vision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

# parameters, entries of the state dict
PUBLISHED = {
    "alexnet": (61_100_840, 16),
    "vgg16_bn": (138_365_992, 97),
    "resnet18": (11_689_512, 122),
    "resnet50": (25_557_032, 320),
    "resnext50_32x4d": (25_028_904, 320),
    "wide_resnet50_2": (68_883_240, 320),
    "squeezenet1_1": (1_235_496, 52),
    "densenet121": (7_978_856, 727),
    "inception_v3": (27_161_264, 580),
    "googlenet": (13_004_888, 364),
    "shufflenet_v2_x1_0": (2_278_604, 338),
    "mobilenet_v2": (3_504_872, 314),
    "mobilenet_v3_small": (2_542_856, 244),
    "mnasnet1_0": (4_383_312, 314),
    "efficientnet_b0": (5_288_548, 360),
    "efficientnet_v2_s": (21_458_488, 782),
    "regnet_y_400mf": (4_344_144, 384),
    "convnext_tiny": (28_589_128, 182),
    "vit_b_16": (86_567_656, 152),
    "swin_t": (28_288_354, 185),
    "swin_v2_t": (28_351_570, 233),
    "deeplabv3_resnet50": (39_638_869, 362),
    "fasterrcnn_resnet50_fpn": (41_808_406, 348),
    "maskrcnn_resnet50_fpn_v2": (46_359_409, 432),
    "fasterrcnn_mobilenet_v3_large_fpn": (19_410_754, 330),
    "retinanet_resnet50_fpn": (34_068_119, 354),
    "retinanet_resnet50_fpn_v2": (38_198_935, 362),
    "fcos_resnet50_fpn": (32_322_720, 372),
    "keypointrcnn_resnet50_fpn": (59_190_378, 366),
    "ssd300_vgg16": (35_641_826, 71),
    "ssdlite320_mobilenet_v3_large": (3_440_060, 476),
    "lraspp_mobilenet_v3_large": (3_221_538, 319),
    "maxvit_t": (30_919_624, 582),
    "r3d_18": (33_371_472, 122),
    "mc3_18": (11_695_440, 122),
    "r2plus1d_18": (31_505_325, 224),
    "s3d": (8_320_048, 464),
    "mvit_v1_b": (36_610_672, 313),
    "mvit_v2_s": (34_537_744, 397),
    "swin3d_t": (28_158_070, 185),
    "raft_large": (5_257_536, 169),
    "raft_small": (990_162, 106),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_published(name):
    pretrained = any(kind in name for kind in ("rcnn", "deeplab", "fpn", "ssd", "lraspp"))
    whole = {"weights_backbone": None} if pretrained else {}
    with torch.device("meta"):
        model = models.get_model(name, **whole)
    assert (sum(p.numel() for p in model.parameters()), len(model.state_dict())) == PUBLISHED[name]


def filled(model):
    """Parameters that are the same everywhere."""
    for k, (name, t) in enumerate(model.state_dict().items()):
        if not t.dtype.is_floating_point or "coords_table" in name:
            continue
        v = np.sin(np.arange(t.numel()) * 0.7 + k).reshape(tuple(t.shape))
        scale = "var" in name or (t.ndim == 1 and "weight" in name)
        t.copy_(torch.from_numpy((1 + 0.3 * v if scale else 0.1 * v).astype(np.float32)))
    return model.eval()


@pytest.mark.parametrize("make, expected", [
    (lambda: models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=4),
     [97098.3125, 647244.875, 1154402.125, 1584885.25]),
    (lambda: SwinTransformer([4, 4], 8, [2, 1], [2, 4], [4, 4], num_classes=3, block=SwinTransformerBlockV2,
                             downsample_layer=PatchMergingV2),
     [0.238790676, 0.0311378017, -0.118712097]),
    (lambda: models.VisionTransformer(32, 16, 2, 2, 8, 16, num_classes=3),
     [-0.41518291831, -0.08109956979, 0.28878572583]),
], ids=["resnet", "swin_v2", "vit"])  # fmt: skip
def test_small_models_compute_the_same(make, expected):
    x = torch.from_numpy(np.sin(np.arange(3 * 32 * 32) * 0.05).reshape(1, 3, 32, 32).astype(np.float32))
    with torch.no_grad():
        np.testing.assert_allclose(filled(make())(x)[0].numpy(), expected, rtol=2e-4)


def test_models_by_name():
    assert {"resnet18", "vit_b_16", "fasterrcnn_resnet50_fpn"} <= set(models.list_models())
    assert models.list_models(include="resnet*", exclude="*50") == ["resnet101", "resnet152", "resnet18", "resnet34"]
    assert "maskrcnn_resnet50_fpn" in models.list_models(module=models.detection)
    assert "resnet18" in models.list_models(module=models) and "fcn_resnet50" not in models.list_models(module=models)
    assert models.get_weight("ResNet50_Weights.IMAGENET1K_V2") is models.get_model_weights("resnet50").DEFAULT
    with pytest.raises(ValueError, match="Unknown model"):
        models.get_model("resnet19")
    with pytest.raises(ValueError, match="unknown"):
        models.get_weight("ResNet50_Weights.NONE")


def test_weights_are_read_from_a_local_file(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    source = models.squeezenet1_1()
    (tmp_path / "checkpoints").mkdir()
    weights = models.SqueezeNet1_1_Weights.DEFAULT
    path = tmp_path / "checkpoints" / weights.url.rsplit("/", 1)[1]
    torch.save(source.state_dict(), path)
    model = models.squeezenet1_1(weights="DEFAULT")
    assert torch.equal(model.features[0].weight, source.features[0].weight)
    with pytest.raises(ValueError, match="num_classes"):
        models.squeezenet1_1(weights=weights, num_classes=3)


def test_weights_name_their_transforms():
    preset = models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    assert preset(torch.zeros(3, 300, 260, dtype=torch.uint8)).shape == (3, 224, 224)


def test_features_between_layers():
    from pytorchlike.vision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    found = create_feature_extractor(model, {"1": "hidden", "2": "out"})(torch.ones(1, 3))
    assert {k: tuple(v.shape) for k, v in found.items()} == {"hidden": (1, 4), "out": (1, 2)}
    assert get_graph_node_names(model)[0] == ["0", "1", "2"]
    with pytest.raises(ValueError, match="not present"):
        create_feature_extractor(model, ["3"])


def test_weights_name_their_classes():
    names = models.ResNet50_Weights.DEFAULT.meta["categories"]
    assert (len(names), names[0], names[281], names[999]) == (1000, "tench", "tabby", "toilet tissue")
    found = models.detection.KeypointRCNN_ResNet50_FPN_Weights.DEFAULT.meta
    assert found["categories"] == ["no person", "person"] and found["keypoint_names"][5] == "left_shoulder"
    assert len(models.detection.SSD300_VGG16_Weights.DEFAULT.meta["categories"]) == 91
    assert models.segmentation.FCN_ResNet50_Weights.DEFAULT.meta["categories"][15] == "person"
    assert len(models.video.R3D_18_Weights.DEFAULT.meta["categories"]) == 400
    assert models.VGG16_Weights.IMAGENET1K_FEATURES.meta["categories"] is None


@pytest.mark.parametrize("weights, crop, resize, mode, mean", [
    ("EfficientNet_B0_Weights.DEFAULT", 224, 256, "bicubic", 0.485),
    ("EfficientNet_B1_Weights.IMAGENET1K_V2", 240, 255, "bilinear", 0.485),
    ("EfficientNet_V2_S_Weights.DEFAULT", 384, 384, "bilinear", 0.485),
    ("EfficientNet_V2_L_Weights.DEFAULT", 480, 480, "bicubic", 0.5),
    ("Swin_V2_T_Weights.DEFAULT", 256, 260, "bicubic", 0.485),
    ("MNASNet1_3_Weights.DEFAULT", 224, 232, "bilinear", 0.485),
    ("ResNeXt101_64X4D_Weights.DEFAULT", 224, 232, "bilinear", 0.485),
    ("ViT_H_14_Weights.DEFAULT", 518, 518, "bicubic", 0.485),
    ("ViT_B_16_Weights.IMAGENET1K_SWAG_LINEAR_V1", 224, 224, "bicubic", 0.485),
    ("RegNet_Y_128GF_Weights.DEFAULT", 384, 384, "bicubic", 0.485),
])  # fmt: skip
def test_each_file_of_weights_has_its_own_preset(weights, crop, resize, mode, mean):
    preset = models.get_weight(weights).transforms()
    assert (preset.crop_size, preset.resize_size) == ([crop], [resize])
    assert (preset.interpolation.value, preset.mean[0]) == (mode, mean)
    assert repr(preset).startswith(f"ImageClassification(\n    crop_size=[{crop}]\n    resize_size=[{resize}]\n")


def test_weights_for_larger_pictures_set_the_size():
    with pytest.raises(ValueError, match="'image_size' expected value 384 but got 224"):
        models.vit_b_16(weights="IMAGENET1K_SWAG_E2E_V1", image_size=224)
