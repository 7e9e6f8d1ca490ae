"""The further data sets read the files of their originals."""

import bz2
import json

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.vision import datasets

Image = pytest.importorskip("PIL.Image")


def picture(path, shade=0, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (4, 3), shade if mode == "L" else (shade, 0, 0)).save(path)


def shades(data):
    return [(np.asarray(img.convert("RGB"))[0, 0, 0].item(), label) for img, label in data]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_lists_of_names(tmp_path):
    for i, name in enumerate(["apple_pie/1", "waffles/7", "waffles/3"]):
        picture(tmp_path / "food-101" / "images" / f"{name}.jpg", 60 * i)
    listed = {"waffles": ["waffles/7", "waffles/3"], "apple_pie": ["apple_pie/1"]}
    write(tmp_path / "food-101/meta/test.json", json.dumps(listed))
    food = datasets.Food101(tmp_path, "test", target_transform=lambda y: -y)
    assert food.classes == ["apple_pie", "waffles"] and food.class_to_idx["waffles"] == 1 and len(food) == 3
    assert [y for _, y in food] == [-1, -1, 0] and "split=test" in repr(food)
    for i, name in enumerate(["banded/banded_1", "dotted/dotted_2"]):
        picture(tmp_path / "dtd/dtd/images" / f"{name}.png", 50 + i)
    write(tmp_path / "dtd/dtd/labels/val3.txt", "dotted/dotted_2.png\nbanded/banded_1.png\n")
    assert shades(datasets.DTD(tmp_path, "val", 3)) == [(51, 1), (50, 0)]
    with pytest.raises(ValueError, match="partition"):
        datasets.DTD(tmp_path, "val", 11)
    with pytest.raises(RuntimeError, match="download=True"):
        datasets.DTD(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="split"):
        datasets.Food101(tmp_path, "val")


def test_flowers(tmp_path):
    io = pytest.importorskip("scipy.io")
    base = tmp_path / "flowers-102"
    for i in range(1, 4):
        picture(base / "jpg" / f"image_{i:05d}.jpg", 0)
    io.savemat(base / "setid.mat", {"trnid": np.array([[3, 1]]), "valid": np.array([[2]]), "tstid": np.array([[1]])})
    io.savemat(base / "imagelabels.mat", {"labels": np.array([[5, 6, 9]])})
    assert [y for _, y in datasets.Flowers102(tmp_path)] == [8, 4]
    assert [y for _, y in datasets.Flowers102(tmp_path, "val")] == [5]


def test_signs(tmp_path):
    for i, name in enumerate(["Training/00000/a.ppm", "Training/00001/b.ppm", "Final_Test/Images/c.ppm"]):
        picture(tmp_path / "gtsrb/GTSRB" / name, i)
    write(tmp_path / "gtsrb/GT-final_test.csv", "Filename;Width;ClassId\nc.ppm;3;16\n")
    assert shades(datasets.GTSRB(tmp_path)) == [(0, 0), (1, 1)]
    assert shades(datasets.GTSRB(tmp_path, "test")) == [(2, 16)]


def test_pets(tmp_path):
    base = tmp_path / "oxford-iiit-pet"
    for name in ("Abyssinian_1", "basset_hound_2"):
        picture(base / "images" / f"{name}.jpg")
        picture(base / "annotations/trimaps" / f"{name}.png", 2, "L")
    write(base / "annotations/test.txt", "basset_hound_2 2 2 1\nAbyssinian_1 1 1 1\n")
    pets = datasets.OxfordIIITPet(tmp_path, "test", ["category", "binary-category", "segmentation"])
    assert pets.classes == ["Abyssinian", "Basset Hound"] and pets.class_to_idx["Basset Hound"] == 1
    _, (kind, binary, trimap) = pets[0]
    assert (kind, binary) == (1, 1) and np.asarray(trimap).tolist() == [[2] * 4] * 3
    both = datasets.OxfordIIITPet(tmp_path, "test", "segmentation", transforms=lambda img, seg: (img.size, seg.size))
    assert both[1] == ((4, 3), (4, 3)) and datasets.OxfordIIITPet(tmp_path, "test")[1][1] == 0


