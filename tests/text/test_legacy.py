"""Fields and iterators of torchtext 0.8."""

import random

import pytest

import pytorchlike as torch
from pytorchlike.text import data, legacy
from pytorchlike.text.legacy.data import (
    BPTTIterator,
    BucketIterator,
    Dataset,
    Example,
    Field,
    Iterator,
    LabelField,
    NestedField,
    ReversibleField,
    TabularDataset,
)


def test_the_names_are_in_both_places():
    assert data.Field is Field and data.BucketIterator is BucketIterator and legacy.data.Example is Example


def test_padding_and_numbers():
    f = Field(init_token="<s>", eos_token="</s>", lower=True, include_lengths=True, batch_first=True)
    texts = [f.preprocess("A b c"), f.preprocess("B")]
    f.build_vocab(texts, max_size=2)
    assert f.vocab.itos == ["<unk>", "<pad>", "<s>", "</s>", "b", "a"]
    made, lengths = f.process(texts)
    assert made.tolist() == [[2, 5, 4, 0, 3], [2, 4, 3, 1, 1]] and lengths.tolist() == [5, 3]
    f.pad_first, f.fix_length, f.truncate_first = True, 4, True
    assert f.pad(texts)[0] == [["<s>", "b", "c", "</s>"], ["<pad>", "<s>", "b", "</s>"]]
    number = LabelField(use_vocab=False, dtype=torch.float32)
    assert number.process(["1.5", "2"]).tolist() == [1.5, 2.0]
    with pytest.raises(ValueError, match="include_lengths"):
        f.numericalize([["a"]])


def test_nested_and_reversible_fields():
    letters = Field(tokenize=list, init_token="<w>", eos_token="</w>")
    words = NestedField(letters)
    texts = [words.preprocess("ab c"), words.preprocess("b")]
    words.build_vocab(texts)
    made = words.process(texts)
    assert made.shape == (2, 2, 4)
    assert [words.vocab.itos[i] for i in made[0, 1].tolist()] == ["<w>", "c", "</w>", "<pad>"]
    assert set(made[1, 1].tolist()) == {words.vocab["<pad>"]}
    turned = ReversibleField(init_token="<s>", eos_token="</s>")
    rows = [["x", "y"], ["y"]]
    turned.build_vocab(rows)
    assert turned.reverse(turned.process(rows)) == ["x y", "y"]


def test_tables(tmp_path):
    (tmp_path / "t.csv").write_text('text,label\n"one, two",pos\nthree,neg\n')
    (tmp_path / "t.json").write_text('{"text": "one two", "more": {"label": "pos"}}\n')
    text, label = Field(), LabelField()
    made = TabularDataset(str(tmp_path / "t.csv"), "csv", [("text", text), ("label", label)], skip_header=True)
    assert [x.text for x in made] == [["one,", "two"], ["three"]] and list(made.label) == ["pos", "neg"]
    named = TabularDataset(str(tmp_path / "t.csv"), "csv", {"label": ("l", label), "text": ("t", text)})
    assert named[1].t == ["three"] and named[1].l == "neg"
    lines = TabularDataset(str(tmp_path / "t.json"), "json", {"text": ("t", text), "more.label": ("l", label)})
    assert (lines[0].t, lines[0].l) == (["one", "two"], "pos")
    text.build_vocab(made)
    label.build_vocab(made)
    assert len(text.vocab) == 5 and label.vocab.itos == ["neg", "pos"]
    with pytest.raises(ValueError, match="not found"):
        TabularDataset(str(tmp_path / "t.json"), "json", {"nothing": ("n", text)})


def test_tagged_sentences_in_an_encoding(tmp_path):
    (tmp_path / "tags.txt").write_bytes("größe\tN\n\nè\tX\n".encode("latin-1"))
    made = legacy.datasets.SequenceTaggingDataset(str(tmp_path / "tags.txt"), [("word", Field())], encoding="latin-1")
    assert [x.word for x in made] == [["größe"], ["è"]]


def _lengths(count=50):
    text, label = Field(), LabelField(dtype=torch.float32)
    fields = [("text", text), ("label", label)]
    rng = random.Random(0)
    rows = [Example.fromlist(["w " * rng.randint(1, 30), rng.choice("ab")], fields) for _ in range(count)]
    made = Dataset(rows, fields)
    made.sort_key = lambda x: len(x.text)
    for field in (text, label):
        field.build_vocab(made)
    return made


def test_buckets_hold_texts_of_like_length():
    made = _lengths()
    train, test = made.split([0.8, 0.2], random_state=random.Random(1).getstate())
    assert (len(train), len(test)) == (40, 10)
    bucket = BucketIterator(made, 8, sort_within_batch=True)
    waste = 0
    for batch in bucket:
        text, label = batch.text, batch.label
        assert text.shape[1] == label.shape[0] == len(batch) and label.dtype == torch.float32
        counts = (text != 1).sum(0).tolist()
        assert counts == sorted(counts, reverse=True)
        waste += int((text == 1).sum())
    plain = sum(int((b.text == 1).sum()) for b in Iterator(made, 8))
    assert waste < plain / 3 and len(bucket) == 7
    again = BucketIterator.splits((train, test), batch_size=8, sort_key=lambda x: len(x.text))
    assert again[0].train and not again[1].train
    (x, y) = next(iter(again[1]))
    assert x.shape[1] == y.shape[0] == 8


