"""Datasets, samplers, collation and the loader in one process."""

import collections

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.utils import data
from pytorchlike.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset


class Squares(Dataset):
    def __init__(self, n=10):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return i * i


class Count(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- datasets ------------------------------------------------------------------------------------------------------


def test_tensor_dataset():
    x, y = torch.arange(12.0).reshape(6, 2), torch.arange(6)
    both = TensorDataset(x, y)
    assert len(both) == 6
    a, b = both[2]
    assert a.tolist() == [4, 5] and b.item() == 2
    with pytest.raises(AssertionError, match="Size mismatch"):
        TensorDataset(x, torch.arange(5))
    (first, second), *_ = DataLoader(both, 4)
    assert first.tolist() == x[:4].tolist() and second.dtype is torch.int64


def test_stack_concat_chain_subset():
    a, b = Squares(3), Squares(5)
    joined = a + b
    assert len(joined) == 8 and [joined[i] for i in (0, 2, 3, 7, -1)] == [0, 4, 0, 16, 16]
    assert joined.cumulative_sizes == [3, 8]
    with pytest.raises(ValueError, match="absolute value of index"):
        joined[-9]
    side = data.StackDataset(Squares(3), Squares(3))
    assert side[2] == (4, 4) and side.__getitems__([0, 1]) == [(0, 0), (1, 1)]
    named = data.StackDataset(x=Squares(3), y=Squares(3))
    assert named[1] == {"x": 1, "y": 1} and len(named) == 3
    with pytest.raises(ValueError, match="Size mismatch"):
        data.StackDataset(a, b)
    chained = Count(2) + Count(3)
    assert list(chained) == [0, 1, 0, 1, 2]
    part = data.Subset(b, [4, 1])
    assert part[0] == 16 and part[[0, 1][1]] == 1 and len(part) == 2 and part.__getitems__([1, 0]) == [1, 16]
    with pytest.raises(AssertionError):
        data.ConcatDataset([])
    with pytest.raises(AssertionError, match="IterableDataset"):
        data.ConcatDataset([Count(3)])


def test_random_split():
    parts = data.random_split(Squares(10), [7, 3], generator(1))
    assert [len(p) for p in parts] == [7, 3] and sorted([*parts[0].indices, *parts[1].indices]) == list(range(10))
    assert data.random_split(Squares(10), [7, 3], generator(1))[0].indices == parts[0].indices
    assert [len(p) for p in data.random_split(Squares(10), [0.5, 0.25, 0.25], generator())] == [6, 2, 2]
    with pytest.raises(ValueError, match="Sum of input lengths"):
        data.random_split(Squares(10), [7, 4])
    with pytest.raises(ValueError, match="Fraction at index 0"):
        data.random_split(Squares(10), [1.5, -0.5])


# ---- samplers ------------------------------------------------------------------------------------------------------


def test_samplers():
    assert list(data.SequentialSampler(Squares(3))) == [0, 1, 2]
    shuffled = data.RandomSampler(Squares(10), generator=generator(2))
    first, second = list(shuffled), list(shuffled)
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert list(data.RandomSampler(Squares(10), generator=generator(2))) == first
    assert len(list(data.RandomSampler(Squares(4), num_samples=10, generator=generator()))) == 10
    drawn = list(data.RandomSampler(Squares(4), replacement=True, num_samples=200, generator=generator()))
    assert set(drawn) == {0, 1, 2, 3}
    assert sorted(data.SubsetRandomSampler([3, 5, 9], generator())) == [3, 5, 9]
    weighted = collections.Counter(data.WeightedRandomSampler([0, 1, 3], 4000, generator=generator(3)))
    assert 0 not in weighted and 2.5 < weighted[2] / weighted[1] < 3.6
    assert sorted(data.WeightedRandomSampler([1, 1, 0, 1], 3, replacement=False, generator=generator())) == [0, 1, 3]
    batches = data.BatchSampler(range(7), 3, drop_last=False)
    assert list(batches) == [[0, 1, 2], [3, 4, 5], [6]] and len(batches) == 3
    assert list(data.BatchSampler(range(7), 3, drop_last=True)) == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("make, error", [
    (lambda: data.RandomSampler(Squares(0)), ValueError),
    (lambda: data.RandomSampler(Squares(), replacement=1), TypeError),
    (lambda: data.WeightedRandomSampler([[1.0]], 1), ValueError),
    (lambda: data.WeightedRandomSampler([1.0], 0), ValueError),
    (lambda: list(data.WeightedRandomSampler([-1.0, 2], 1)), RuntimeError),
    (lambda: list(data.WeightedRandomSampler([1.0, 0], 2, replacement=False)), RuntimeError),
    (lambda: data.BatchSampler(range(3), 0, False), ValueError),
    (lambda: data.BatchSampler(range(3), 2, 1), ValueError),
    (lambda: data.DistributedSampler(Squares(), 2, 2), ValueError),
])  # fmt: skip
def test_errors_of_samplers(make, error):
    with pytest.raises(error):
        make()


def test_distributed_sampler():
    def part(rank, epoch=0, **options):
        sampler = data.DistributedSampler(Squares(10), 3, rank, **options)
        sampler.set_epoch(epoch)
        return list(sampler)

    parts = [part(rank) for rank in range(3)]
    assert {len(p) for p in parts} == {4} and set(sum(parts, [])) == set(range(10))
    assert part(0, 1) != parts[0]
    assert [part(rank, shuffle=False, drop_last=True) for rank in range(3)] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert part(1, shuffle=False) == [1, 4, 7, 0]


# ---- collation -----------------------------------------------------------------------------------------------------


def test_default_collate():
    Point = collections.namedtuple("Point", "x y")
    collate = data.default_collate
    assert collate([1, 2]).dtype is torch.int64 and collate([True, False]).dtype is torch.bool
    assert collate([1.0, 2.0]).dtype is torch.float64 and collate([np.float32(1)]).dtype is torch.float32
    assert collate(["a", b"b"]) == ["a", b"b"]
    stacked = collate([np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)])
    assert stacked.shape == (2, 2, 3) and stacked.dtype is torch.float32
    point = collate([Point(1, "a"), Point(2, "b")])
    assert isinstance(point, Point) and point.x.tolist() == [1, 2] and point.y == ("a", "b")
    nested = collate([{"a": (1, [torch.ones(2)])}, {"a": (2, [torch.zeros(2)])}])
    assert nested["a"][0].tolist() == [1, 2] and nested["a"][1][0].tolist() == [[1, 1], [0, 0]]
    ordered = collate([collections.OrderedDict(b=1, a=2)] * 2)
    assert isinstance(ordered, collections.OrderedDict) and list(ordered) == ["b", "a"]
    assert data.default_convert({"a": np.arange(2), "t": "text", "n": 3})["a"].tolist() == [0, 1]


