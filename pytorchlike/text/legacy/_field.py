"""How a column of text becomes a tensor."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor

from ..data.utils import get_tokenizer
from .vocab import Vocab

__all__ = ["Field", "LabelField", "NestedField", "Pipeline", "RawField", "ReversibleField"]


class Pipeline:
    """Functions in turn, on a value or on each of a list."""

    def __init__(self, convert_token: Callable | None = None) -> None:
        if convert_token is not None and not callable(convert_token):
            raise ValueError(f"Pipeline input convert_token {convert_token} is not None or callable")
        self.convert_token = (lambda x: x) if convert_token is None else convert_token
        self.pipes: list[Any] = [self]

    def call(self, x: Any, *args: Any) -> Any:
        """This function alone."""
        if isinstance(x, list):
            return [self.convert_token(tok, *args) for tok in x]
        return self.convert_token(x, *args)

    def __call__(self, x: Any, *args: Any) -> Any:
        for pipe in self.pipes:
            x = pipe.call(x, *args)
        return x

    def add_before(self, pipeline: Any) -> Pipeline:
        """Do another one first."""
        made = pipeline if isinstance(pipeline, Pipeline) else Pipeline(pipeline)
        self.pipes = made.pipes[:] + self.pipes[:]
        return self

    def add_after(self, pipeline: Any) -> Pipeline:
        """Do another one afterwards."""
        made = pipeline if isinstance(pipeline, Pipeline) else Pipeline(pipeline)
        self.pipes = self.pipes[:] + made.pipes[:]
        return self


class RawField:
    """A column that stays as it is: ``preprocessing`` of each value, ``postprocessing`` of a batch's list."""

    def __init__(
        self, preprocessing: Callable | None = None, postprocessing: Callable | None = None, is_target: bool = False
    ) -> None:
        self.preprocessing, self.postprocessing, self.is_target = preprocessing, postprocessing, is_target

    def preprocess(self, x: Any) -> Any:
        """A value of an example."""
        return self.preprocessing(x) if self.preprocessing is not None else x

    def process(self, batch: list, *args: Any, **kwargs: Any) -> Any:
        """The values of a batch."""
        return self.postprocessing(batch) if self.postprocessing is not None else batch


