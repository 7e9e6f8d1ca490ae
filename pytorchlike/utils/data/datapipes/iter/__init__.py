"""Pipes that are iterated over."""

from __future__ import annotations

import copy
import fnmatch
import itertools
import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from .....tensor import functions as T
from ..._utils.collate import default_collate
from .._base import DataChunk, IterDataPipe, functional_datapipe

__all__ = ["Batcher", "Collator", "Concater", "Demultiplexer", "FileLister", "FileOpener", "Filter", "Forker",
           "Grouper", "IterableWrapper", "Mapper", "Multiplexer", "Sampler", "ShardingFilter", "Shuffler",
           "StreamReader", "UnBatcher", "Zipper"]


class _Of(IterDataPipe):
    """A pipe over another one, with as many samples unless it says otherwise."""

    def __init__(self, datapipe: Iterable[Any]) -> None:
        self.datapipe = datapipe

    def __len__(self) -> int:
        return len(self.datapipe)  # type: ignore[arg-type]


class IterableWrapper(IterDataPipe):
    """The items of an iterable, which is copied for each iteration if ``deepcopy``."""

    def __init__(self, iterable: Iterable[Any], deepcopy: bool = True) -> None:
        self.iterable, self.deepcopy = iterable, deepcopy

    def __iter__(self) -> Iterator[Any]:
        source = self.iterable
        if self.deepcopy:
            try:
                source = copy.deepcopy(source)
            except TypeError:  # a generator, say
                source = self.iterable
        yield from source

    def __len__(self) -> int:
        return len(self.iterable)  # type: ignore[arg-type]


@functional_datapipe("map")
class Mapper(_Of):
    """``fn`` of each sample; of its column(s) ``input_col``, written to ``output_col`` (None: the same; -1: a new one).

    ValueError for several output columns, or an output column without an input column.
    """

    def __init__(self, datapipe: Iterable[Any], fn: Callable[..., Any], input_col: Any = None,
                 output_col: Any = None) -> None:
        super().__init__(datapipe)
        if input_col is None and output_col is not None:
            raise ValueError("`output_col` must be None when `input_col` is None.")
        if isinstance(output_col, (list, tuple)):
            if len(output_col) > 1:
                raise ValueError("`output_col` must be a single-element list or tuple")
            output_col = output_col[0]
        self.fn, self.input_col, self.output_col = fn, input_col, output_col

    def __iter__(self) -> Iterator[Any]:
        return map(self._one, self.datapipe)

    def _one(self, data: Any) -> Any:
        if self.input_col is None:
            return self.fn(data)
        several = isinstance(self.input_col, (list, tuple))
        result = self.fn(*(data[c] for c in self.input_col)) if several else self.fn(data[self.input_col])
        was_tuple = isinstance(data, tuple)
        data = list(data) if was_tuple else copy.copy(data)
        if self.output_col is None:
            data[self.input_col[0] if several else self.input_col] = result
            if several:
                for column in sorted(self.input_col[1:], reverse=True):
                    del data[column]
        elif self.output_col == -1:
            data.append(result)
        else:
            data[self.output_col] = result
        return tuple(data) if was_tuple else data


@functional_datapipe("collate")
class Collator(Mapper):
    """Batches made of lists of samples, by ``default_collate`` or another function."""

    def __init__(self, datapipe: Iterable[Any], conversion: Any = None, collate_fn: Any = None) -> None:
        if conversion is not None and not callable(conversion):
            raise NotImplementedError("Collator: conversion by columns is for data frames; give a function")
        super().__init__(datapipe, fn=collate_fn or conversion or default_collate)


@functional_datapipe("filter")
class Filter(_Of):
    """The samples (or those whose column ``input_col``) ``filter_fn`` is true of. ValueError if it gives no bool."""

    def __init__(self, datapipe: Iterable[Any], filter_fn: Callable[..., Any], input_col: Any = None) -> None:
        super().__init__(datapipe)
        self.filter_fn, self.input_col = filter_fn, input_col

    def __iter__(self) -> Iterator[Any]:
        for data in self.datapipe:
            col = self.input_col
            cols = col if isinstance(col, (list, tuple)) else (col,)
            keep = self.filter_fn(data) if col is None else self.filter_fn(*(data[c] for c in cols))
            if not isinstance(keep, bool) and type(keep).__name__ != "bool_":
                raise ValueError(f"Boolean output is required for `filter_fn` of FilterIterDataPipe, got {type(keep)}")
            if keep:
                yield data

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} instance doesn't have valid length")


