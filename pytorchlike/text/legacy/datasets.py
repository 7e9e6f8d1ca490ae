"""Data sets of torchtext 0.8: ``splits`` of local files, with fields."""

from __future__ import annotations

import os
from typing import Any

from ..data.utils import interleave_keys
from ._dataset import Dataset, Example, TabularDataset, nodes

__all__ = [
    "AG_NEWS", "IMDB", "LanguageModelingDataset", "Multi30k", "PennTreebank", "SNLI", "SST",
    "SequenceTaggingDataset", "TREC", "TranslationDataset", "UDPOS", "WikiText2", "WikiText103",
]  # fmt: skip


class TranslationDataset(Dataset):
    """Two files of parallel lines, ``path + exts[i]``; columns ``src`` and ``trg``.

    Pairs with an empty line are left out.
    """

    @staticmethod
    def sort_key(ex: Example) -> int:
        """By both lengths at once."""
        return interleave_keys(len(ex.src), len(ex.trg))  # type: ignore[attr-defined]

    def __init__(self, path: str, exts: tuple[str, str], fields: Any, **kwargs: Any) -> None:
        if not isinstance(fields[0], (tuple, list)):
            fields = [("src", fields[0]), ("trg", fields[1])]
        examples = []
        a, b = (os.path.expanduser(path + e) for e in exts)
        with open(a, encoding="utf-8") as source, open(b, encoding="utf-8") as target:
            for line, other in zip(source, target, strict=False):
                if line.strip() and other.strip():
                    examples.append(Example.fromlist([line.strip(), other.strip()], fields))
        super().__init__(examples, fields, **kwargs)


class Multi30k(TranslationDataset):
    """Captions in German and English; ``splits(exts=(".de", ".en"), fields=(SRC, TRG))``."""

    @classmethod
    def splits(  # type: ignore[override]
        cls, exts: tuple[str, str], fields: Any, root: str = ".data", train: str = "train", validation: str = "val",
        test: str = "test2016", **kwargs: Any,
    ) -> tuple:  # fmt: skip
        from ..datasets import Multi30k as modern

        pair = tuple(e.lstrip(".") for e in exts)
        folder = kwargs.pop("path", None)
        made = []
        for name, split in ((train, "train"), (validation, "valid"), (test, "test")):
            if name is None:
                continue
            paths = [os.path.join(folder or os.path.join(root, "multi30k"), name + e) for e in exts]
            if all(os.path.isfile(p) for p in paths):
                made.append(cls(paths[0].removesuffix(exts[0]), exts, fields, **kwargs))
                continue
            named = [("src", fields[0]), ("trg", fields[1])] if not isinstance(fields[0], (tuple, list)) else fields
            rows = [Example.fromlist(row, named) for row in modern(root, split, language_pair=pair)]
            part = Dataset(rows, named, **kwargs)
            part.sort_key = cls.sort_key
            made.append(part)
        return tuple(made)


class _Labelled(Dataset):
    """Columns ``text`` and ``label``, of the data set of the same name in ``torchtext.datasets``."""

    names: dict[int, str] = {}

    @staticmethod
    def sort_key(ex: Example) -> int:
        """By length."""
        return len(ex.text)  # type: ignore[attr-defined]

    @classmethod
    def splits(  # type: ignore[override]
        cls, text_field: Any, label_field: Any, root: str = ".data", train: str | None = "train",
        test: str | None = "test", **kwargs: Any,
    ) -> tuple:  # fmt: skip
        """(train, test)."""
        from .. import datasets

        fields = [("text", text_field), ("label", label_field)]
        made = []
        for split in (train, test):
            if split is not None:
                rows = getattr(datasets, cls.__name__)(root, split)
                examples = [Example.fromlist([text, cls.names.get(label, label)], fields) for label, text in rows]
                made.append(cls(examples, fields, **kwargs))
        return tuple(made)


class IMDB(_Labelled):
    """Reviews of films, labels "neg" and "pos"; ``splits(TEXT, LABEL)``."""

    names = {1: "neg", 2: "pos"}


class AG_NEWS(_Labelled):
    """News of four topics, labels 1 to 4; ``splits(TEXT, LABEL)``."""


class TREC(Dataset):
    """Questions by what they ask for, columns ``text`` and ``label``: "ENTY", or "ENTY:cremat" if ``fine_grained``.

    ``splits(TEXT, LABEL)`` reads ``.data/trec/train_5500.label`` and ``TREC_10.label``.
    """

    @staticmethod
    def sort_key(ex: Example) -> int:
        """By length."""
        return len(ex.text)  # type: ignore[attr-defined]

    def __init__(self, path: str, text_field: Any, label_field: Any, fine_grained: bool = False, **kwargs: Any) -> None:
        fields = [("text", text_field), ("label", label_field)]
        examples = []
        with open(os.path.expanduser(path), encoding="utf-8", errors="replace") as file:  # one byte of it is no text
            for line in file:
                label, _, text = line.replace("\ufffd", " ").strip().partition(" ")
                examples.append(Example.fromlist([text, label if fine_grained else label.partition(":")[0]], fields))
        super().__init__(examples, fields, **kwargs)

    @classmethod
    def splits(  # type: ignore[override]
        cls, text_field: Any, label_field: Any, root: str = ".data", train: str | None = "train_5500.label",
        test: str | None = "TREC_10.label", **kwargs: Any,
    ) -> tuple:  # fmt: skip
        """(train, test). FileNotFoundError for a file that is not there."""
        return super().splits(
            os.path.join(root, "trec"), root, train, None, test, text_field=text_field, label_field=label_field,
            **kwargs,
        )  # fmt: skip


