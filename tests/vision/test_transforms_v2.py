"""Samples of pictures, masks, boxes and points are transformed together, each kind in its way."""

import copy
import pickle

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.vision import tv_tensors as tv
from pytorchlike.vision.transforms import v2
from pytorchlike.vision.transforms.v2 import functional as F

Image = pytest.importorskip("PIL.Image")

BOXES = [[1.0, 2.0, 11.0, 13.0], [15.0, 5.0, 30.0, 18.0]]


def boxes(format="XYXY", dtype=torch.float32, values=BOXES):
    made = tv.BoundingBoxes(torch.tensor(values, dtype=dtype), format="XYXY", canvas_size=(20, 32))
    return F.convert_bounding_box_format(made, new_format=format)


def sample():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 32), dtype=np.uint8)
    return {
        "image": tv.Image(torch.from_numpy(pixels)), "boxes": boxes(), "masks": tv.Mask(torch.ones(2, 20, 32)),
        "points": tv.KeyPoints(torch.tensor([[0.0, 0.0], [31.0, 19.0]]), canvas_size=(20, 32)),
        "labels": torch.tensor([3, 4]), "name": "a",
    }  # fmt: skip


def test_kinds_survive_copies_but_not_arithmetic():
    b = boxes("CXCYWH")
    for other in (copy.deepcopy(b), pickle.loads(pickle.dumps(b)), b.clone(), b.to(torch.float64), b.detach()):
        assert type(other) is tv.BoundingBoxes
        assert (other.format, other.canvas_size) == (tv.BoundingBoxFormat.CXCYWH, (20, 32))
    assert type(b + 1) is torch.Tensor
    assert type(tv.wrap(b + 1, like=b)) is tv.BoundingBoxes


# the figures are torchvision 0.28's
@pytest.mark.parametrize("function, args, kwargs, expected", [
    ("horizontal_flip", (), {}, [[21, 2, 31, 13], [2, 5, 17, 18]]),
    ("resize", ([10, 16],), {}, [[0.5, 1, 5.5, 6.5], [7.5, 2.5, 15, 9]]),
    ("crop", (3, 3, 5, 5), {}, [[0, 0, 5, 5], [5, 2, 5, 5]]),
    ("pad", ([2, 3],), {}, [[3, 5, 13, 16], [17, 8, 32, 21]]),
    ("center_crop", ([10, 40],), {}, [[5, 0, 15, 8], [19, 0, 34, 10]]),
    ("affine", (30, [1, 2], 1.1, [5, 3]), {}, [[0.3706, 0, 17.1797, 12.2263], [10.9316, 6.9555, 32, 20]]),
    ("rotate", (30,), {}, [[0, 5.5718, 13.1699, 20], [12.634, 0, 32, 17.4282]]),
    ("rotate", (30,), {"expand": True}, [[1.866, 12.2321, 16.0263, 26.7583], [15.4904, 5.3301, 34.9808, 24.0885]]),
    ("perspective", ([[0, 0], [31, 0], [31, 19], [0, 19]], [[2, 1], [29, 3], [28, 17], [1, 18]]), {},
     [[2.3639, 2.8676, 12.7077, 12.6582], [15.4202, 6.1398, 28.0143, 16.6627]]),
])  # fmt: skip
@pytest.mark.parametrize("format", ["XYXY", "XYWH", "CXCYWH"])
def test_boxes_move_with_their_picture(function, args, kwargs, expected, format):
    moved = getattr(F, function)(boxes(format), *args, **kwargs)
    assert moved.format.name == format
    image = getattr(F, function)(tv.Image(torch.zeros(3, 20, 32)), *args, **kwargs)
    assert moved.canvas_size == tuple(image.shape[-2:])
    corners = F.convert_bounding_box_format(moved, new_format="XYXY")
    np.testing.assert_allclose(corners.numpy(), expected, atol=2e-3)


def test_integer_boxes_are_cut_not_rounded():
    b = F.resize(boxes(dtype=torch.int64), [10, 10])
    assert b.tolist() == [[0, 1, 3, 6], [4, 2, 9, 9]]


def test_points_are_pixels():
    p = F.horizontal_flip(sample()["points"])
    assert p.tolist() == [[31, 0], [0, 19]]


def test_masks_are_read_at_the_nearest_pixel():
    m = F.resize(tv.Mask(torch.tensor([[0, 7], [7, 0]], dtype=torch.uint8)), [4, 4])
    assert set(m.flatten().tolist()) == {0, 7}
    assert F.resize(tv.Mask(torch.ones(1, 2, 2, dtype=torch.bool)), [4, 4]).dtype == torch.bool