@functional_datapipe("batch")
class Batcher(_Of):
    """Lists of ``batch_size`` samples; the last one may be shorter, unless ``drop_last``. AssertionError for size 0."""

    def __init__(self, datapipe: Iterable[Any], batch_size: int, drop_last: bool = False,
                 wrapper_class: type = DataChunk) -> None:
        if batch_size <= 0:
            raise AssertionError("Batch size is required to be larger than 0!")
        super().__init__(datapipe)
        self.batch_size, self.drop_last, self.wrapper_class = batch_size, drop_last, wrapper_class

    def __iter__(self) -> Iterator[Any]:
        source = iter(self.datapipe)
        while batch := list(itertools.islice(source, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.wrapper_class(batch)

    def __len__(self) -> int:
        n = super().__len__()
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


@functional_datapipe("unbatch")
class UnBatcher(_Of):
    """The samples of batches; ``unbatch_level`` says through how many lists, -1 through all."""

    def __init__(self, datapipe: Iterable[Any], unbatch_level: int = 1) -> None:
        if unbatch_level < -1:
            raise ValueError("unbatch_level must be -1 or >= 0")
        super().__init__(datapipe)
        self.unbatch_level = unbatch_level

    def __iter__(self) -> Iterator[Any]:
        for item in self.datapipe:
            yield from self._flat(item, self.unbatch_level)

    def _flat(self, item: Any, level: int) -> Iterator[Any]:
        if level == 0 or level < 0 and not isinstance(item, list):
            yield item
        elif not isinstance(item, (list, DataChunk)):
            raise IndexError(f"unbatch_level {self.unbatch_level} exceeds the depth of the DataPipe")
        else:
            for each in item:
                yield from self._flat(each, level - 1 if level > 0 else level)

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} instance doesn't have valid length")


@functional_datapipe("groupby")
class Grouper(_Of):
    """Lists of samples of one key, of ``group_size`` (None: all there are), gathered in a buffer of ``buffer_size``.

    guaranteed_group_size: of groups that are given out early or at the end, unless ``drop_remaining``.
    """

    def __init__(self, datapipe: Iterable[Any], group_key_fn: Callable[[Any], Any], *, keep_key: bool = False,
                 buffer_size: int = 10000, group_size: int | None = None, guaranteed_group_size: int | None = None,
                 drop_remaining: bool = False) -> None:
        super().__init__(datapipe)
        self.key, self.keep_key, self.buffer_size = group_key_fn, keep_key, buffer_size
        self.group_size, self.drop = group_size, drop_remaining
        self.least = guaranteed_group_size

    def _told(self, key: Any, group: list[Any]) -> Any:
        return (key, DataChunk(group)) if self.keep_key else DataChunk(group)

    def __iter__(self) -> Iterator[Any]:
        groups: dict[Any, list[Any]] = {}
        held = 0
        for item in self.datapipe:
            key = self.key(item)
            groups.setdefault(key, []).append(item)
            held += 1
            if self.group_size is not None and len(groups[key]) == self.group_size:
                held -= self.group_size
                yield self._told(key, groups.pop(key))
            if held == self.buffer_size:
                largest = max(groups, key=lambda k: len(groups[k]))
                group = groups.pop(largest)
                held -= len(group)
                if self.least is not None and len(group) < self.least and not self.drop:
                    raise RuntimeError("Failed to group items", str(group))
                if self.least is None or len(group) >= self.least:
                    yield self._told(largest, group)
        for key in sorted(groups, key=lambda k: -len(groups[k])):
            if not self.drop or self.least is None or len(groups[key]) >= self.least:
                yield self._told(key, groups[key])

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} instance doesn't have valid length")


@functional_datapipe("shuffle")
class Shuffler(_Of):
    """The samples in random order, drawn from a buffer of ``buffer_size``, or of lists' contents if ``unbatch_level``.

    The order follows ``torch.manual_seed``, or ``set_seed``.
    """

    def __init__(self, datapipe: Iterable[Any], *, buffer_size: int = 10000, unbatch_level: int = 0) -> None:
        if buffer_size <= 0:
            raise ValueError("buffer_size should be larger than 0")
        super().__init__(datapipe if unbatch_level == 0 else UnBatcher(datapipe, unbatch_level))
        self.buffer_size, self._shuffle_enabled, self._seed = buffer_size, True, None

    def set_shuffle(self, shuffle: bool = True) -> Shuffler:
        """Whether to shuffle."""
        self._shuffle_enabled = shuffle
        return self

    def set_seed(self, seed: int) -> Shuffler:
        """Seed the next iteration."""
        self._seed = seed
        return self

    def __iter__(self) -> Iterator[Any]:
        if not self._shuffle_enabled:
            yield from self.datapipe
            return
        seed, self._seed = self._seed, None
        draw = random.Random(int(T.randint(2**62, ())) if seed is None else seed)
        buffer: list[Any] = []
        for item in self.datapipe:
            if len(buffer) == self.buffer_size:
                at = draw.randrange(len(buffer))
                given, buffer[at] = buffer[at], item
                yield given
            else:
                buffer.append(item)
        draw.shuffle(buffer)
        yield from buffer