def test_errors_of_collation():
    with pytest.raises(RuntimeError, match="equal size"):
        data.default_collate([torch.ones(2), torch.ones(3)])
    with pytest.raises(RuntimeError, match="equal size"):
        data.default_collate([[1], [1, 2]])
    with pytest.raises(TypeError, match="found <class 'object'>"):
        data.default_collate([object()])
    with pytest.raises(TypeError, match="found <U1"):
        data.default_collate([np.array("a")])


# ---- the loader ----------------------------------------------------------------------------------------------------


def test_order_and_sizes():
    assert [b.tolist() for b in DataLoader(Squares(5), 2)] == [[0, 1], [4, 9], [16]]
    assert [b.tolist() for b in DataLoader(Squares(5), 2, drop_last=True)] == [[0, 1], [4, 9]]
    assert list(DataLoader(Squares(3), batch_size=None)) == [0, 1, 4]
    assert [b.tolist() for b in DataLoader(Squares(5), batch_sampler=[[4], [0, 1]])] == [[16], [0, 1]]
    assert [b.tolist() for b in DataLoader(Squares(5), 2, sampler=[3, 2, 1])] == [[9, 4], [1]]
    assert [b.tolist() for b in DataLoader(Count(5), 2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in DataLoader(Count(5), 2, drop_last=True)] == [[0, 1], [2, 3]]
    assert list(DataLoader(Squares(4), 2, collate_fn=sum)) == [1, 13]
    assert len(DataLoader(Squares(5), 2)) == 3 and len(DataLoader(Squares(5), 2, drop_last=True)) == 2
    with pytest.raises(TypeError):
        len(DataLoader(Count(5), 2))


def test_shuffling_follows_the_seed():
    def order(**options):
        return [i.item() for i in DataLoader(Squares(20), shuffle=True, **options)]

    assert order(generator=generator(4)) == order(generator=generator(4)) != order(generator=generator(5))
    torch.manual_seed(7)
    first, second = order(), order()
    torch.manual_seed(7)
    assert [order(), order()] == [first, second] and first != second


def test_samples_made_at_once():
    class Many(Squares):
        def __getitems__(self, indices):
            return [-i for i in indices]

    assert next(iter(DataLoader(Many(), 3))).tolist() == [0, -1, -2]


def test_rows_of_tensors_are_views_and_batches_are_not():
    x = torch.tensor(np.arange(6.0).reshape(3, 2))
    shared = np.arange(6.0).reshape(3, 2)
    for source in (x, torch.from_numpy(shared)):
        row = source[1]
        assert row.shape == (2,) and row.stride() == (1,) and row.storage_offset() == 2 and row._base is not None
        row.fill_(7)
        assert source.tolist() == [[0, 1], [7, 7], [4, 5]]
        assert source[-1].tolist() == [4, 5] and source[0][1].item() == 1
        with pytest.raises(IndexError, match="index 3 is out of bounds for dimension 0 with size 3"):
            source[3]
        batch = torch.stack([source[0], source[2]])
        batch.zero_()
        assert source[2].tolist() == [4, 5]
    assert shared[1].tolist() == [7, 7]


def test_loading_records_and_compiles_nothing():
    x, y = torch.tensor(np.zeros((50, 3), np.float32)), torch.tensor(np.arange(50))

    class Pairs(Squares):
        def __getitem__(self, i):
            return x[i], y[i], torch.cat([x[i], x[i]])

    list(DataLoader(Pairs(2), 2))
    before = torch.compiler.stats()
    assert len(list(DataLoader(Pairs(50), 5, shuffle=True))) == 10
    assert torch.compiler.stats() == before


def test_goes_on_in_mid_epoch():
    def loader():
        return DataLoader(Squares(20), 3, shuffle=True, generator=generator(5))

    first = loader()
    batches = iter(first)
    for _ in range(3):
        next(batches)
    state = first.state_dict()
    rest = [b.tolist() for b in batches]
    other = loader()
    other.load_state_dict(state)
    assert [b.tolist() for b in other] == rest
    assert len(list(other)) == 7 and state["batches"] == 3
    stream = DataLoader(Count(7), 2)
    stream.load_state_dict({"running": True, "batches": 2, "parts": {}})
    assert [b.tolist() for b in stream] == [[4, 5], [6]]
    with pytest.raises(ValueError, match="lacks"):
        stream.load_state_dict({"running": True, "batches": 2, "parts": {"sampler": {}}})


@pytest.mark.parametrize("options, message", [
    ({"num_workers": -1}, "num_workers option should be non-negative"), ({"timeout": -1}, "timeout option"),
    ({"prefetch_factor": 2}, "prefetch_factor option"), ({"persistent_workers": True}, "persistent_workers"),
    ({"shuffle": True, "sampler": [0]}, "mutually exclusive with shuffle"),
    ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler option is mutually exclusive"),
    ({"batch_size": None, "drop_last": True}, "batch_size=None option disables auto-batching"),
    ({"multiprocessing_context": "fork"}, "multi-process loading"),
    ({"batch_size": 0}, "batch_size should be a positive"),
    ({"num_workers": 1, "multiprocessing_context": "no"}, "valid start method"),
])  # fmt: skip
def test_errors_of_the_loader(options, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(Squares(), **options)


def test_more_errors_of_the_loader():
    for options in ({"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}):
        with pytest.raises(ValueError, match="IterableDataset"):
            DataLoader(Count(3), **options)
    loader = DataLoader(Squares())
    with pytest.raises(ValueError, match="batch_size attribute should not be set"):
        loader.batch_size = 3
    with pytest.raises(NotImplementedError, match="pickled"):
        iter(loader).__getstate__()


def test_samplers_without_end_draw_as_they_go():
    sampler = data.RandomSampler(range(5), replacement=True, num_samples=int(1e10))
    loader = data.DataLoader(torch.arange(5), batch_size=3, sampler=sampler)
    assert len(sampler) == int(1e10) and next(iter(loader)).shape == (3,)
    assert len(list(data.RandomSampler(range(5), replacement=True, num_samples=70_000))) == 70_000


class _Endless(DataLoader):
    """As Ultralytics' loader: one pass that never ends, of which each epoch takes a part."""

    class Again:
        def __init__(self, sampler):
            self.sampler = sampler

        def __iter__(self):
            while True:
                yield from iter(self.sampler)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        object.__setattr__(self, "batch_sampler", self.Again(self.batch_sampler))
        self.passes = None

    def __len__(self):
        return len(self.batch_sampler.sampler)

    def __iter__(self):
        if self.passes is None:
            self.passes = self._get_iterator()
        for _ in range(len(self)):
            yield next(self.passes)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_that_keeps_one_endless_pass(workers):
    loader = _Endless(TensorDataset(torch.arange(5)), batch_size=2, num_workers=workers)
    for _ in range(2):
        assert [batch[0].tolist() for batch in loader] == [[0, 1], [2, 3], [4]]


def test_the_iterator_takes_loaders_of_other_classes():
    import itertools

    from pytorchlike.utils.data.dataloader import _DatasetKind, _SingleProcessDataLoaderIter

    class Own:  # as fastai's, which iterates itself and has the attributes that PyTorch's iterator asks for
        _IterableDataset_len_called, _auto_collation, drop_last, in_order = None, False, False, True
        _index_sampler, generator, prefetch_factor, timeout = itertools.count(), None, 2, 0
        dataset_kind = _dataset_kind = _DatasetKind.Iterable
        pin_memory, pin_memory_device, num_workers, persistent_workers = False, "", 0, False

        def collate_fn(self, x):
            return x

        @property
        def dataset(self):
            return self

        def __iter__(self):
            return iter(torch.arange(6).view(3, 2))

    assert [b.tolist() for b in _SingleProcessDataLoaderIter(Own())] == [[0, 1], [2, 3], [4, 5]]


def test_a_loader_of_torchdata_goes_on():
    from pytorchlike.torchdata.stateful_dataloader import Stateful, StatefulDataLoader

    def loader():
        return StatefulDataLoader(range(10), 2, shuffle=True, generator=torch.Generator().manual_seed(3),
                                  snapshot_every_n_steps=2)  # fmt: skip

    first = loader()
    batches = iter(first)
    seen = [next(batches).tolist() for _ in range(2)]
    state = first.state_dict()
    rest = [b.tolist() for b in batches]
    second = loader()
    second.load_state_dict(state)
    assert [b.tolist() for b in second] == rest and sorted(sum(seen + rest, [])) == list(range(10))
    assert isinstance(second, Stateful)


def test_an_iterator_tells_how_many_batches_it_has_handed_out():
    batches = iter(torch.utils.data.DataLoader(list(range(6)), batch_size=2))
    assert batches._num_yielded == 0
    next(batches)
    next(batches)
    assert batches._num_yielded == 2


def test_batches_of_subclasses():
    """A batch of tensors of one's own class is of that class; nested tensors are refused in PyTorch's words."""

    class Mine(torch.Tensor):
        pass

    assert type(data.default_collate([torch.ones(2).as_subclass(Mine)] * 2)) is Mine
    with pytest.raises(RuntimeError, match="not currently supported by the default collate_fn"):
        data.default_collate([torch.nested.nested_tensor([torch.ones(2)])])