@pytest.mark.parametrize("transform", [
    v2.RandomResizedCrop(8), v2.RandomCrop(8), v2.RandomRotation(30, expand=True), v2.RandomZoomOut(p=1.0),
    v2.ScaleJitter((30, 30)), v2.RandomShortestSize([10, 14]), v2.Pad(2, fill={tv.Image: 1, "others": 0}),
    v2.RandomAffine(10), v2.RandomPerspective(p=1.0), v2.ElasticTransform(sigma=1.0), v2.RandomIoUCrop(),
], ids=lambda t: type(t).__name__)  # fmt: skip
def test_one_draw_serves_the_whole_sample(transform):
    out = transform(sample())
    assert {tuple(F.get_size(out[k])) for k in ("image", "boxes", "masks", "points")} == {
        tuple(out["image"].shape[-2:])
    }
    assert [type(v) for v in out.values()] == [type(v) for v in sample().values()]
    assert out["name"] == "a" and torch.equal(out["labels"], torch.tensor([3, 4]))


def test_colours_leave_masks_and_boxes_alone():
    s = sample()
    out = v2.Compose([v2.ColorJitter(0.5), v2.RandomPhotometricDistort(p=1.0), v2.RandomInvert(1.0)])(s)
    assert torch.equal(out["masks"], s["masks"]) and torch.equal(out["boxes"], s["boxes"])
    assert not torch.equal(out["image"], s["image"])
    with pytest.raises(TypeError, match="pictures"):
        F.invert(s["masks"])


def test_the_first_plain_tensor_is_the_picture():
    a, b = v2.Resize(4)(torch.zeros(3, 8, 8), torch.zeros(3, 8, 8))
    assert a.shape == (3, 4, 4) and b.shape == (3, 8, 8)
    image, other = v2.Resize(4)(tv.Image(torch.zeros(3, 8, 8)), torch.zeros(3, 8, 8))
    assert image.shape == (3, 4, 4) and other.shape == (3, 8, 8)


def test_to_dtype_by_kind():
    out = v2.ToDtype({tv.Image: torch.float32, tv.Mask: torch.int64, "others": None}, scale=True)(sample())
    assert out["image"].dtype == torch.float32 and out["image"].max() <= 1
    assert out["masks"].dtype == torch.int64 and out["boxes"].dtype == torch.float32


def test_sanitize_drops_objects_with_their_labels_and_masks():
    s = {**sample(), "boxes": boxes(values=[[1, 2, 1, 13], [15, 5, 30, 18]])}
    out = v2.SanitizeBoundingBoxes()(s)
    assert out["boxes"].shape == (1, 4) and out["labels"].tolist() == [4] and out["masks"].shape == (1, 20, 32)


@pytest.mark.parametrize("mix", [v2.MixUp, v2.CutMix])
def test_mixtures_mix_labels_alike(mix):
    x = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 6, 6).clone()
    pictures, labels = mix(num_classes=4)(x, torch.arange(4))
    share = labels[1, 1].item()
    assert labels[1, 0].item() == pytest.approx(1 - share, abs=1e-6)
    assert pictures[1].mean().item() == pytest.approx(share, abs=1e-5)
    with pytest.raises(ValueError, match="num_classes"):
        mix()(x, torch.arange(4))


def test_own_transforms_get_the_parameters_of_their_sample():
    class Add(v2.Transform):
        def make_params(self, flat_inputs):
            return {"n": len(flat_inputs)}

        def transform(self, inpt, params):
            return inpt + params["n"]

    a, b, c = Add()(tv.Image(torch.zeros(1, 2, 2)), tv.Mask(torch.zeros(2, 2)), "x")
    assert (a.unique().tolist(), b.unique().tolist(), c) == ([2], [2], "x")


def test_kernels_can_be_registered():
    class Depth(tv.TVTensor):
        pass

    @F.register_kernel("invert", Depth)
    def invert_depth(inpt):
        return tv.wrap(1 / inpt, like=inpt)

    made = F.invert(torch.tensor([[2.0]]).as_subclass(Depth))
    assert type(made) is Depth and made.item() == 0.5


def test_what_is_not_supported_says_so():
    with pytest.raises(NotImplementedError, match="rotated boxes"):
        tv.BoundingBoxes(torch.zeros(1, 5), format="XYWHR", canvas_size=(4, 4))
    with pytest.raises(NotImplementedError, match="wrap"):
        tv.set_return_type("TVTensor")
    with pytest.raises(TypeError, match="PIL"):
        v2.Normalize([0.5], [0.5])(Image.new("RGB", (4, 4)))


def test_masks_of_any_integers_are_resized():
    mask = torch.tensor([[[1, 2**40], [3, 4]]])
    for m in (mask, mask.bool(), mask.to(torch.int32)):
        large = F.resize(tv.Mask(m), [4, 4])
        assert large.dtype == m.dtype and torch.equal(large[:, ::2, ::2], m) and torch.equal(large[:, 1::2, 1::2], m)


