"""Detectors: losses that fall, results in the pixels of the pictures given, errors for targets that cannot be right."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.vision.models.detection import FasterRCNN
from pytorchlike.vision.models.detection._boxes import AnchorGenerator, BoxCoder, Matcher
from pytorchlike.vision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from pytorchlike.vision.models.detection.transform import GeneralizedRCNNTransform, paste_masks_in_image
from pytorchlike.vision.ops import MultiScaleRoIAlign


def detector():
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 8, 1), nn.ReLU())
    backbone.out_channels = 8
    return FasterRCNN(
        backbone, num_classes=None, min_size=32, max_size=64, box_batch_size_per_image=16,
        rpn_batch_size_per_image=32, rpn_post_nms_top_n_train=20, rpn_post_nms_top_n_test=20,
        rpn_anchor_generator=AnchorGenerator(((8, 16),), ((1.0,),)), box_roi_pool=MultiScaleRoIAlign(["0"], 3, 2),
        box_head=TwoMLPHead(72, 16), box_predictor=FastRCNNPredictor(16, 3), box_score_thresh=0.0,
    )  # fmt: skip


@pytest.mark.slow
def test_training_and_results(tier):
    tier("fused")  # fewer compilations than one kernel for each operation
    torch.manual_seed(0)
    model = detector()
    images = [torch.rand(3, 32, 48), torch.rand(3, 40, 32)]
    targets = [{"boxes": torch.tensor([[4.0, 4.0, 20.0, 20.0]]), "labels": torch.tensor([1])},
               {"boxes": torch.tensor([[8.0, 8.0, 24.0, 30.0]]), "labels": torch.tensor([2])}]  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    totals = []
    for _ in range(8):
        losses = model(images, targets)
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    assert totals[-1] < totals[0]
    model.eval()
    with torch.no_grad():
        found = model(images)
    assert len(found) == 2
    for result, image in zip(found, images, strict=True):
        n = len(result["boxes"])
        assert result["labels"].shape == result["scores"].shape == (n,) and n > 0
        assert set(result["labels"].tolist()) <= {1, 2}
        assert result["boxes"][:, 2].max() <= image.shape[2] and result["boxes"][:, 3].max() <= image.shape[1]


def test_targets_are_checked():
    model = detector()
    with pytest.raises(ValueError, match="training mode"):
        model([torch.rand(3, 32, 32)])
    with pytest.raises(ValueError, match="positive height and width"):
        model([torch.rand(3, 32, 32)], [{"boxes": torch.tensor([[5.0, 5, 5, 9]]), "labels": torch.tensor([1])}])


def test_codes_of_boxes_go_both_ways():
    rng = np.random.default_rng(0)
    boxes, anchors = (rng.uniform(0, 20, (5, 4)).astype(np.float32) for _ in range(2))
    boxes[:, 2:] += boxes[:, :2] + 1
    anchors[:, 2:] += anchors[:, :2] + 1
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    np.testing.assert_allclose(coder.decode(coder.encode(boxes, anchors), anchors), boxes, rtol=1e-3, atol=1e-3)


def test_the_matcher_keeps_the_best_of_each_object():
    objects = np.array([[0, 0, 10, 10], [20, 20, 40, 40]], np.float32)
    anchors = np.array([[0, 0, 10, 9], [0, 0, 5, 10], [20, 20, 25, 25], [50, 50, 60, 60]], np.float32)
    assert Matcher(0.7, 0.3)(objects, anchors).tolist() == [0, -2, -1, -1]
    assert Matcher(0.7, 0.3, keep_best=True)(objects, anchors).tolist() == [0, -2, 1, -1]


def test_pictures_become_one_batch():
    t = GeneralizedRCNNTransform(30, 50, [0.0] * 3, [1.0] * 3).eval()
    batch, targets = t([torch.ones(3, 60, 80), torch.ones(3, 100, 20)],
                       [{"boxes": torch.tensor([[0.0, 0.0, 80.0, 60.0]])},
                        {"boxes": torch.tensor([[0.0, 0.0, 20.0, 100.0]])}])  # fmt: skip
    assert batch.image_sizes == [(30, 40), (50, 10)] and batch.tensors.shape == (2, 3, 64, 64)
    assert targets[0]["boxes"].tolist() == [[0, 0, 40, 30]]
    assert batch.tensors[1].sum() == 3 * 50 * 10


def test_masks_are_pasted_where_the_box_is():
    out = paste_masks_in_image(np.ones((1, 1, 28, 28), np.float32), np.array([[4.0, 6.0, 12.0, 10.0]]), (16, 20))
    inside = out[0, 0] > 0.5
    assert inside[6:10, 4:12].all() and inside.sum() <= 10 * 6
