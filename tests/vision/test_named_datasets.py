"""The further data sets read the files of their originals."""

import bz2
import json
import pickle
import tarfile

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.vision import datasets, tv_tensors
from pytorchlike.vision.datasets import imagenet
from pytorchlike.vision.transforms import v2

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


def test_places_and_aircraft(tmp_path):
    picture(tmp_path / "SUN397/a/abbey/sun_1.jpg", 10)
    picture(tmp_path / "SUN397/a/apartment/outdoor/sun_2.jpg", 20)
    write(tmp_path / "SUN397/ClassName.txt", "/a/abbey\n/a/apartment/outdoor\n")
    sun = datasets.SUN397(tmp_path)
    assert sun.classes == ["abbey", "apartment/outdoor"] and sorted(y for _, y in sun) == [0, 1]
    data = tmp_path / "fgvc-aircraft-2013b" / "data"
    picture(data / "images" / "7.jpg", 0)
    write(data / "families.txt", "A320\nBoeing 747\n")
    write(data / "images_family_val.txt", "7 Boeing 747\n")
    assert [y for _, y in datasets.FGVCAircraft(tmp_path, "val", "family")] == [1]
    with pytest.raises(ValueError, match="annotation_level"):
        datasets.FGVCAircraft(tmp_path, annotation_level="tail")


def test_cars(tmp_path):
    io = pytest.importorskip("scipy.io")
    base = tmp_path / "stanford_cars"
    picture(base / "cars_train" / "00001.jpg", 0)
    picture(base / "cars_train" / "00002.jpg", 0)
    (base / "devkit").mkdir()
    rows = np.array([("00001.jpg", 2), ("00002.jpg", 1)], [("fname", object), ("class", int)])
    io.savemat(base / "devkit" / "cars_train_annos.mat", {"annotations": rows})
    io.savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array(["AM General", "Acura RL"], object)})
    cars = datasets.StanfordCars(tmp_path)
    assert [y for _, y in cars] == [1, 0] and cars.classes == ["AM General", "Acura RL"]
    with pytest.raises(RuntimeError, match="not found"):
        datasets.StanfordCars(tmp_path, "test")


def test_directories_of_classes(tmp_path):
    picture(tmp_path / "eurosat/2750/Forest/Forest_1.jpg", 0)
    picture(tmp_path / "eurosat/2750/River/River_1.jpg", 0)
    land = datasets.EuroSAT(tmp_path)
    assert isinstance(land, datasets.ImageFolder) and land.targets == [0, 1] and land.root == str(tmp_path)
    picture(tmp_path / "country211/valid/AD/1.jpg", 0)
    assert datasets.Country211(tmp_path, "valid").classes == ["AD"]
    for i, kind in enumerate(["negative", "positive"]):
        picture(tmp_path / "rendered-sst2/valid" / kind / "1.png", 40 + i)
    assert shades(datasets.RenderedSST2(tmp_path, "val")) == [(40, 0), (41, 1)]
    with pytest.raises(RuntimeError, match="download=True"):
        datasets.EuroSAT(tmp_path / "nowhere")


def packed(path, folder):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for each in sorted(folder.iterdir()):
            archive.add(each, each.name)


def test_imagenet(tmp_path, monkeypatch):
    """Out of the challenge's archives, and out of what is left of them."""
    io = pytest.importorskip("scipy.io")
    root, work = tmp_path / "root", tmp_path / "work"
    root.mkdir()
    kit = work / "kit" / "ILSVRC2012_devkit_t12" / "data"
    write(kit / "ILSVRC2012_validation_ground_truth.txt", "2\n1\n")
    rows = [(1, "n02", "tench, Tinca tinca", "a fish", 0), (2, "n01", "goldfish", "a fish", 0),
            (3, "n00", "fish", "any", 2)]  # fmt: skip
    kinds = [("ILSVRC2012_ID", int), ("WNID", object), ("words", object), ("gloss", object), ("num_children", int)]
    io.savemat(kit / "meta.mat", {"synsets": np.array(rows, kinds)})
    for i, kind in enumerate(["n01", "n02"]):
        picture(work / kind / f"{kind}_1.JPEG", 0)
        picture(work / "pictures" / f"ILSVRC2012_val_0000000{i + 1}.JPEG", 0)
        (work / "train").mkdir(exist_ok=True)
        packed(work / "train" / f"{kind}.tar", work / kind)
    for name, folder in (("devkit_t12.tar.gz", "kit"), ("img_train.tar", "train"), ("img_val.tar", "pictures")):
        packed(root / f"ILSVRC2012_{name}", work / folder)
    with pytest.raises(RuntimeError, match="corrupted"):
        datasets.ImageNet(root)
    parts = {k: (name, None) for k, (name, _) in imagenet._ARCHIVES.items()}
    monkeypatch.setattr(imagenet, "_ARCHIVES", parts)
    for _ in range(2):
        train, val = datasets.ImageNet(root), datasets.ImageNet(root, "val")
        assert train.classes == [("goldfish",), ("tench", "Tinca tinca")] and train.wnids == ["n01", "n02"]
        assert train.class_to_idx["Tinca tinca"] == 1 and train.wnid_to_idx["n01"] == 0 and train.targets == [0, 1]
        assert {path.rsplit("/", 1)[1]: y for path, y in val.samples} == {
            "ILSVRC2012_val_00000001.JPEG": 0, "ILSVRC2012_val_00000002.JPEG": 1}  # fmt: skip
        assert "Split: val" in repr(val)
        for archive in root.glob("*.tar*"):
            archive.unlink()


