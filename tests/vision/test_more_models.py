"""Detectors of one stage, key points, classifiers of videos, optical flow: training and results that make sense."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.vision import models
from pytorchlike.vision.models.detection import FCOS, SSD, KeypointRCNN, RetinaNet
from pytorchlike.vision.models.detection._boxes import AnchorGenerator
from pytorchlike.vision.models.detection._keypoints import keypoints_of, places_in_boxes
from pytorchlike.vision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from pytorchlike.vision.models.detection.ssd import DefaultBoxGenerator
from pytorchlike.vision.ops import MultiScaleRoIAlign


def backbone():
    made = nn.Sequential(nn.Conv2d(3, 8, 3, 8, 1), nn.ReLU())
    made.out_channels = 8
    return made


def small(kind):
    common = {"min_size": 32, "max_size": 64, "score_thresh": 0.0, "detections_per_img": 5}
    if kind is RetinaNet:
        return RetinaNet(backbone(), 3, anchor_generator=AnchorGenerator(((8, 16),), ((1.0,),)), **common)
    if kind is FCOS:
        made = backbone()
        made[0], made.out_channels = nn.Conv2d(3, 32, 3, 8, 1), 32
        return FCOS(made, 3, anchor_generator=AnchorGenerator(((8,),), ((1.0,),)), **common)
    made = backbone()
    made.out_channels = [8]
    return SSD(made, DefaultBoxGenerator([[2]], scales=[0.3, 0.5]), (32, 32), 3, score_thresh=0.0, detections_per_img=5)


IMAGES = [np.linspace(0, 1, 3 * 32 * 48, dtype=np.float32).reshape(3, 32, 48),
          np.linspace(1, 0, 3 * 40 * 32, dtype=np.float32).reshape(3, 40, 32)]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", [RetinaNet, FCOS, SSD])
def test_detectors_of_one_stage(kind, tier):
    tier("fused")
    torch.manual_seed(0)
    model = small(kind)
    images = [torch.from_numpy(i) for i in IMAGES]
    targets = [{"boxes": torch.tensor([[4.0, 4.0, 20.0, 20.0]]), "labels": torch.tensor([1])},
               {"boxes": torch.tensor([[8.0, 8.0, 24.0, 30.0]]), "labels": torch.tensor([2])}]  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    found = []
    for _ in range(4):
        losses = model(images, targets)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        found.append(losses["classification"])
    assert found[-1] < found[0] and losses["bbox_regression"] > 0
    with pytest.raises(ValueError, match="targets should not be none"):
        model(images)
    model.eval()
    found = model(images)
    assert [f["boxes"].shape for f in found] == [(5, 4)] * 2
    for f, (h, w) in zip(found, [(32, 48), (40, 32)], strict=True):
        assert (f["boxes"] >= 0).all() and (f["boxes"][:, 2] <= w).all() and (f["boxes"][:, 3] <= h).all()
        assert f["scores"].tolist() == sorted(f["scores"].tolist(), reverse=True) and f["labels"].dtype is torch.int64


@pytest.mark.slow
def test_key_points(tier):
    tier("fused")
    torch.manual_seed(0)
    model = KeypointRCNN(
        backbone(), 2, 32, max_size=64, box_batch_size_per_image=16, rpn_batch_size_per_image=32,
        rpn_post_nms_top_n_train=10, rpn_post_nms_top_n_test=10, box_score_thresh=0.0, box_detections_per_img=3,
        rpn_anchor_generator=AnchorGenerator(((8, 16),), ((1.0,),)), box_roi_pool=MultiScaleRoIAlign(["0"], 3, 2),
        keypoint_roi_pool=MultiScaleRoIAlign(["0"], 4, 2), keypoint_head=KeypointRCNNHeads(8, (8,)),
        keypoint_predictor=KeypointRCNNPredictor(8, 2),
    )  # fmt: skip
    points = torch.tensor([[[8.0, 8.0, 1.0], [16.0, 16.0, 0.0]]])
    losses = model([torch.from_numpy(IMAGES[0])], [{"boxes": torch.tensor([[4.0, 4.0, 20.0, 20.0]]),
                                                    "labels": torch.tensor([1]), "keypoints": points}])  # fmt: skip
    losses["loss_keypoint"].backward()
    assert model.roi_heads.keypoint_predictor.kps_score_lowres.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="keypoints"):
        model([torch.from_numpy(IMAGES[0])], [{"boxes": torch.ones(1, 4), "labels": torch.tensor([1])}])
    (found,) = model.eval()([torch.from_numpy(IMAGES[0])])
    n = len(found["boxes"])
    assert found["keypoints"].shape == (n, 2, 3) and found["keypoints_scores"].shape == (n, 2)


def test_points_and_maps_are_inverse():
    boxes = np.array([[10.0, 20.0, 38.0, 48.0]], np.float32)
    points = np.array([[[15.5, 30.5, 1], [38, 48, 1], [60, 30, 1], [20, 30, 0]]], np.float32)
    place, counted = places_in_boxes(points, boxes, 28)
    assert counted.tolist() == [[1, 1, 0, 0]] and place[0, 1] == 28 * 28 - 1
    maps = np.zeros((1, 1, 28, 28), np.float32)
    maps.reshape(-1)[place[0, 0]] = 5.0
    found, score = keypoints_of(maps, boxes)
    assert found[0, 0].tolist() == [15.5, 30.5, 1.0] and score[0, 0] == pytest.approx(5.0)


def test_classifiers_of_videos_learn_from_frames():
    torch.manual_seed(0)
    block = models.video.resnet
    convs = [block.Conv3DSimple, block.Conv3DNoTemporal, block.Conv2Plus1D, block.Conv3DSimple]
    with torch.device("meta"):
        net = models.video.VideoResNet(block.BasicBlock, convs, (1, 1, 1, 1), block.BasicStem, num_classes=3)
        assert net(torch.empty(2, 3, 4, 16, 16)).shape == (2, 3)
        swin = models.video.SwinTransformer3d([2, 4, 4], 12, [2, 2], [2, 2], [8, 7, 7], num_classes=5)
        assert swin(torch.empty(1, 3, 5, 30, 30)).shape == (1, 5)
    with pytest.raises(ValueError, match="divisible by 8"):
        models.optical_flow.raft_small()(torch.ones(1, 3, 130, 128), torch.ones(1, 3, 130, 128))


def test_networks_of_stages_of_ones_own():
    from pytorchlike.vision.models.convnext import CNBlockConfig, ConvNeXt
    from pytorchlike.vision.models.efficientnet import EfficientNet, FusedMBConvConfig, MBConv, MBConvConfig

    class Named(MBConv):
        pass

    stage = MBConvConfig(6, 3, 2, 16, 24, 2, width_mult=0.5, depth_mult=1.2, block=Named)
    assert (stage.input_channels, stage.out_channels, stage.num_layers) == (8, 16, 3)
    net = EfficientNet([FusedMBConvConfig(1, 3, 1, 8, 8, 1), stage], 0.1, num_classes=4).eval()
    assert [type(b).__name__ for b in net.features[2]] == ["Named"] * 3 and net.features[1][0].use_res_connect
    assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 4)
    net = ConvNeXt([CNBlockConfig(8, 12, 1), CNBlockConfig(12, None, 2)], 0.1, num_classes=4).eval()
    assert [len(part) for part in net.features] == [2, 1, 2, 2] and net(torch.zeros(1, 3, 32, 32)).shape == (1, 4)
    for model in (EfficientNet, ConvNeXt):
        with pytest.raises(ValueError, match="should not be empty"):
            model([], 0.1)
        with pytest.raises(TypeError, match="Config"):
            model([1], 0.1)
