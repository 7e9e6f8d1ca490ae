"""Transforms of pictures: figures checked by hand or against NumPy, Pillow pictures and tensors alike."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.vision import transforms as T
from pytorchlike.vision.transforms import functional as F

Image = pytest.importorskip("PIL.Image")


def picture(height=12, width=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pair(array):
    """The same picture of Pillow and as a tensor."""
    return Image.fromarray(array), torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def pixels(img):
    return img.numpy() if isinstance(img, torch.Tensor) else np.asarray(img).transpose(2, 0, 1)


def test_to_tensor_divides_in_the_default_dtype():
    array = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(F.to_tensor(array), torch.from_numpy(array.transpose(2, 0, 1) / 255))
    finally:
        torch.set_default_dtype(before)


def test_to_tensor_scales_bytes_only():
    array = picture()
    assert torch.equal(F.to_tensor(array), torch.from_numpy(array.transpose(2, 0, 1).astype(np.float32) / 255))
    assert F.to_tensor(array.astype(np.float64)).dtype == torch.float64
    assert F.to_tensor(Image.fromarray(array[..., 0])).shape == (1, 12, 16)
    with pytest.raises(TypeError, match="PIL Image or ndarray"):
        F.to_tensor([1, 2])


def test_pictures_survive_the_way_there_and_back():
    array = picture()
    np.testing.assert_array_equal(np.asarray(F.to_pil_image(F.to_tensor(array))), array)
    np.testing.assert_array_equal(np.asarray(T.ToPILImage()(T.PILToTensor()(Image.fromarray(array)))), array)


@pytest.mark.parametrize("name, args", [
    ("hflip", ()), ("vflip", ()), ("crop", (2, 3, 5, 6)), ("crop", (-2, -1, 20, 9)), ("center_crop", ([5, 30],)),
    ("pad", ([1, 2, 3, 4], 7)), ("pad", (2, 0, "reflect")), ("invert", ()), ("posterize", (3,)), ("solarize", (128,)),
    ("equalize", ()), ("rotate", (90,)), ("affine", (0.0, [3, 2], 1.0, [0.0, 0.0])),
])  # fmt: skip
def test_pillow_and_tensors_agree(name, args):
    a, b = (getattr(F, name)(img, *args) for img in pair(picture()))
    np.testing.assert_array_equal(pixels(a), pixels(b))


def test_resize_with_antialias_is_pillows():
    a, b = (F.resize(img, [7, 9]) for img in pair(picture(40, 50)))
    assert np.abs(pixels(a).astype(int) - pixels(b)).max() <= 1


def test_resize_keeps_the_ratio_of_the_shorter_edge():
    assert F.resize(torch.zeros(3, 20, 30), 10).shape == (3, 10, 15)
    assert F.resize(torch.zeros(3, 20, 30), 10, max_size=12).shape == (3, 8, 12)
    with pytest.raises(ValueError, match="max_size"):
        F.resize(torch.zeros(3, 20, 30), 10, max_size=10)


def test_brightness_and_grey_follow_their_formulas():
    x = torch.tensor([[[100]], [[150]], [[200]]], dtype=torch.uint8)
    assert F.adjust_brightness(x, 1.5).flatten().tolist() == [150, 225, 255]
    assert F.rgb_to_grayscale(x).item() == int(0.2989 * 100 + 0.587 * 150 + 0.114 * 200)


def test_normalize_is_differentiable_and_checks():
    x = torch.rand(3, 4, 4).requires_grad_()
    F.normalize(x, [0.5] * 3, [0.25, 0.5, 1.0]).sum().backward()
    np.testing.assert_allclose(x.grad[:, 0, 0].numpy(), [4, 2, 1])
    with pytest.raises(TypeError, match="float tensor"):
        F.normalize(torch.zeros(3, 2, 2, dtype=torch.uint8), [0.5], [0.5])
    with pytest.raises(ValueError, match="division by zero"):
        F.normalize(torch.zeros(1, 2, 2), [0.5], [0.0])


def test_conversions_of_types_use_their_ranges():
    x = torch.tensor([[[0, 128, 255]]], dtype=torch.uint8)
    assert F.convert_image_dtype(x, torch.float32).flatten().tolist() == pytest.approx([0, 128 / 255, 1])
    assert F.convert_image_dtype(torch.tensor([[[0.0, 0.5, 1.0]]]), torch.uint8).flatten().tolist() == [0, 127, 255]


@pytest.mark.parametrize("transform", [
    T.RandomCrop(8, padding=2), T.RandomResizedCrop(8), T.RandomRotation(20), T.RandomAffine(10, (0.1, 0.1)),
    T.ColorJitter(0.2, 0.2, 0.2, 0.1), T.RandomPerspective(p=1.0), T.RandAugment(), T.TrivialAugmentWide(),
    T.AutoAugment(), T.AugMix(), T.GaussianBlur(3),
], ids=lambda t: type(t).__name__)  # fmt: skip
def test_random_transforms_repeat_with_the_seed(transform):
    img = Image.fromarray(picture())
    torch.manual_seed(5)
    a = transform(img)
    torch.manual_seed(5)
    np.testing.assert_array_equal(np.asarray(a), np.asarray(transform(img)))
    several = [np.asarray(transform(img)).tobytes() for _ in range(12)]
    assert len(set(several)) > 1


def test_random_erasing_writes_one_rectangle():
    x = T.RandomErasing(p=1.0, value=9.0)(torch.zeros(3, 20, 20))
    hit = (x[0] == 9).numpy()
    rows, cols = np.flatnonzero(hit.any(1)), np.flatnonzero(hit.any(0))
    assert hit.sum() == len(rows) * len(cols) > 0
    assert torch.equal(x[0], x[2])


def test_a_crop_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="larger than input image size"):
        T.RandomCrop(30)(Image.fromarray(picture()))


def test_compose_feeds_a_loader():
    from pytorchlike.vision.datasets import FakeData

    pipeline = T.Compose([T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize([0.5] * 3, [0.5] * 3)])
    data = FakeData(6, (3, 8, 8), 10, transform=pipeline)
    x, y = next(iter(torch.utils.data.DataLoader(data, batch_size=6)))
    assert x.shape == (6, 3, 8, 8) and y.dtype == torch.int64
    assert -1 <= x.min() and x.max() <= 1


def test_a_network_that_augments_is_converted_with_its_transforms():
    # what a transform is made of must not be in the way of Module.to, .float, .apply ...
    augment = torch.nn.Sequential(
        T.RandomApply(torch.nn.ModuleList([T.ColorJitter(0.8, 0.8, 0.8, 0.2)]), p=0.3), T.RandomGrayscale(0.2),
        T.RandomHorizontalFlip(), T.GaussianBlur(3), T.RandomResizedCrop((8, 8)), T.Normalize([0.5] * 3, [0.2] * 3),
    )  # fmt: skip
    net = torch.nn.Sequential(augment, torch.nn.Conv2d(3, 2, 3)).to(torch.float64).to("cpu").float().double()
    assert net[1].weight.dtype == torch.float64
    assert net(torch.rand(2, 3, 12, 12, dtype=torch.float64)).shape == (2, 2, 6, 6)


@pytest.mark.parametrize("make, shown", [
    (lambda: T.RandomChoice([T.ToTensor()], [1]), "RandomChoice(\n    ToTensor()\n)(p=[1])"),
    (lambda: T.RandomOrder([T.ToTensor()]), "RandomOrder(\n    ToTensor()\n)"),
    (lambda: T.RandomAffine(10, shear=5, fill=2, center=(3, 3)),
     "RandomAffine(degrees=[-10.0, 10.0], shear=[-5.0, 5.0], fill=2, center=(3, 3))"),
    (lambda: T.RandAugment(), "RandAugment(num_ops=2, magnitude=9, num_magnitude_bins=31, "
                              "interpolation=InterpolationMode.NEAREST, fill=None)"),
    (lambda: T.ElasticTransform(), "ElasticTransform(alpha=[50.0, 50.0], sigma=[5.0, 5.0], "
                                   "interpolation=InterpolationMode.BILINEAR, fill=[0.0])"),
    (lambda: T.GaussianBlur(3, 0.5), "GaussianBlur(kernel_size=(3, 3), sigma=(0.5, 0.5))"),
])  # fmt: skip
def test_transforms_show_their_settings(make, shown):
    assert repr(make()) == shown


def test_ranges_are_checked_when_a_transform_is_made():
    with pytest.raises(TypeError, match="Ratio"):
        T.RandomErasing(ratio=3)
    with pytest.raises(ValueError, match="length should be 2"):
        T.ElasticTransform(sigma=[1.0, 2.0, 3.0])


def test_elastic_displacements_are_parts_of_the_width_and_of_the_height():
    torch.manual_seed(0)
    grid = T.ElasticTransform.get_params([4.0, 4.0], [0.0, 0.0], [40, 80])  # no smoothing: up to alpha
    x, y = grid[..., 0].abs().max().item(), grid[..., 1].abs().max().item()
    assert 0.95 * 4 / 80 < x <= 4 / 80 and 0.95 * 4 / 40 < y <= 4 / 40
