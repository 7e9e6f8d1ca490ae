"""Data sets find local files, parse them as torchtext does, and share them out among workers."""

import gzip
import json
import tarfile
import urllib.error

import pytest

import pytorchlike as torch
from pytorchlike.text import datasets as D
from pytorchlike.text.utils import extract_archive


def test_labelled_lines(tmp_path):
    (tmp_path / "AG_NEWS").mkdir()
    (tmp_path / "AG_NEWS" / "train.csv").write_text('"3","Title","A ""quoted"" text"\n"4","B","c"\n' * 4)
    (tmp_path / "AG_NEWS" / "test.csv").write_text('"1","T","d"\n')
    train, test = D.AG_NEWS(str(tmp_path))
    assert list(train)[:2] == [(3, 'Title A "quoted" text'), (4, "B c")] and list(test) == [(1, "T d")]
    assert len(list(train)) == 8, "each pass begins anew"
    assert [label for label, _ in D.AG_NEWS(root=tmp_path, split="train").filter(lambda x: x[0] == 4)] == [4] * 4
    assert next(iter(train.map(str.upper, 1).batch(2).rows2columnar(["label", "text"])))["text"][1] == "B C"
    assert sorted(train.shuffle()) == sorted(train)
    loader = torch.utils.data.DataLoader(train, batch_size=None, num_workers=2)
    assert sorted(map(tuple, loader)) == sorted(train), "no item is read by both workers"
    with pytest.raises(ValueError, match="valid"):
        D.AG_NEWS(tmp_path, split="valid")


def test_archives_are_unpacked(tmp_path):
    folder = tmp_path / "make" / "yelp_review_polarity_csv"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        (folder / f"{split}.csv").write_text(f'"2","{split}"\n')
    with tarfile.open(tmp_path / "yelp_review_polarity_csv.tar.gz", "w:gz") as archive:
        archive.add(folder, "yelp_review_polarity_csv")
    assert list(D.YelpReviewPolarity(tmp_path, "test")) == [(2, "test")]
    with pytest.raises(RuntimeError, match=r"dbpedia_csv\.tar\.gz to unpack"):
        D.DBpedia(tmp_path, "train")


def test_files_that_are_there_are_not_unpacked_again(tmp_path):
    (tmp_path / "a.txt").write_text("first")
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a.txt", "in/a.txt")
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("packed")
    for path, at in ((tmp_path / "x.tar.gz", tmp_path / "in" / "a.txt"), (tmp_path / "b.txt.gz", tmp_path / "b.txt")):
        assert extract_archive(str(path)) == [str(at)]
        packed = at.read_text()
        at.write_text("changed")
        extract_archive(str(path))
        assert at.read_text() == "changed"
        extract_archive(str(path), overwrite=True)
        assert at.read_text() == packed


def test_what_cannot_be_fetched_says_where_it_goes(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(urllib.error.URLError, match=r"put the file at .*PennTreebank.ptb\.train\.txt"):
        D.PennTreebank(tmp_path, "train")


def test_other_formats(tmp_path):
    def put(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")

    put("wikitext-2/wiki.valid.tokens", " \n = A = \n text \n")
    assert list(D.WikiText2(tmp_path, "valid")) == [" \n", " = A = \n", " text \n"]
    put("ptb.test.txt", " a b \n c \n")
    assert list(D.PennTreebank(tmp_path, "test")) == ["a b", "c"]
    put("train.de", "Ein Hund.\nZwei.\n")
    put("train.en", "A dog.\nTwo.\n")
    assert list(D.Multi30k(tmp_path, "train", language_pair=("de", "en")))[0] == ("Ein Hund.", "A dog.")
    assert list(D.Multi30k(tmp_path, "train", language_pair=("en", "de")))[1] == ("Two.", "Zwei.")
    put("aclImdb/train/pos/0_9.txt", "good")
    put("aclImdb/train/neg/0_1.txt", "bad")
    assert list(D.IMDB(tmp_path, "train")) == [(1, "bad"), (2, "good")]
    put("SST-2/train.tsv", "sentence\tlabel\nfine film \t1\n")
    put("SST-2/test.tsv", "index\tsentence\n0\tdull\n")
    assert list(D.SST2(tmp_path, "train")) == [("fine film", 1)] and list(D.SST2(tmp_path, "test")) == [("dull",)]
    put("RTE/dev.tsv", "index\ta\tb\tlabel\n0\tx\ty\tnot_entailment\n")
    assert list(D.RTE(tmp_path, "dev")) == [(1, "x", "y")]
    put("train.txt", "He PRP B-NP\nran VBD B-VP\n\nNo DT O\n")
    assert list(D.CoNLL2000Chunking(tmp_path, "train")) == [
        [["He", "ran"], ["PRP", "VBD"], ["B-NP", "B-VP"]], [["No"], ["DT"], ["O"]],
    ]  # fmt: skip
    asked = {"question": "q", "answers": [{"text": "a", "answer_start": 3}]}
    paragraph = {"context": "c", "qas": [asked, {"question": "r", "answers": []}]}
    put("dev-v2.0.json", json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    assert list(D.SQuAD2(tmp_path, "dev")) == [("c", "q", ["a"], [3]), ("c", "r", [""], [-1])]


def test_a_program_may_say_where_a_data_set_comes_from(tmp_path, monkeypatch):
    # The address of Multi30k in torchtext is dead; programs put another one into the module of that name.
    (tmp_path / "train.de").write_text("Hund\n")
    (tmp_path / "train.en").write_text("dog\n")
    with tarfile.open(tmp_path / "moved.tar.gz", "w:gz") as archive:
        for language in ("de", "en"):
            archive.add(tmp_path / f"train.{language}", f"train.{language}")
    monkeypatch.setitem(D.multi30k.URL, "train", (tmp_path / "moved.tar.gz").as_uri())
    assert D.multi30k.URL["train"].endswith("moved.tar.gz") and D.multi30k.URL["valid"].endswith("validation.tar.gz")
    root = tmp_path / "root"
    assert list(D.Multi30k(root, "train")) == [("Hund", "dog")]
    monkeypatch.setitem(D.multi30k.MD5, "train", "0" * 64)
    with pytest.raises(RuntimeError, match="expected 0000"):
        D.Multi30k(tmp_path / "another", "train")
    assert D.ag_news.URL["test"].endswith("test.csv") and D.wikitext2.URL.endswith(".zip")