class Sampler(_Of):
    """The samples in the order of a sampler, made by ``sampler(data_source=datapipe, **sampler_kwargs)``."""

    def __init__(self, datapipe: Iterable[Any], sampler: Any = None, sampler_args: Sequence[Any] | None = None,
                 sampler_kwargs: dict[str, Any] | None = None) -> None:
        from ...sampler import SequentialSampler

        super().__init__(datapipe)
        kind = SequentialSampler if sampler is None else sampler
        self.sampler = kind(*(sampler_args or ()), data_source=datapipe, **(sampler_kwargs or {}))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)


@functional_datapipe("sharding_filter")
class ShardingFilter(_Of):
    """In each worker process of a DataLoader (or as ``apply_sharding`` says) its share of the samples."""

    def __init__(self, source_datapipe: Iterable[Any], sharding_group_filter: Any = None) -> None:
        super().__init__(source_datapipe)
        if sharding_group_filter is not None:
            raise NotImplementedError("ShardingFilter: there is one way to share among workers, so no "
                                      "sharding_group_filter can be chosen; leave it out")
        self.num_of_instances, self.instance_id = 1, 0

    def is_shardable(self) -> bool:
        """True."""
        return True

    def apply_sharding(self, num_of_instances: int, instance_id: int, sharding_group: Any = None) -> None:
        """Give every ``num_of_instances``-th sample from ``instance_id`` on."""
        if not 0 <= instance_id < num_of_instances:
            raise ValueError(f"instance_id({instance_id}) should be smaller than num_of_instances({num_of_instances})")
        self.num_of_instances, self.instance_id = num_of_instances, instance_id

    def _share(self) -> tuple[int, int]:
        from ...dataloader import get_worker_info

        info = get_worker_info()
        if self.num_of_instances > 1 or info is None:
            return self.instance_id, self.num_of_instances
        return info.id, info.num_workers

    def __iter__(self) -> Iterator[Any]:
        start, step = self._share()
        return itertools.islice(self.datapipe, start, None, step)

    def __len__(self) -> int:
        start, step = self._share()
        return len(range(start, super().__len__(), step))


@functional_datapipe("concat")
class Concater(IterDataPipe):
    """The samples of one pipe after those of the other. ValueError without pipes."""

    def __init__(self, *datapipes: Iterable[Any]) -> None:
        if not datapipes:
            raise ValueError("Expected at least one DataPipe, but got nothing")
        self.datapipes = datapipes

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain(*self.datapipes)

    def __len__(self) -> int:
        return sum(len(d) for d in self.datapipes)  # type: ignore[arg-type]


@functional_datapipe("mux")
class Multiplexer(Concater):
    """One sample of each pipe in turn, until one has no more."""

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(zip(*self.datapipes, strict=False))

    def __len__(self) -> int:
        return min(len(d) for d in self.datapipes) * len(self.datapipes)  # type: ignore[arg-type]


@functional_datapipe("zip")
class Zipper(Concater):
    """Tuples of one sample of each pipe, until one has no more."""

    def __iter__(self) -> Iterator[Any]:
        return zip(*self.datapipes, strict=False)

    def __len__(self) -> int:
        return min(len(d) for d in self.datapipes)  # type: ignore[arg-type]


class _Branch(IterDataPipe):
    def __init__(self, source: _Branches, index: int) -> None:
        self.source, self.index = source, index

    def __iter__(self) -> Iterator[Any]:
        return self.source.branch(self.index)

    def __len__(self) -> int:
        return self.source.length()


class _Branches:
    """What several pipes read from one; what one of them has not read yet waits in a buffer."""

    def __init__(self, datapipe: Iterable[Any], count: int, buffer_size: int, choose: Callable[[Any], Any] | None,
                 drop_none: bool = False, copies: Any = None) -> None:
        if count < 1:
            raise ValueError(f"Expected `num_instances` larger than 0, but {count} is found")
        self.datapipe, self.count, self.buffer_size = datapipe, count, buffer_size
        self.choose, self.drop_none, self.copies = choose, drop_none, copies
        self.begin()

    def begin(self) -> None:
        self.running: Iterator[Any] | None = None
        self.waiting: list[deque[Any]] = [deque() for _ in range(self.count)]
        self.started: set[int] = set()

    def length(self) -> int:
        if self.choose is not None:
            raise TypeError("a branch of demux has no valid length")
        return len(self.datapipe)  # type: ignore[arg-type]

    def branch(self, index: int) -> Iterator[Any]:
        if index in self.started:
            self.begin()  # a second pass over one branch begins anew for all
        self.started.add(index)
        if self.running is None:
            self.running = iter(self.datapipe)
        running, waiting = self.running, self.waiting
        while True:
            if waiting[index]:
                yield waiting[index].popleft()
                continue
            try:
                item = next(running)
            except StopIteration:
                return
            self._place(item, waiting)

    def _place(self, item: Any, waiting: list[deque[Any]]) -> None:
        if self.choose is None:
            for i in range(self.count):
                waiting[i].append(self.copies(item) if self.copies else item)
        else:
            chosen = self.choose(item)
            if chosen is None and self.drop_none:
                return
            if chosen is None or not 0 <= chosen < self.count:
                raise ValueError(f"Output of the classification fn should be between 0 and {self.count - 1}. {chosen} "
                                 "is returned.")
            waiting[chosen].append(item)
        if self.buffer_size >= 0 and max(map(len, waiting)) > self.buffer_size:
            raise BufferError(f"a branch has not been read while {self.buffer_size} samples were; give a larger "
                              "buffer_size, or -1")


