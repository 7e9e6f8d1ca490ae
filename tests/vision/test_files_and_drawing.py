"""Pictures are written and read, laid out in grids and drawn upon."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.vision import io, utils

pytest.importorskip("PIL.Image")


def test_files(tmp_path):
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 6, 7), dtype=np.uint8))
    io.write_png(x, tmp_path / "a.png")
    assert torch.equal(io.read_image(tmp_path / "a.png"), x)
    assert io.read_image(tmp_path / "a.png", io.ImageReadMode.GRAY).shape == (1, 6, 7)
    assert torch.equal(io.decode_image(io.read_file(tmp_path / "a.png")), x)
    smooth = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8).expand(3, 8, 8).clone()
    assert (io.decode_jpeg(io.encode_jpeg(smooth, 95)).int() - smooth.int()).abs().max() < 6
    (tmp_path / "b.png").write_bytes(b"nothing")
    with pytest.raises(RuntimeError, match="no picture"):
        io.read_image(tmp_path / "b.png")


def test_grids():
    grid = utils.make_grid(torch.ones(5, 1, 2, 3), nrow=3, padding=1, pad_value=0.5)
    assert grid.shape == (3, 7, 13) and grid[0, 0, 0] == 0.5 and grid[0, 1, 1] == 1
    scaled = utils.make_grid(torch.tensor([[[[2.0, 6.0]]]]), normalize=True)
    assert scaled.flatten().tolist() == pytest.approx([0, 1] * 3)
    with pytest.raises(TypeError, match="tensor or list"):
        utils.make_grid("x")


def test_saved_grids_can_be_read(tmp_path):
    utils.save_image(torch.rand(2, 3, 4, 4), tmp_path / "g.png")
    assert io.read_image(tmp_path / "g.png").shape == (3, 8, 14)


def test_boxes_and_masks_are_drawn():
    black = torch.zeros(3, 20, 20, dtype=torch.uint8)
    drawn = utils.draw_bounding_boxes(black, torch.tensor([[2, 3, 10, 12]]), labels=["x"], colors="red")
    assert drawn[:, 3, 5].tolist() == [255, 0, 0] and drawn[:, 0, 0].tolist() == [0, 0, 0]
    mask = torch.zeros(1, 20, 20, dtype=torch.bool)
    mask[0, :5] = True
    painted = utils.draw_segmentation_masks(black, mask, alpha=0.5, colors=[(0, 200, 0)])
    assert painted[:, 0, 0].tolist() == [0, 100, 0] and painted[:, 10, 10].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="xmin"):
        utils.draw_bounding_boxes(black, torch.tensor([[10, 3, 2, 12]]))
    with pytest.raises(ValueError, match="bool"):
        utils.draw_segmentation_masks(black, mask.int())


def test_objects_without_colours_get_those_of_torchvision():
    grey = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    boxes = torch.tensor([[0.9, 0, 2, 2], [4, 0, 6, 2], [4, 4, 6, 6]])
    drawn = utils.draw_bounding_boxes(grey, boxes)
    assert [drawn[:, y, x].tolist() for y, x in ((0, 0), (0, 4), (4, 4))] == [[0, 0, 0], [1, 127, 31], [2, 254, 62]]
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, :4], masks[1, 2:] = True, True
    painted = utils.draw_segmentation_masks(grey, masks, alpha=0.5, colors=["red", "blue"])
    assert painted[:, 0, 0].tolist() == [177, 50, 50] and painted[:, 7, 0].tolist() == [50, 50, 177]
    assert painted[:, 3, 0].tolist() == [50, 50, 50]  # black where two masks are
    with pytest.raises(ValueError, match="channels"):
        utils.draw_segmentation_masks(grey[:1], masks)


def test_keypoints_need_a_colour_and_are_joined_by_white_lines():
    black = torch.zeros(3, 9, 9, dtype=torch.uint8)
    points = torch.tensor([[[1.0, 1.0], [7.0, 1.0]]])
    assert utils.draw_keypoints(black, points).sum() == 0
    drawn = utils.draw_keypoints(black, points, connectivity=[(0, 1)], colors="red", radius=1, width=1)
    assert drawn[:, 0, 1].tolist() == [255, 0, 0] and drawn[:, 1, 4].tolist() == [255, 255, 255]


def test_labels_may_stand_on_a_ground_of_their_own():
    black = torch.zeros(3, 40, 40, dtype=torch.uint8)
    box = torch.tensor([[2, 2, 38, 38]])
    drawn = utils.draw_bounding_boxes(black, box, labels=["ab"], colors="red", fill_labels=True,
                                      label_background_colors=(0, 0, 255))  # fmt: skip
    assert (drawn[2] == 255).sum() > 20 and drawn[:, 2, 20].tolist() == [255, 0, 0]


def test_moving_pictures_and_other_formats(tmp_path):
    from PIL import Image

    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.webp", lossless=True)
    moving = io.decode_gif(io.read_file(tmp_path / "a.gif"))
    assert moving.shape == (2, 3, 3, 4) and moving[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert io.decode_webp(io.read_file(tmp_path / "b.webp"))[:, 0, 0].tolist() == [255, 0, 0]
    with pytest.raises(RuntimeError, match="no picture"):
        io.decode_heic(torch.zeros(9, dtype=torch.uint8))
