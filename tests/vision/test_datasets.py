"""Data sets read the files of their originals, check them, and say what is missing."""

import gzip
import hashlib
import json
import pickle
import sys
import types
import urllib.error

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.vision import datasets
from pytorchlike.vision.datasets import utils

Image = pytest.importorskip("PIL.Image")


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("packed", [True, False])
def test_mnist(tmp_path, packed):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28))
    for name, array in (("images-idx3", images), ("labels-idx1", np.array([3, 1, 2]))):
        data = idx(array)
        (raw / f"t10k-{name}-ubyte{'.gz' if packed else ''}").write_bytes(gzip.compress(data) if packed else data)
    data = datasets.MNIST(tmp_path, train=False)
    assert len(data) == 3 and data.targets.tolist() == [3, 1, 2]
    img, label = data[1]
    assert label == 1
    np.testing.assert_array_equal(np.asarray(img), images[1])
    with pytest.raises(RuntimeError, match="download=True"):
        datasets.MNIST(tmp_path, train=True)
    (raw / "t10k-images-idx3-ubyte").write_bytes(idx(images)[:-5])
    with pytest.raises(ValueError, match="corrupted"):
        datasets.MNIST(tmp_path, train=False)


def test_cifar_checks_md5_and_reads_no_code(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    files = {"test_batch": {"data": pixels, "labels": [4, 7]}, "batches.meta": {"label_names": list("abcdefghij")}}
    sums = {}
    for name, content in files.items():
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    with pytest.raises(RuntimeError, match="corrupted"):
        datasets.CIFAR10(tmp_path, train=False)
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(datasets.CIFAR10, "meta",
                        {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]})
    data = datasets.CIFAR10(tmp_path, train=False)
    img, label = data[1]
    assert label == 7 and data.class_to_idx["b"] == 1
    np.testing.assert_array_equal(np.asarray(img), pixels[1].reshape(3, 32, 32).transpose(1, 2, 0))
    (folder / "evil").write_bytes(pickle.dumps(print))
    with pytest.raises(pickle.UnpicklingError, match="print"):
        utils.load_plain_pickle(folder / "evil")


def test_image_folder(tmp_path):
    for name in ("dog/a.png", "cat/deep/b.png", "cat/c.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("png"):
            Image.new("L", (4, 3), 9).save(path)
        else:
            path.write_text("no picture")
    data = datasets.ImageFolder(tmp_path, target_transform=lambda t: t + 10)
    assert data.classes == ["cat", "dog"] and data.targets == [0, 1]
    img, target = data[0]
    assert (img.mode, img.size, target) == ("RGB", (4, 3), 10)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty"):
        datasets.ImageFolder(tmp_path)
    assert len(datasets.ImageFolder(tmp_path, allow_empty=True)) == 2


def test_coco(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)  # as if it were not installed
    Image.new("RGB", (5, 4)).save(tmp_path / "x.png")
    notes = {"images": [{"id": 7, "file_name": "x.png"}], "categories": [{"id": 1, "name": "cat"}],
             "annotations": [{"id": 1, "image_id": 7, "bbox": [1, 1, 2, 2], "caption": "a cat"}]}  # fmt: skip
    (tmp_path / "notes.json").write_text(json.dumps(notes))
    img, target = datasets.CocoDetection(tmp_path, tmp_path / "notes.json")[0]
    assert img.size == (5, 4) and target[0]["bbox"] == [1, 1, 2, 2]
    assert datasets.CocoCaptions(tmp_path, tmp_path / "notes.json")[0][1] == ["a cat"]
    assert datasets.CocoDetection(tmp_path, tmp_path / "notes.json").coco.loadCats(1)[0]["name"] == "cat"
    tools = types.ModuleType("pycocotools.coco")  # what its evaluation takes is what it has read itself
    tools.COCO = type("COCO", (datasets.annotated.CocoIndex,), {})
    monkeypatch.setitem(sys.modules, "pycocotools", types.ModuleType("pycocotools"))
    monkeypatch.setitem(sys.modules, "pycocotools.coco", tools)
    assert type(datasets.CocoDetection(tmp_path, tmp_path / "notes.json").coco) is tools.COCO


def test_voc(tmp_path):
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Main", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True)
    Image.new("RGB", (6, 5)).save(base / "JPEGImages" / "p.jpg")
    Image.new("P", (6, 5)).save(base / "SegmentationClass" / "p.png")
    (base / "Annotations" / "p.xml").write_text(
        "<annotation><filename>p.jpg</filename><object><name>dog</name></object></annotation>")
    for kind in ("Main", "Segmentation"):
        (base / "ImageSets" / kind / "train.txt").write_text("p\n")
    img, target = datasets.VOCDetection(tmp_path)[0]
    assert img.size == (6, 5)
    assert target == {"annotation": {"filename": "p.jpg", "object": [{"name": "dog"}]}}
    assert datasets.VOCSegmentation(tmp_path)[0][1].mode == "P"
    with pytest.raises(ValueError, match="2012"):
        datasets.VOCDetection(tmp_path, year="1999")
    with pytest.raises(RuntimeError, match="download=True"):
        datasets.VOCDetection(tmp_path, year="2008")


def test_downloads_check_md5_and_leave_nothing_behind(tmp_path):
    source = tmp_path / "source.txt"
    source.write_text("hello")
    target = tmp_path / "target"
    utils.download_url(source.as_uri(), target, "x.txt", hashlib.md5(b"hello").hexdigest())
    assert (target / "x.txt").read_text() == "hello"
    with pytest.raises(RuntimeError, match="MD5"):
        utils.download_url(source.as_uri(), target, "y.txt", "0" * 32)
    with pytest.raises(urllib.error.URLError, match="put the file"):
        utils.download_url((tmp_path / "missing").as_uri(), target, "z.txt")
    assert [p.name for p in target.iterdir()] == ["x.txt"]


def test_fake_data_is_the_same_whenever_it_is_asked_for():
    data = datasets.FakeData(3, (3, 4, 5), 7)
    assert np.array_equal(np.asarray(data[1][0]), np.asarray(data[1][0])) and data[0][0].size == (5, 4)
    with pytest.raises(IndexError):
        data[3]


def test_workers_load_and_transform():
    from pytorchlike.vision import transforms as T

    data = datasets.FakeData(8, (3, 8, 8), 10, transform=T.Compose([T.RandomCrop(6), T.ToTensor()]))
    batches = [x.shape for x, _ in torch.utils.data.DataLoader(data, batch_size=4, num_workers=2)]
    assert batches == [(4, 3, 6, 6)] * 2