@functional_datapipe("fork")
class Forker(IterDataPipe):
    """A tuple of pipes that give the same samples, which are copied if ``copy`` is "shallow" or "deep"."""

    def __new__(cls, datapipe: Iterable[Any], num_instances: int, buffer_size: int = 1000,  # type: ignore[misc]
                copy: str | None = None) -> tuple[IterDataPipe, ...]:
        made = {None: None, "shallow": _copy, "deep": _deepcopy}
        if copy not in made:
            raise ValueError(f"Unknown copy method: {copy}, choose from shallow and deep")
        source = _Branches(datapipe, num_instances, buffer_size, None, copies=made[copy])
        return tuple(_Branch(source, i) for i in range(num_instances))


_copy, _deepcopy = copy.copy, copy.deepcopy


@functional_datapipe("demux")
class Demultiplexer(IterDataPipe):
    """A tuple of pipes; each sample goes to the one whose number ``classifier_fn`` gives."""

    def __new__(cls, datapipe: Iterable[Any], num_instances: int,  # type: ignore[misc]
                classifier_fn: Callable[[Any], int | None], drop_none: bool = False,
                buffer_size: int = 1000) -> tuple[IterDataPipe, ...]:
        source = _Branches(datapipe, num_instances, buffer_size, classifier_fn, drop_none)
        return tuple(_Branch(source, i) for i in range(num_instances))


def _told_length(pipe: FileLister | FileOpener) -> int:
    if pipe.length == -1:
        raise TypeError(f"{type(pipe).__name__} instance doesn't have valid length")
    return pipe.length


class FileLister(IterDataPipe):
    """The paths of files below directories that match the masks (all, if none is given), in order."""

    def __init__(self, root: str | Sequence[str] | Iterable[str] = ".", masks: str | Sequence[str] = "", *,
                 recursive: bool = False, abspath: bool = False, non_deterministic: bool = False,
                 length: int = -1) -> None:
        self.roots = [root] if isinstance(root, str) else root
        self.masks = [masks] if isinstance(masks, str) else list(masks)
        self.recursive, self.abspath, self.length = recursive, abspath, length

    def _fits(self, name: str) -> bool:
        return not any(self.masks) or any(fnmatch.fnmatch(name, mask) for mask in self.masks)

    def __iter__(self) -> Iterator[str]:
        for root in self.roots:
            if os.path.isfile(root):
                if self._fits(os.path.basename(root)):
                    yield os.path.abspath(root) if self.abspath else root
                continue
            for folder, folders, files in os.walk(os.path.abspath(root) if self.abspath else root):
                folders.sort()
                yield from (os.path.join(folder, name) for name in sorted(files) if self._fits(name))
                if not self.recursive:
                    break

    def __len__(self) -> int:
        return _told_length(self)


@functional_datapipe("open_files")
class FileOpener(_Of):
    """(path, open file) of each path; mode as for ``open``, length what ``len`` says."""

    def __init__(self, datapipe: Iterable[str], mode: str = "r", encoding: str | None = None,
                 length: int = -1) -> None:
        super().__init__(datapipe)
        if mode not in ("b", "t", "rb", "rt", "r"):
            raise ValueError(f"Invalid mode {mode}")
        self.length = length
        self.mode, self.encoding = mode if "r" in mode else f"r{mode}", encoding

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for path in self.datapipe:
            yield path, open(path, self.mode, encoding=self.encoding)

    def __len__(self) -> int:
        return _told_length(self)


@functional_datapipe("read_from_stream")
class StreamReader(_Of):
    """(path, content) of each (path, open file): all at once, or ``chunk`` bytes at a time. The files are closed."""

    def __init__(self, datapipe: Iterable[tuple[str, Any]], chunk: int | None = None) -> None:
        super().__init__(datapipe)
        self.chunk = chunk

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for path, stream in self.datapipe:
            with stream:
                if self.chunk is None:
                    yield path, stream.read()
                else:
                    while data := stream.read(self.chunk):
                        yield path, data