def test_language_modelling_in_pieces(tmp_path):
    (tmp_path / "t.txt").write_text("a b c\nd e f g\n")
    text = Field(batch_first=False)
    made = legacy.datasets.LanguageModelingDataset(str(tmp_path / "t.txt"), text)
    text.build_vocab(made)
    pieces = list(BPTTIterator(made, batch_size=2, bptt_len=2))
    words = [[[text.vocab.itos[i] for i in row] for row in b.text.t().tolist()] for b in pieces]
    assert words == [[["a", "b"], ["e", "f"]], [["c", "<eos>"], ["g", "<eos>"]]]
    assert pieces[0].target[0].tolist() == pieces[0].text[1].tolist()


def test_translation(tmp_path):
    for name in ("train", "val", "test2016"):
        (tmp_path / f"{name}.de").write_text("ein Hund\n\nzwei\n")
        (tmp_path / f"{name}.en").write_text("a dog\nnothing\ntwo\n")
    source, target = Field(), Field()
    from pytorchlike.text.datasets import Multi30k

    parts = Multi30k.splits(exts=(".de", ".en"), fields=(source, target), path=str(tmp_path))
    assert [len(p) for p in parts] == [2, 2, 2] and parts[0][0].trg == ["a", "dog"]
    source.build_vocab(parts[0], min_freq=1)
    assert source.vocab.itos[2:] == ["Hund", "ein", "zwei"]


def test_snli(tmp_path):
    folder = tmp_path / "snli" / "snli_1.0"
    folder.mkdir(parents=True)
    row = '{{"gold_label": "{}", "sentence1": "{}", "sentence2": "a b"}}\n'
    for part, n in (("train", 3), ("dev", 2), ("test", 1)):
        rows = [row.format("neutral", "a " * (i + 1)) for i in range(n)] + [row.format("-", "c")]
        (folder / f"snli_1.0_{part}.jsonl").write_text("".join(rows))
    text, label = Field(lower=True), Field(sequential=False)
    parts = legacy.datasets.SNLI.splits(text, label, root=str(tmp_path))
    assert [len(p) for p in parts] == [3, 2, 1]
    text.build_vocab(*parts)
    label.build_vocab(parts[0])
    assert "c" not in text.vocab.stoi and label.vocab.itos == ["<unk>", "neutral"]
    batches = BucketIterator(parts[0], batch_size=3)
    for _ in range(2):
        batches.init_epoch()
        batch = list(batches)[0]
        assert batches.iterations == 1
    assert batch.premise.shape == (3, 3) and batch.hypothesis.shape == (2, 3) and batch.label.tolist() == [1, 1, 1]
    with pytest.raises(FileNotFoundError, match="snli_1.0_train"):
        legacy.datasets.SNLI.splits(text, label, root=str(tmp_path / "other"))


def test_trec(tmp_path):
    (tmp_path / "trec").mkdir()
    rows = b"DESC:manner How did it go ?\nENTY:cremat What film is Sisters\xf0city ?\n"
    (tmp_path / "trec" / "train_5500.label").write_bytes(rows)
    (tmp_path / "trec" / "TREC_10.label").write_bytes(b"NUM:dist How far is it ?\n")
    text, label = Field(), LabelField()
    train, test = legacy.datasets.TREC.splits(text, label, root=str(tmp_path), fine_grained=False)
    assert train[1].text == ["What", "film", "is", "Sisters", "city", "?"]
    assert list(train.label) == ["DESC", "ENTY"] and test[0].label == "NUM"
    fine, _ = legacy.datasets.TREC.splits(text, label, root=str(tmp_path), fine_grained=True)
    assert fine[0].label == "DESC:manner"
    text.build_vocab(train)
    label.build_vocab(train)
    batch = next(iter(BucketIterator(train, batch_size=2)))
    assert batch.text.shape == (6, 2) and sorted(batch.label.tolist()) == [0, 1]


def test_trees_of_sentiment(tmp_path):
    folder = tmp_path / "sst" / "trees"
    folder.mkdir(parents=True)
    for part in ("train", "dev", "test"):
        (folder / f"{part}.txt").write_text("(4 (2 A) (3 (3 joy) (2 -RRB-)))\n(2 (2 It) (2 is))\n")
    text, label = Field(), Field(sequential=False)
    splits = legacy.datasets.SST.splits
    parts = splits(text, label, root=str(tmp_path), filter_pred=lambda x: x.label != "neutral")
    assert [len(p) for p in parts] == [1, 1, 1] and parts[0][0].text == ["A", "joy", "-RRB-"]
    assert parts[0][0].label == "positive"
    train, dev, _ = splits(text, label, root=str(tmp_path), fine_grained=True, train_subtrees=True)
    assert [(" ".join(x.text), x.label) for x in train][:4] == [
        ("A joy -RRB-", "very positive"), ("A", "neutral"), ("joy -RRB-", "positive"), ("joy", "positive"),
    ]  # fmt: skip
    assert len(train) == 8 and len(dev) == 2
    with pytest.raises(FileNotFoundError, match="train"):
        splits(text, label, root=str(tmp_path / "other"))
    with pytest.raises(ValueError, match="tree"):
        Example.fromtree("(3 (2 A)", [("text", text), ("label", label)])