def test_faces(tmp_path, monkeypatch):
    base = tmp_path / "celeba"
    for i in range(3):
        picture(base / "img_align_celeba" / f"{i}.jpg", 0)
    write(base / "list_eval_partition.txt", "0.jpg 0\n1.jpg 2\n2.jpg 0\n")
    write(base / "identity_CelebA.txt", "0.jpg 7\n1.jpg 8\n2.jpg 9\n")
    write(base / "list_bbox_celeba.txt", "3\nimage_id x y w h\n" + "".join(f"{i}.jpg {i} 1 2 3\n" for i in range(3)))
    write(base / "list_landmarks_align_celeba.txt", "3\nlx ly\n" + "".join(f"{i}.jpg  {i}  5\n" for i in range(3)))
    write(base / "list_attr_celeba.txt", "3\nBald Young\n0.jpg -1  1\n1.jpg  1  1\n2.jpg  1 -1\n")
    with pytest.raises(RuntimeError, match="corrupted"):
        datasets.CelebA(tmp_path)
    with pytest.raises(NotImplementedError, match="Google Drive"):
        datasets.CelebA(tmp_path, download=True)
    monkeypatch.setattr(datasets.CelebA, "file_list", dict.fromkeys(datasets.CelebA.file_list))
    faces = datasets.CelebA(tmp_path, target_type=["attr", "identity", "bbox", "landmarks"])
    assert len(faces) == 2 and faces.attr_names == ["Bald", "Young"] and faces.attr.dtype == torch.int64
    _, (attr, identity, bbox, landmarks) = faces[1]
    assert attr.tolist() == [1, 0] and identity.item() == 9 and bbox.tolist() == [2, 1, 2, 3]
    assert landmarks.tolist() == [2, 5] and datasets.CelebA(tmp_path, "test", [])[0][1] is None
    assert len(datasets.CelebA(tmp_path, "all")) == 3
    with pytest.raises(RuntimeError, match="target_type is empty"):
        datasets.CelebA(tmp_path, target_type=[], target_transform=int)


def test_caltech_and_omniglot(tmp_path):
    for i, name in enumerate(["BACKGROUND_Google/image_0001", "anchor/image_0001", "ant/image_0001", "ant/image_0002"]):
        picture(tmp_path / "caltech101/101_ObjectCategories" / f"{name}.jpg", i)
    data = datasets.Caltech101(tmp_path)
    assert data.categories == ["anchor", "ant"] and [y for _, y in data] == [0, 1, 1] and data.index == [1, 1, 2]
    with pytest.raises(NotImplementedError, match="contours"):
        datasets.Caltech101(tmp_path, "annotation")
    picture(tmp_path / "caltech256/256_ObjectCategories/001.ak47/001_0001.jpg")
    picture(tmp_path / "caltech256/256_ObjectCategories/002.flag/002_0001.jpg")
    assert [y for _, y in datasets.Caltech256(tmp_path)] == [0, 1]
    for name in ("Greek/character01/a", "Greek/character02/b", "Latin/character01/c"):
        picture(tmp_path / "omniglot-py/images_background" / f"{name}.png", 255, "L")
    drawn = datasets.Omniglot(tmp_path)
    assert [y for _, y in drawn] == [0, 1, 2] and drawn[0][0].mode == "L" and len(drawn._alphabets) == 2
    with pytest.raises(RuntimeError, match="not found"):
        datasets.Omniglot(tmp_path, background=False)


def test_usps(tmp_path):
    row = "10 " + " ".join(f"{i + 1}:{-1 if i else 1}" for i in range(256))
    (tmp_path / "usps.t.bz2").write_bytes(bz2.compress(f"{row}\n{row.replace('10 ', '4 ', 1)}\n".encode()))
    data = datasets.USPS(tmp_path, train=False)
    img, label = data[0]
    assert label == 9 and data.targets == [9, 3] and np.asarray(img).ravel()[:2].tolist() == [255, 0]
