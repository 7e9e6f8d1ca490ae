"""Vocabularies, word vectors, tokenizers, scores and transforms are torchtext's."""

import json
from collections import Counter, OrderedDict

import pytest

import pytorchlike as torch
from pytorchlike import text
from pytorchlike.text import transforms as T
from pytorchlike.text.data.functional import custom_replace, filter_wikipedia_xml, to_map_style_dataset
from pytorchlike.text.data.metrics import bleu_score
from pytorchlike.text.data.utils import get_tokenizer, ngrams_iterator
from pytorchlike.text.vocab import CharNGram, GloVe, Vectors, Vocab, build_vocab_from_iterator, vocab


def test_a_vocabulary_by_frequency_then_alphabet():
    lines = [["b", "a", "c"], ["c", "b", "<unk>"], ["c"]]
    v = build_vocab_from_iterator(lines, specials=["<unk>", "<pad>"])
    assert v.get_itos() == ["<unk>", "<pad>", "c", "b", "a"] and v(["a", "c"]) == [4, 2]
    assert build_vocab_from_iterator(lines, min_freq=2).get_itos() == ["c", "b"]
    assert build_vocab_from_iterator(lines, specials=["<unk>"], special_first=False, max_tokens=3).get_itos() == [
        "c", "b", "<unk>",
    ]  # fmt: skip
    assert vocab(OrderedDict([("z", 3), ("y", 1), ("x", 2)]), min_freq=2).get_itos() == ["z", "x"]


def test_unknown_tokens_and_changes():
    v = Vocab(["a", "b"])
    with pytest.raises(RuntimeError, match="Token c not found and default index is not set"):
        v["c"]
    v.set_default_index(0)
    assert v["c"] == 0 and "c" not in v and v.get_default_index() == 0
    v.insert_token("first", 0)
    v.append_token("last")
    assert v.get_itos() == ["first", "a", "b", "last"] and v.get_stoi()["b"] == 2
    assert v.lookup_tokens([3, 0]) == ["last", "first"] and len(v) == 4
    for ask, message in [
        (lambda: v.append_token("a"), "already exists"), (lambda: v.insert_token("x", 9), "out of bounds"),
        (lambda: v.lookup_token(4), "out of bounds"), (lambda: Vocab(["a", "a"]), "Duplicate token"),
    ]:  # fmt: skip
        with pytest.raises(RuntimeError, match=message):
            ask()


def test_the_vocabulary_of_a_counter_is_the_old_one():
    v = Vocab(Counter("abracadabra"), min_freq=2, specials=["<unk>", "<pad>"])
    assert v.itos == ["<unk>", "<pad>", "a", "b", "r"] and v["z"] == 0 and v.stoi["r"] == 4 and v.freqs["a"] == 5


def test_word_vectors_of_a_file(tmp_path):
    (tmp_path / "glove.6B.50d.txt").write_text("".join(f"w{i} " + " ".join([str(i)] * 50) + "\n" for i in range(3)))
    glove = GloVe("6B", 50, cache=str(tmp_path))
    assert glove.vectors.shape == (3, 50) and float(glove["w2"][0]) == 2.0
    assert not glove["nothing"].any() and "w1" in glove
    (tmp_path / "glove.6B.50d.txt").unlink()
    again = GloVe("6B", 50, cache=str(tmp_path), unk_init=lambda t: t + 7)  # from what was kept
    assert float(again["nothing"][3]) == 7.0
    assert again.get_vecs_by_tokens(["W1", "w0"], lower_case_backup=True)[:, 0].tolist() == [1.0, 0.0]
    (tmp_path / "w2v.vec").write_text("2 3\na 1 2 3\nb 4 5 6\n")
    assert Vectors("w2v.vec", cache=str(tmp_path)).itos == ["a", "b"]
    (tmp_path / "bad.txt").write_text("a 1 2 3\nb 4 5\n")
    with pytest.raises(RuntimeError, match="has 2 dimensions"):
        Vectors("bad.txt", cache=str(tmp_path))
    with pytest.raises(RuntimeError, match="no vectors found"):
        Vectors("missing.txt", cache=str(tmp_path))
    (tmp_path / "charNgram.txt").write_text("2gram-ab 1 1\n3gram-abc 3 3\n2gram-#END# 9 9\n")
    assert CharNGram(cache=str(tmp_path))["abc"].tolist() == [[2.0, 2.0]]