def test_imagenette(tmp_path):
    for kind in ("n03888257", "n02102040"):
        picture(tmp_path / "imagenette2-160" / "val" / kind / "1.jpeg", 0)
    few = datasets.Imagenette(tmp_path, "val", "160px")
    assert [y for _, y in few] == [0, 1] and few.classes[1] == ("parachute", "chute") and few.class_to_idx["chute"] == 1
    with pytest.raises(RuntimeError, match="download=True"):
        datasets.Imagenette(tmp_path)


def test_targets_for_transforms_v2(tmp_path):
    for i in range(2):
        picture(tmp_path / f"{i}.png", 0)
    notes = [{"id": 5, "image_id": 1, "bbox": [1, 0, 2, 3], "category_id": 9, "area": 6.0},
             {"id": 6, "image_id": 1, "bbox": [0, 0, 1, 1], "category_id": 4, "area": 1.0}]  # fmt: skip
    pictures = [{"id": i + 1, "file_name": f"{i}.png"} for i in range(2)]
    write(tmp_path / "notes.json", json.dumps({"images": pictures, "annotations": notes, "categories": []}))
    flip = v2.RandomHorizontalFlip(1.0)
    coco = datasets.CocoDetection(tmp_path, str(tmp_path / "notes.json"), transforms=flip)
    both = datasets.wrap_dataset_for_transforms_v2(coco, ("boxes", "labels", "area"))
    assert isinstance(both, datasets.CocoDetection) and type(both).__name__ == "WrappedCocoDetection" and len(both) == 2
    img, target = both[0]
    assert sorted(target) == ["area", "boxes", "labels"] and target["area"] == [6.0, 1.0]
    assert isinstance(target["boxes"], tv_tensors.BoundingBoxes) and target["boxes"].canvas_size == (3, 4)
    assert target["boxes"].tolist() == [[1, 0, 3, 3], [3, 0, 4, 1]] and target["labels"].tolist() == [9, 4]
    assert both[1][1] == {"image_id": 2}
    again = pickle.loads(pickle.dumps(datasets.wrap_dataset_for_transforms_v2(coco)))
    assert again[0][1]["image_id"] == 1 and again.ids == [1, 2]
    with pytest.raises(ValueError, match="not available"):
        datasets.wrap_dataset_for_transforms_v2(coco, ["box"])
    with pytest.raises(TypeError, match="VisionDataset"):
        datasets.wrap_dataset_for_transforms_v2([1])
    with pytest.raises(TypeError, match="FakeData"):
        datasets.wrap_dataset_for_transforms_v2(datasets.FakeData(2))


def test_masks_and_classes_for_transforms_v2(tmp_path):
    base = tmp_path / "VOCdevkit" / "VOC2012"
    picture(base / "JPEGImages" / "a.jpg", 0)
    picture(base / "SegmentationClass" / "a.png", 7, "L")
    write(base / "ImageSets" / "Segmentation" / "train.txt", "a\n")
    write(base / "ImageSets" / "Main" / "train.txt", "a\n")
    thing = "<object><name>dog</name><bndbox><xmin>1</xmin><ymin>0</ymin><xmax>3</xmax><ymax>2</ymax></bndbox></object>"
    write(base / "Annotations" / "a.xml", f"<annotation>{thing}</annotation>")
    _, mask = datasets.wrap_dataset_for_transforms_v2(datasets.VOCSegmentation(tmp_path))[0]
    assert isinstance(mask, tv_tensors.Mask) and mask.tolist() == [[[7] * 4] * 3]
    _, target = datasets.wrap_dataset_for_transforms_v2(datasets.VOCDetection(tmp_path))[0]
    assert target["boxes"].tolist() == [[1, 0, 3, 2]] and target["labels"].tolist() == [12] and len(target) == 2
    picture(tmp_path / "eurosat/2750/Forest/Forest_1.jpg", 0)
    land = datasets.wrap_dataset_for_transforms_v2(datasets.EuroSAT(tmp_path, transform=v2.PILToTensor()))
    assert land[0][0].shape == (3, 3, 4) and land[0][1] == 0 and land.classes == ["Forest"]


def test_a_data_set_that_is_not_there_can_be_imported_and_says_so_when_it_is_made():
    """Libraries of data sets (avalanche) import all of torchvision's and derive from them."""

    class Wrapped(datasets.QMNIST):
        pass

    assert "QMNIST" in datasets.__all__ and issubclass(Wrapped, datasets.VisionDataset)
    for kind in (datasets.QMNIST, Wrapped):
        with pytest.raises(NotImplementedError, match=r"torchvision\.datasets\.QMNIST is not there"):
            kind("root", train=True)
