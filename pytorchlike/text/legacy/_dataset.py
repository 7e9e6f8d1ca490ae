"""Examples and data sets of them."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ...utils.data import Dataset as MapDataset
from ..data.utils import RandomShuffler
from ._field import fields_of

__all__ = ["Dataset", "Example", "TabularDataset", "nodes"]


def nodes(data: str, subtrees: bool) -> list[tuple[str, str]]:
    """The words and the label of ``(3 (2 A) (4 joy))``; ``subtrees``: of each node, outer ones first."""
    found: list[tuple[list[str], str]] = []
    inside: list[tuple[list[str], str]] = []
    for bracket, word in re.findall(r"(\(\s*[^\s()]*|\))|([^\s()]+)", data):
        if bracket.startswith("("):
            inside.append(([], bracket[1:].strip()))
            found.append(inside[-1])
        elif bracket and inside:
            inside.pop()
        else:
            for words, _ in inside:
                words.append(word)
    if not found or inside:
        raise ValueError(f"not a tree in brackets: {data.strip()!r}")
    return [(" ".join(words), label) for words, label in found[: None if subtrees else 1]]


class Example:
    """One row; its columns are attributes, preprocessed by their fields."""

    @classmethod
    def fromlist(cls, data: Iterable, fields: Any) -> Example:
        """Of values in the order of (name, field)s; None leaves a column out, tuples use one several times."""
        made = cls()
        for (name, field), value in zip(fields, data, strict=False):
            if field is None:
                continue
            value = value.rstrip("\n") if isinstance(value, str) else value
            pairs = list(zip(name, field, strict=True)) if isinstance(name, tuple) else [(name, field)]
            for n, f in pairs:
                setattr(made, n, f.preprocess(value))
        return made

    @classmethod
    def fromdict(cls, data: dict, fields: dict) -> Example:
        """Of a dict; fields: key -> (name, field), or a list of these. ValueError for a key that is missing."""
        made = cls()
        for key, targets in fields.items():
            if key not in data:
                raise ValueError(f"Specified key {key} was not found in the input data")
            for name, field in targets if isinstance(targets, list) else [targets]:
                setattr(made, name, field.preprocess(data[key]))
        return made

    @classmethod
    def fromJSON(cls, data: str, fields: dict) -> Example:
        """Of a line of JSON; dots in a key go into nested objects."""
        row = json.loads(data)

        def inside(path: str) -> Any:
            value = row
            for part in path.split("."):
                if not isinstance(value, dict) or part not in value:
                    raise ValueError(f"Specified key {path} was not found in the input data")
                value = value[part]
            return value

        return cls.fromdict({key: inside(key) for key in fields}, fields)

    @classmethod
    def fromCSV(cls, data: str | list[str], fields: Any, field_to_index: dict[str, int] | None = None) -> Example:
        """Of a line of CSV, by order or, with ``field_to_index``, by name."""
        row = next(csv.reader([data])) if isinstance(data, str) else data
        if field_to_index is None or not isinstance(fields, dict):
            return cls.fromlist(row, fields)
        return cls.fromdict({key: row[field_to_index[key]] for key in fields}, fields)

    @classmethod
    def fromtree(cls, data: str, fields: Any, subtrees: bool = False) -> Any:
        """Of a line such as ``(3 (2 A) (4 joy))``, fields for its words and its label: (name, field)s.

        subtrees: a list of examples, one for each node, outer ones first.
        """
        made = [cls.fromlist(node, fields) for node in nodes(data, subtrees)]
        return made if subtrees else made[0]


class Dataset(MapDataset):
    """Examples and their fields, ``fields``: a dict of names.

    sort_key: what iterators sort by.   filter_pred: which examples to keep.
    ``dataset.<name>`` gives the values of a column.
    """

    sort_key: Callable | None = None

    def __init__(self, examples: Iterable[Example], fields: Any, filter_pred: Callable | None = None) -> None:
        self.examples = list(examples if filter_pred is None else filter(filter_pred, examples))
        self.fields = dict(fields_of(fields))

    @classmethod
    def splits(
        cls, path: str | None = None, root: str = ".data", train: str | None = None, validation: str | None = None,
        test: str | None = None, **kwargs: Any,
    ) -> tuple:  # fmt: skip
        """Data sets of the files given below ``path``; those not given are left out."""
        base = root if path is None else path
        names = [n for n in (train, validation, test) if n is not None]
        return tuple(cls(os.path.join(base, n), **kwargs) for n in names)

    def split(
        self, split_ratio: float | list[float] = 0.7, stratified: bool = False, strata_field: str = "label",
        random_state: Any = None,
    ) -> tuple[Dataset, ...]:  # fmt: skip
        """Random parts, (train, test) or (train, validation, test), of these shares.

        split_ratio: the share of the first, or the shares of two (train, test) or three (train, test, validation).
        stratified: within each value of the column ``strata_field``.   random_state: of Python's ``random``.
        Raises ValueError for other shares.
        """
        if isinstance(split_ratio, float):
            if not 0.0 < split_ratio < 1.0:
                raise ValueError(f"Split ratio {split_ratio} not between 0 and 1")
            train, test, valid = split_ratio, 1.0 - split_ratio, 0.0
        else:
            total = sum(split_ratio)
            if len(split_ratio) not in (2, 3) or total <= 0:
                raise ValueError(f"Length of split ratio list should be 2 or 3, got {split_ratio}")
            shares = [x / total for x in split_ratio]
            train, test, valid = shares[0], shares[1], shares[2] if len(shares) == 3 else 0.0
        shuffle = RandomShuffler(random_state)
        groups: dict[Any, list[int]] = {}
        for i, x in enumerate(self.examples):
            groups.setdefault(getattr(x, strata_field) if stratified else None, []).append(i)
        chosen: list[list[int]] = [[], [], []]
        for group in groups.values():
            order = shuffle(group)
            first = round(len(order) * train)
            second = len(order) if not valid else first + round(len(order) * test)
            for part, rows in zip(chosen, (order[:first], order[second:], order[first:second]), strict=True):
                part += rows
        parts = [chosen[0], chosen[1], chosen[2]] if valid else [chosen[0], chosen[2]]
        made = tuple(Dataset([self.examples[i] for i in rows], self.fields) for rows in parts)
        for part in made:
            part.sort_key = self.sort_key
        return made

    def __getitem__(self, i: Any) -> Any:
        return self.examples[i]

    def __len__(self) -> int:
        return len(self.examples)

    def __iter__(self) -> Iterator[Example]:
        yield from self.examples

    def __getattr__(self, attr: str) -> Any:
        if attr != "fields" and attr in self.__dict__.get("fields", ()):
            return (getattr(x, attr) for x in self.examples)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {attr!r}")

    def filter_examples(self, field_names: Iterable[str]) -> None:
        """Take words that the vocabulary lacks out of the columns."""
        for x in self.examples:
            for name in field_names:
                known = set(self.fields[name].vocab.itos)
                setattr(x, name, [w for w in getattr(x, name) if w in known])


class TabularDataset(Dataset):
    """The rows of a file of CSV, TSV or JSON lines.

    fields: a list of (name, field) in the order of the columns, None for those to leave out; or a dict
    column -> (name, field), for files with a header and for JSON.   skip_header: leave out the first line.
    csv_reader_params: for ``csv.reader``.   Raises ValueError for another format, or a dict without a header.
    """

    def __init__(
        self, path: str, format: str, fields: Any, skip_header: bool = False,
        csv_reader_params: dict[str, Any] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        kind = format.lower()
        if kind not in ("csv", "tsv", "json"):
            raise ValueError(f"format is csv, tsv or json, not {format!r}")
        with open(os.path.expanduser(path), encoding="utf-8", newline="") as file:
            if kind == "json":
                examples = [Example.fromJSON(line, fields) for line in file if line.strip()]
            else:
                params = {"delimiter": "\t"} if kind == "tsv" else {}
                reader = csv.reader(file, **{**params, **(csv_reader_params or {})})
                index = None
                if isinstance(fields, dict):
                    if skip_header:
                        raise ValueError(
                            "When using a dict to specify fields with a csv/tsv file, skip_header must be False and "
                            "the file must have a header."
                        )
                    index = {name: i for i, name in enumerate(next(reader))}
                elif skip_header:
                    next(reader)
                examples = [Example.fromCSV(row, fields, index) for row in reader if row]
        if isinstance(fields, dict):
            named: list[tuple[str, Any]] = []
            for targets in fields.values():
                named += targets if isinstance(targets, list) else [targets]
            fields = named
        super().__init__(examples, fields, **kwargs)


