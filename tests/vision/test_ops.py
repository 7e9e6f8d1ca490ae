"""Operators of boxes and regions. Figures: torchvision 0.28."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import vision
from pytorchlike.vision import ops

A, B = torch.tensor([[0.0, 0, 4, 4], [1, 1, 3, 5]]), torch.tensor([[2.0, 1, 5, 6], [0, 0, 2, 2]])


def feature():
    return torch.sin(torch.arange(2 * 12 * 12) * 0.3).reshape(1, 2, 12, 12)


@pytest.mark.parametrize("name, pairs, losses", [
    ("generalized_box_iou", [[0.0733333, 0.25], [0.1605263, -0.1757576]], [0.9266667, 1.1757576]),
    ("distance_box_iou", [[0.1662295, 0.1875], [0.1495507, -0.0561497]], [0.8337705, 1.0561497]),
    ("complete_box_iou", [[0.1654752, 0.1875], [0.1495435, -0.0580007]], [0.8345248, 1.0580007]),
])  # fmt: skip
def test_overlaps_and_their_losses(name, pairs, losses):
    np.testing.assert_allclose(getattr(ops, name)(A, B).numpy(), pairs, atol=1e-5)
    np.testing.assert_allclose(getattr(ops, name + "_loss")(A, B).numpy(), losses, atol=1e-5)


def test_formats_of_boxes():
    for form in ("xywh", "cxcywh"):
        assert torch.equal(ops.box_convert(ops.box_convert(A, "xyxy", form), form, "xyxy"), A)
    with pytest.raises(ValueError, match="Unsupported"):
        ops.box_convert(A, "xyxy", "yxyx")


def test_suppression_keeps_the_best():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30], [0, 0, 9, 10]])
    scores = torch.tensor([0.5, 0.9, 0.1, 0.7])
    assert ops.nms(boxes, scores, 0.5).tolist() == [1, 2]
    assert ops.batched_nms(boxes, scores, torch.tensor([0, 1, 0, 0]), 0.5).tolist() == [1, 3, 2]
    with pytest.raises(RuntimeError, match="same number of elements"):
        ops.nms(boxes, scores[:2], 0.5)


REGIONS = [[0, 1.0, 2, 9, 8], [0, 3.5, 0, 11, 6]]


@pytest.mark.parametrize("sampling, aligned, expected", [
    (2, False, [0.182257935, -0.095979109, 0.050924547, 0.262503922, 0.274572551, 0.113691196, -0.154479772,
                0.12808314, 0.173354954, -0.076123357, 0.05937586, 0.25540163, 0.262251019, 0.123096019, -0.144163743,
                0.118394136]),
    (-1, True, [0.070556402, 0.016054576, -0.00038282, -0.064750493, 0.063757516, 0.061722547, 0.051319033,
                -0.021877686, 0.199215606, 0.121680975, -0.003317048, 0.019030886, 0.127635673, 0.198282436,
                -0.019612836, 0.002397045]),
])  # fmt: skip
def test_roi_align(sampling, aligned, expected):
    out = ops.roi_align(feature(), torch.tensor(REGIONS), 2, 0.9, sampling, aligned)
    np.testing.assert_allclose(out.numpy().ravel(), expected, atol=1e-5)


def test_roi_align_is_differentiable_and_takes_lists():
    x = torch.ones(2, 1, 8, 8, requires_grad=True)
    boxes = [torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 2, 6, 6], [1.0, 1, 3, 3]])]
    out = ops.roi_align(x, boxes, 2, sampling_ratio=2)
    assert out.shape == (3, 1, 2, 2)
    out.sum().backward()
    assert x.grad[0].sum() == pytest.approx(4) and x.grad[1].sum() == pytest.approx(8)
    with pytest.raises(ValueError, match=r"\(L, 4\)"):
        ops.roi_align(x, [torch.zeros(1, 5)], 2)


def test_roi_pool():
    out = ops.roi_pool(feature(), torch.tensor(REGIONS), 2, 0.9)
    np.testing.assert_allclose(out.numpy().ravel()[:4], [0.99854332, 0.66296864, 0.95428556, 0.99999374], atol=1e-5)


def test_pyramids_send_boxes_to_their_level():
    maps = {"0": torch.zeros(1, 1, 64, 64), "1": torch.ones(1, 1, 32, 32)}
    pool = ops.MultiScaleRoIAlign(["0", "1"], 2, 2, canonical_scale=64, canonical_level=3)
    out = pool(maps, [torch.tensor([[8.0, 8, 24, 24], [8.0, 8, 120, 120]])], [(256, 256)])
    assert out.flatten(1).mean(1).tolist() == [0, 1]


def test_deformable_convolution():
    offset = torch.sin(torch.arange(8 * 9) * 0.9).reshape(1, 8, 3, 3)
    weight = torch.cos(torch.arange(24) * 1.0).reshape(3, 2, 2, 2)
    x = feature()[:, :, :4, :4]
    out = ops.deform_conv2d(x, offset, weight)
    expected = [-0.15998647, -0.78367984, -0.40581787, -0.21726835, 0.88507307, 1.12611806]
    np.testing.assert_allclose(out.numpy().ravel()[:6], expected, atol=1e-5)
    plain = torch.nn.functional.conv2d(x, weight)
    np.testing.assert_allclose(ops.deform_conv2d(x, offset * 0, weight).numpy(), plain.numpy(), atol=1e-5)
    with pytest.raises(RuntimeError, match="offset"):
        ops.deform_conv2d(x, offset[:, :6], weight)


def test_frozen_norm_has_no_parameters_and_drops_the_count():
    norm = ops.FrozenBatchNorm2d(3)
    assert not [*norm.parameters()]
    norm.load_state_dict(torch.nn.BatchNorm2d(3).state_dict())
    np.testing.assert_allclose(norm(torch.ones(1, 3, 2, 2)).numpy(), 1, atol=1e-4)


def test_stochastic_depth_drops_rows_whole():
    torch.manual_seed(0)
    out = ops.stochastic_depth(torch.ones(64, 3), 0.5, "row")
    assert set(out.flatten().tolist()) == {0.0, 2.0}
    assert (out == out[:, :1]).all() and torch.equal(ops.stochastic_depth(out, 0.5, "row", training=False), out)
    with pytest.raises(ValueError, match="mode"):
        ops.stochastic_depth(out, 0.5, "column")


def test_focal_loss_of_gamma_0_is_cross_entropy():
    x, y = torch.tensor([0.3, -1.2]), torch.tensor([1.0, 0.0])
    loss = ops.sigmoid_focal_loss(x, y, alpha=-1, gamma=0, reduction="mean")
    assert loss.item() == pytest.approx(torch.nn.functional.binary_cross_entropy_with_logits(x, y).item())


def test_feature_pyramid_keeps_names_and_sizes():
    maps = {"a": torch.rand(1, 4, 8, 8), "b": torch.rand(1, 6, 4, 4)}
    out = ops.FeaturePyramidNetwork([4, 6], 5, ops.misc.LastLevelMaxPool())(maps)
    assert {k: tuple(v.shape) for k, v in out.items()} == {"a": (1, 5, 8, 8), "b": (1, 5, 4, 4), "pool": (1, 5, 2, 2)}


def test_masks_to_boxes():
    m = torch.zeros(2, 6, 7)
    m[0, 1:3, 2:6] = 1
    m[1, 5, 0] = 1
    assert ops.masks_to_boxes(m).tolist() == [[2, 1, 5, 2], [0, 5, 0, 5]]


def test_detectors_may_ask_for_the_tracer():
    """DETR asks each time that it makes a batch; scripts of the years of transforms.v2's beta silence a warning."""
    assert vision._is_tracing() is False
    assert vision.disable_beta_transforms_warning() is None


def test_overlaps_of_boxes_in_other_formats():
    corners = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 35]])
    for fmt in ("xywh", "cxcywh"):
        other = ops.box_convert(corners, "xyxy", fmt)
        torch.testing.assert_close(ops.box_iou(other, other[:2], fmt), ops.box_iou(corners, corners[:2]))
        torch.testing.assert_close(ops.box_area(other, fmt=fmt), ops.box_area(corners))
    with pytest.raises(ValueError, match="zz"):
        ops.box_iou(corners, corners, "zz")


def test_the_box_of_an_empty_mask_is_zero():
    masks = torch.zeros(2, 3, 4)
    masks[1, 1, 2] = 1
    assert ops.masks_to_boxes(masks).tolist() == [[0, 0, 0, 0], [2, 1, 2, 1]]