def test_tokenizers():
    basic = get_tokenizer("basic_english")
    assert basic('It\'s (really) "nice"; is it?<br />A.B: c  d, yes!') == [
        "it", "'", "s", "(", "really", ")", "nice", "is", "it", "?", "a", ".", "b", "c", "d", ",", "yes", "!",
    ]  # fmt: skip
    assert get_tokenizer(None)("a  B\n") == ["a", "B"] and get_tokenizer(list)("ab") == ["a", "b"]
    assert list(ngrams_iterator(["a", "b", "c"], 3)) == ["a", "b", "c", "a b", "b c", "a b c"]
    with pytest.raises(ValueError, match="only available"):
        get_tokenizer("basic_english", "de")
    with pytest.raises(ValueError, match="valid choices"):
        get_tokenizer("letters")
    assert list(custom_replace([(r"\d", "0")])(["a12"])) == ["a00"]
    assert list(filter_wikipedia_xml(["[[Category:Bar|x]] It's 42 &amp; <b>more</b>", "#REDIRECT y"])) == [
        "x it s four two"
    ]


def test_bleu():
    # torchtext 0.18's answers
    candidate = [["My", "full", "pytorch", "test"], ["Another", "Sentence"]]
    references = [[["My", "full", "pytorch", "test"], ["Completely", "Different"]], [["No", "Match"]]]
    assert bleu_score(candidate, references) == pytest.approx(0.8408964276313782)
    assert bleu_score([["a", "b"]], [[["c", "d"]]]) == 0.0
    assert bleu_score([["a", "b"]], [[["a", "b", "c"]]], 2, [0.5, 0.5]) == pytest.approx(0.6065306597)
    with pytest.raises(AssertionError, match="max_n"):
        bleu_score(candidate, references, 2)


def test_transforms_in_a_row():
    v = build_vocab_from_iterator([["a", "b", "c", "d"]], specials=["<pad>", "<bos>", "<eos>", "<unk>"])
    v.set_default_index(3)
    row = T.Sequential(T.VocabTransform(v), T.Truncate(3), T.AddToken(1), T.AddToken(2, begin=False), T.ToTensor(0))
    made = row([["a", "b", "c", "d"], ["zzz"]])
    assert made.tolist() == [[1, 4, 5, 6, 2], [1, 3, 2, 0, 0]] and made.dtype == torch.int64
    assert row(["a"]).tolist() == [1, 4, 2]
    assert T.PadTransform(7, 9)(made).tolist()[1] == [1, 3, 2, 0, 0, 9, 9]
    assert T.LabelToIndex(["no", "yes"])(["yes", "no"]) == [1, 0] and T.StrToIntTransform()([["1"], ["2", "3"]]) == [
        [1], [2, 3],
    ]  # fmt: skip
    with pytest.raises(TypeError, match="not supported"):
        T.Truncate(2)("text")
    assert T.RegexTokenizer([(r"'", " ' ")])("it's") == ["it", "'", "s"]
    torch.manual_seed(0)
    tokens = torch.arange(4, 104).reshape(1, 100)
    masked, originals, chosen = T.MaskTransform(200, 3, 1, 0, mask_prob=0.5, mask_mask_prob=1.0, mask_rand_prob=0.0)(
        tokens
    )
    assert (masked[chosen] == 3).all() and torch.equal(masked[~chosen], tokens[~chosen])
    assert torch.equal(originals, tokens[chosen]) and 20 < int(chosen.sum()) < 80


def test_word_pieces_and_byte_pairs(tmp_path):
    pytest.importorskip("tokenizers")
    (tmp_path / "vocab.txt").write_text("[UNK]\nhe\n##llo\nworld\n!\n")
    assert T.BERTTokenizer(str(tmp_path / "vocab.txt"), return_tokens=True)("Hello WORLD!") == [
        "he", "##llo", "world", "!",
    ]  # fmt: skip
    assert T.BERTTokenizer(str(tmp_path / "vocab.txt"))(["hello", "xyz"]) == [["1", "2"], ["0"]]
    letters = [*"hello wrd", "Ġ", "he", "ll", "Ġw"]
    (tmp_path / "encoder.json").write_text(json.dumps({t: i for i, t in enumerate(letters) if letters.index(t) == i}))
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\nh e\nl l\nĠ w\n")
    gpt = T.GPT2BPETokenizer(str(tmp_path / "encoder.json"), str(tmp_path / "vocab.bpe"), return_tokens=True)
    assert gpt("hello world") == ["he", "ll", "o", "Ġw", "o", "r", "l", "d"]
    (tmp_path / "merges.txt").write_text("#version: 0.2\nh e\nl l\nll o</w>\n")
    clip = T.CLIPTokenizer(str(tmp_path / "merges.txt"), return_tokens=True)
    assert clip("Hello <|endoftext|>") == ["he", "llo</w>", "<|endoftext|>"]
    assert T.CLIPTokenizer(str(tmp_path / "merges.txt"))("hello")[1] == str(512 + 2)


def test_other_names_say_what_there_is():
    with pytest.raises(AttributeError, match="transformers"):
        _ = text.models.XLMR_BASE_ENCODER
    with pytest.raises(AttributeError, match="CNNDM is not provided"):
        _ = text.datasets.CNNDM
    assert len(to_map_style_dataset(iter("abc"))) == 3