class SST(Dataset):
    """Sentences of film reviews, columns ``text`` and ``label``: "negative", "neutral", "positive".

    subtrees: each phrase is an example.   fine_grained: "very negative" and "very positive" are labels of their own.
    ``splits(TEXT, LABEL)`` reads ``.data/sst/trees/train.txt`` and so on, unpacked of trainDevTestTrees_PTB.zip.
    """

    @staticmethod
    def sort_key(ex: Example) -> int:
        """By length."""
        return len(ex.text)  # type: ignore[attr-defined]

    def __init__(
        self, path: str, text_field: Any, label_field: Any, subtrees: bool = False, fine_grained: bool = False,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        very = "very " if fine_grained else ""
        names = {"0": very + "negative", "1": "negative", "2": "neutral", "3": "positive", "4": very + "positive"}
        fields = [("text", text_field), ("label", label_field)]
        examples = []
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            for line in filter(str.strip, file):
                for text, label in nodes(line, subtrees):
                    examples.append(Example.fromlist([text, names.get(label, label)], fields))
        super().__init__(examples, fields, **kwargs)

    @classmethod
    def splits(  # type: ignore[override]
        cls, text_field: Any, label_field: Any, root: str = ".data", train: str | None = "train.txt",
        validation: str | None = "dev.txt", test: str | None = "test.txt", train_subtrees: bool = False, **kwargs: Any,
    ) -> tuple:  # fmt: skip
        """(train, validation, test). FileNotFoundError for a file that is not there."""
        path = os.path.join(root, "sst", "trees")
        given = [(train, train_subtrees), (validation, False), (test, False)]
        return tuple(
            cls(os.path.join(path, name), text_field, label_field, subtrees=whole, **kwargs)
            for name, whole in given
            if name is not None
        )


class SNLI(TabularDataset):
    """Pairs of sentences, columns ``premise``, ``hypothesis`` and ``label``; none without an agreed label.

    ``splits(TEXT, LABEL)`` reads ``.data/snli/snli_1.0/snli_1.0_train.jsonl`` and so on, unpacked of snli_1.0.zip.
    """

    @staticmethod
    def sort_key(ex: Example) -> int:
        """By both lengths at once."""
        return interleave_keys(len(ex.premise), len(ex.hypothesis))  # type: ignore[attr-defined]

    @classmethod
    def splits(  # type: ignore[override]
        cls, text_field: Any, label_field: Any, root: str = ".data", train: str | None = "snli_1.0_train.jsonl",
        validation: str | None = "snli_1.0_dev.jsonl", test: str | None = "snli_1.0_test.jsonl",
    ) -> tuple:  # fmt: skip
        """(train, validation, test). FileNotFoundError for a file that is not there."""
        fields = {
            "sentence1": ("premise", text_field), "sentence2": ("hypothesis", text_field),
            "gold_label": ("label", label_field),
        }  # fmt: skip
        return super().splits(
            os.path.join(root, "snli", "snli_1.0"), root, train, validation, test, format="json", fields=fields,
            filter_pred=lambda ex: ex.label != "-",
        )  # fmt: skip


class LanguageModelingDataset(Dataset):
    """A file as one example, with the column ``text``; lines end with "<eos>" if ``newline_eos``."""

    def __init__(
        self, path: str, text_field: Any, newline_eos: bool = True, encoding: str = "utf-8", **kwargs: Any
    ) -> None:
        fields = [("text", text_field)]
        text: list[str] = []
        with open(os.path.expanduser(path), encoding=encoding) as file:
            for line in file:
                text += text_field.preprocess(line)
                if newline_eos:
                    text.append("<eos>")
        example = Example()
        example.text = text  # type: ignore[attr-defined]
        super().__init__([example], fields, **kwargs)

    @classmethod
    def splits(cls, text_field: Any, root: str = ".data", **kwargs: Any) -> tuple:  # type: ignore[override]
        """(train, valid, test) of the data set of the same name in ``torchtext.datasets``."""
        from .. import datasets

        made = []
        for split in ("train", "valid", "test"):
            found = getattr(datasets, cls.__name__)(root, split)
            made.append(cls(found._make.args[0], text_field, **kwargs))
        return tuple(made)


class WikiText2(LanguageModelingDataset):
    """``splits(TEXT)``."""


class WikiText103(LanguageModelingDataset):
    """``splits(TEXT)``."""


class PennTreebank(LanguageModelingDataset):
    """``splits(TEXT)``."""


class SequenceTaggingDataset(Dataset):
    """A file with a word and its tags in each line, and an empty line between sentences; a column for each field."""

    @staticmethod
    def sort_key(ex: Example) -> int:
        """By length, of the first column."""
        return len(next(iter(vars(ex).values())))

    def __init__(self, path: str, fields: Any, encoding: str = "utf-8", separator: str = "\t", **kwargs: Any) -> None:
        from ..datasets import columns

        examples = [Example.fromlist(row, fields) for row in columns(path, separator=separator, encoding=encoding)]
        super().__init__(examples, fields, **kwargs)


class UDPOS(SequenceTaggingDataset):
    """Words, universal parts of speech and Penn's tags; ``splits(fields)``."""

    @classmethod
    def splits(cls, fields: Any, root: str = ".data", **kwargs: Any) -> tuple:  # type: ignore[override]
        """(train, valid, test)."""
        from .. import datasets

        return tuple(cls(datasets.UDPOS(root, s)._make.args[0], fields, **kwargs) for s in ("train", "valid", "test"))
