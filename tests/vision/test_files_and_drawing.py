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