@pytest.mark.parametrize("make, shown", [
    (lambda: v2.Resize(3), "Resize(size=[3], interpolation=bilinear, antialias=True)"),
    (lambda: v2.RandomCrop(3), "RandomCrop(size=(3, 3), pad_if_needed=False, fill=0, padding_mode=constant)"),
    (lambda: v2.ColorJitter(0.1), "ColorJitter(brightness=(0.9, 1.1))"),
    (lambda: v2.RandomAffine(3), "RandomAffine(degrees=[-3.0, 3.0], interpolation=nearest, fill=0)"),
    (lambda: v2.AutoAugment(), "AutoAugment(interpolation=nearest, policy=AutoAugmentPolicy.IMAGENET)"),
    (lambda: v2.ToDtype(torch.float32, scale=True), "ToDtype(scale=True)"),
    (lambda: v2.MixUp(num_classes=3), "MixUp(alpha=1.0, num_classes=3)"),
    (lambda: v2.RandomZoomOut(), "RandomZoomOut(p=0.5, fill=0, side_range=(1.0, 4.0))"),
    (lambda: v2.ScaleJitter((3, 4)),
     "ScaleJitter(target_size=(3, 4), scale_range=(0.1, 2.0), interpolation=bilinear, antialias=True)"),
    (lambda: v2.Compose([v2.ToImage(), v2.RGB()]), "Compose(\n      ToImage()\n      RGB()\n)"),
    (lambda: v2.RandomChoice([v2.RGB()]), "RandomChoice(transforms=[RGB()], p=[1.0])"),
    (lambda: tv.Mask(torch.zeros(1, 2, 2)), "Mask([[[0., 0.],\n       [0., 0.]]])"),
])  # fmt: skip
def test_transforms_show_what_torchvision_shows(make, shown):
    assert repr(make()) == shown


@pytest.mark.parametrize("make, message", [
    (lambda: v2.Resize(None), "max_size must be an integer"),
    (lambda: v2.RandomPerspective(2), "between 0 and 1"),
    (lambda: v2.RandomHorizontalFlip(3), "interval"),
    (lambda: v2.RandomApply([]), "at least one"),
    (lambda: v2.MixUp(alpha=0), "positive"),
    (lambda: v2.SanitizeBoundingBoxes(labels_getter=3), "labels_getter"),
])  # fmt: skip
def test_wrong_arguments_are_refused_when_a_transform_is_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_functions_for_one_kind_take_plain_tensors():
    flags = torch.tensor([[[0, 1], [2, 3]]])
    assert F.resize_mask(flags, [4, 4])[0, 0].tolist() == [0, 0, 1, 1]
    assert type(F.resize_mask(flags, [4, 4])) is torch.Tensor
    assert F.to_dtype_image(torch.full((1, 2, 2), 255, dtype=torch.uint8), torch.float32, scale=True).max() == 1
    with pytest.raises(AttributeError, match="no attribute 'nothing_image'"):
        F.nothing_image  # noqa: B018


def test_points_outside_of_their_picture_are_dropped():
    """With their labels, where the transform is told of these; an object of several points goes as a whole."""
    points = tv.KeyPoints([[1.0, 2.0], [5.5, 4.5], [6.0, 4.0], [0.0, 0.0], [-0.1, 0.0]], canvas_size=(5, 6))
    kept, valid = F.sanitize_keypoints(points)
    assert valid.tolist() == [True, True, False, True, False] and kept.canvas_size == (5, 6) and len(kept) == 3
    sample = {"points": points, "labels": torch.arange(5), "other": torch.arange(5)}
    got = v2.SanitizeKeyPoints("default")(sample)
    assert torch.equal(got["points"], kept) and got["labels"].tolist() == [0, 1, 3] and len(got["other"]) == 5
    assert len(v2.SanitizeKeyPoints()(sample)["labels"]) == 5
    objects = tv.KeyPoints([[[1.0, 2.0], [7.0, 2.0]], [[0.0, 1.0], [1.0, 1.0]]], canvas_size=(5, 6))
    assert v2.SanitizeKeyPoints()(objects).tolist() == [[[0, 1], [1, 1]]]
    with pytest.raises(ValueError, match="canvas_size"):
        F.sanitize_keypoints(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="labels"):
        v2.SanitizeKeyPoints(lambda s: s["labels"])({"points": points, "labels": torch.arange(4)})


def test_conversions_of_pictures_give_plain_tensors():
    """Only ``to``, ``clone``, ``detach`` and the like keep the kind, as in torchvision."""
    image = tv.Image(torch.ones(3, 4, 4, dtype=torch.uint8))
    assert all(type(getattr(image, name)()) is torch.Tensor for name in ("float", "long", "cpu", "contiguous"))
    assert type(image.to(torch.float32)) is tv.Image


@pytest.mark.parametrize("operation", ["Posterize", "Equalize", "AutoContrast", "Solarize", "Color"])
def test_policies_take_floating_pictures(operation):
    policy = v2.RandAugment()
    picture = torch.arange(48.0).view(3, 4, 4) / 47
    magnitude = 2 if operation == "Posterize" else 0.5
    changed = policy._one(picture, operation, magnitude, np.random.default_rng(0), False)
    assert changed.dtype == picture.dtype and changed.shape == picture.shape
    assert changed.min() >= 0 and changed.max() <= 1