class Field(RawField):
    """A column of text, tokenized, numbered by a vocabulary, padded: a batch is (length, batch) int64.

    sequential: text, rather than one value.   use_vocab: otherwise values are numbers already.
    init_token, eos_token: put around each text.   fix_length: pad to it, otherwise to the longest.
    include_lengths: a batch is (tensor, lengths).   batch_first: (batch, length).
    pad_first, truncate_first: at the start rather than at the end.   stop_words: left out.
    """

    vocab_cls: type = Vocab

    def __init__(
        self, sequential: bool = True, use_vocab: bool = True, init_token: str | None = None,
        eos_token: str | None = None, fix_length: int | None = None, dtype: torch.dtype = torch.long,
        preprocessing: Callable | None = None, postprocessing: Callable | None = None, lower: bool = False,
        tokenize: Callable | str | None = None, tokenizer_language: str = "en", include_lengths: bool = False,
        batch_first: bool = False, pad_token: str | None = "<pad>", unk_token: str | None = "<unk>",
        pad_first: bool = False, truncate_first: bool = False, stop_words: Iterable[str] | None = None,
        is_target: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(preprocessing, postprocessing, is_target)
        self.sequential, self.use_vocab, self.dtype, self.lower = sequential, use_vocab, dtype, lower
        self.init_token, self.eos_token, self.unk_token = init_token, eos_token, unk_token
        self.pad_token = pad_token if sequential else None
        self.fix_length, self.include_lengths, self.batch_first = fix_length, include_lengths, batch_first
        self.pad_first, self.truncate_first = pad_first, truncate_first
        self.tokenize = get_tokenizer(tokenize, tokenizer_language)
        self.stop_words = None if stop_words is None else set(stop_words)

    def preprocess(self, x: Any) -> Any:
        """Tokenize a text, lower it, take stop words out, and apply ``preprocessing``."""
        if self.sequential and isinstance(x, str):
            x = self.tokenize(x.rstrip("\n"))
        if self.lower:
            x = Pipeline(str.lower)(x)
        if self.sequential and self.use_vocab and self.stop_words is not None:
            x = [w for w in x if w not in self.stop_words]
        return self.preprocessing(x) if self.preprocessing is not None else x

    def process(self, batch: list, device: Any = None) -> Any:
        """A tensor of the texts of a batch."""
        return self.numericalize(self.pad(batch), device=device)

    def pad(self, minibatch: Iterable) -> Any:
        """Texts of one length, with their marks; and their lengths if ``include_lengths``."""
        rows = list(minibatch)
        if not self.sequential:
            return rows
        marks = [t for t in (self.init_token, self.eos_token) if t is not None]
        room = max(len(x) for x in rows) if self.fix_length is None else self.fix_length - len(marks)
        start = [] if self.init_token is None else [self.init_token]
        end = [] if self.eos_token is None else [self.eos_token]
        padded, lengths = [], []
        for x in rows:
            kept = list(x[-room:] if self.truncate_first and room else x[:room])
            fill = [self.pad_token] * max(0, room - len(x))
            body = start + kept + end
            padded.append(fill + body if self.pad_first else body + fill)
            lengths.append(len(body))
        return (padded, lengths) if self.include_lengths else padded

    def _special(self, more: Iterable[str] = ()) -> list[str]:
        named = [self.unk_token, self.pad_token, self.init_token, self.eos_token, *more]
        return list(OrderedDict.fromkeys(t for t in named if t is not None))

    def build_vocab(self, *args: Any, **kwargs: Any) -> None:
        """The vocabulary ``self.vocab`` of data sets (their columns with this field), or of iterables of texts."""
        counter: Counter = Counter()
        sources: list[Any] = []
        for arg in args:
            named = getattr(arg, "fields", None)
            sources += [getattr(arg, n) for n, f in named.items() if f is self] if named is not None else [arg]
        for data in sources:
            for x in data:
                counter.update(x if self.sequential else [x])
        special = self._special(kwargs.pop("specials", ()))
        self.vocab = self.vocab_cls(counter, specials=special, **kwargs)

    def numericalize(self, arr: Any, device: Any = None) -> Any:
        """A tensor of padded texts; (tensor, lengths) if ``include_lengths``."""
        if self.include_lengths and not isinstance(arr, tuple):
            raise ValueError("Field has include_lengths set to True, but input data is not a tuple of (data, lengths)")
        lengths = None
        if isinstance(arr, tuple):
            arr, lengths = arr
            lengths = torch.tensor(lengths, dtype=self.dtype, device=device)
        if self.use_vocab:
            arr = [[self.vocab[t] for t in x] for x in arr] if self.sequential else [self.vocab[x] for x in arr]
            if self.postprocessing is not None:
                arr = self.postprocessing(arr, self.vocab)
        else:
            convert = float if self.dtype.is_floating_point else int
            if not self.sequential:
                arr = [convert(x) if isinstance(x, str) else x for x in arr]
            if self.postprocessing is not None:
                arr = self.postprocessing(arr, None)
        made: Tensor = torch.tensor(arr, dtype=self.dtype, device=device)
        if self.sequential and not self.batch_first:
            made = made.t().contiguous()
        return made if lengths is None else (made, lengths)


class LabelField(Field):
    """A column of labels: one value each, numbered without special tokens."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.update(sequential=False, unk_token=None, is_target=True)
        super().__init__(**kwargs)


class ReversibleField(Field):
    """A field whose batches can be turned back to texts by :meth:`reverse`, words joined by spaces."""

    def reverse(self, batch: Tensor) -> list[str]:
        """The texts of a batch, up to the end mark, without marks and padding."""
        rows = (batch if self.batch_first else batch.t()).tolist()
        texts = []
        for row in rows:
            words = [self.vocab.itos[i] for i in row]
            if self.eos_token in words:
                words = words[: words.index(self.eos_token)]
            texts.append(" ".join(w for w in words if w not in (self.init_token, self.pad_token)))
        return texts


class NestedField(Field):
    """Lists of what another field takes, e.g. words of letters: a batch is (batch, words, letters) int64."""

    def __init__(self, nesting_field: Field, use_vocab: bool = True, **kwargs: Any) -> None:
        if nesting_field.include_lengths:
            raise ValueError("nesting field cannot have include_lengths=True")
        if not nesting_field.sequential or nesting_field.pad_first:
            raise ValueError("nesting field must be sequential, and padded at its end")
        if kwargs.get("include_lengths"):
            raise NotImplementedError("NestedField with include_lengths is not provided")
        kwargs.setdefault("tokenize", None)
        super().__init__(use_vocab=use_vocab, batch_first=True, pad_token=nesting_field.pad_token,
                         unk_token=nesting_field.unk_token, **kwargs)  # fmt: skip
        self.nesting_field = nesting_field

    def preprocess(self, xs: Any) -> list:
        """Tokenize, and preprocess each token by the inner field."""
        return [self.nesting_field.preprocess(x) for x in super().preprocess(xs)]

    def pad(self, minibatch: Iterable) -> list:
        """Rows of as many inner rows of one length."""
        inner, rows = self.nesting_field, [list(x) for x in minibatch]
        start = [] if self.init_token is None else [[self.init_token]]
        end = [] if self.eos_token is None else [[self.eos_token]]
        rows = [start + x + end for x in rows]
        words = max(len(x) for x in rows) if self.fix_length is None else self.fix_length
        rows = [x[:words] for x in rows]
        marks = sum(t is not None for t in (inner.init_token, inner.eos_token))
        letters = max((len(w) for x in rows for w in x), default=0) if inner.fix_length is None else (
            inner.fix_length - marks
        )
        width = letters + marks

        def padded(word: list) -> list:
            body = [inner.init_token] * (inner.init_token is not None) + list(word[:letters])
            body += [inner.eos_token] * (inner.eos_token is not None)
            return body + [inner.pad_token] * (width - len(body))

        empty = [inner.pad_token] * width
        return [[padded(w) for w in x] + [empty] * (words - len(x)) for x in rows]

    def build_vocab(self, *args: Any, **kwargs: Any) -> None:
        """The vocabulary of the inner tokens, which the inner field shares."""
        sources: list[Any] = []
        for arg in args:
            named = getattr(arg, "fields", None)
            sources += [getattr(arg, n) for n, f in named.items() if f is self] if named is not None else [arg]
        marks = [t for t in (self.init_token, self.eos_token) if t is not None]
        flat = [word for data in sources for x in data for word in x]
        self.nesting_field.build_vocab(flat, specials=marks, **kwargs)
        self.vocab = self.nesting_field.vocab

    def numericalize(self, arrs: list, device: Any = None) -> Tensor:
        """(batch, words, letters)."""
        itos = [[[self.vocab[t] for t in w] for w in x] for x in arrs] if self.use_vocab else arrs
        return torch.tensor(itos, dtype=self.dtype, device=device)


def fields_of(fields: Any) -> list[tuple[Any, Any]]:
    """Names and fields; a name may be several with as many fields."""
    flat: list[tuple[Any, Any]] = []
    for name, field in chain(fields.items() if isinstance(fields, dict) else fields):
        if isinstance(name, tuple):
            flat += list(zip(name, field, strict=True))
        else:
            flat.append((name, field))
    return flat
