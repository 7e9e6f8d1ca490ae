"""Generators: seeds, offsets, states, forks."""

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pytorchlike.tensor import random as rnd
from pytorchlike.tensor.device import device
from pytorchlike.tensor.random import Generator


@pytest.fixture(autouse=True)
def _fresh():
    rnd.manual_seed(rnd.DEFAULT_SEED)
    yield
    rnd.manual_seed(rnd.DEFAULT_SEED)


def test_keys_count_up_from_the_seed():
    g = Generator()
    assert g.initial_seed() == 67280421310721
    assert [g._next() for _ in range(3)] == [(67280421310721, i) for i in range(3)]
    assert g.manual_seed(5) is g
    assert g._next() == (5, 0)
    assert g.get_offset() == 1
    g.set_offset(7)
    assert g._next() == (5, 7)
    with pytest.raises(ValueError, match="offset"):
        g.set_offset(-1)


@pytest.mark.parametrize(
    ("given", "kept"),
    [(0, 0), (-1, 2**64 - 1), (2**63, 2**63), (2**64 - 1, 2**64 - 1), (-(2**63), 2**63), (np.int64(3), 3)],
)
def test_seeds(given, kept):
    assert Generator().manual_seed(given).initial_seed() == kept
    assert rnd.manual_seed(given) is rnd.default_generator
    assert rnd.initial_seed() == kept


def test_wrong_seeds():
    for wrong in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match="Overflow when unpacking long long"):
            Generator().manual_seed(wrong)
        with pytest.raises(ValueError, match="Overflow"):
            rnd.manual_seed(wrong)
    for wrong in (1.5, "a", None, True):
        with pytest.raises(RuntimeError, match="manual_seed expected a long, but got"):
            Generator().manual_seed(wrong)
    assert rnd.manual_seed(1.9).initial_seed() == 1
    with pytest.raises(TypeError):
        rnd.manual_seed(None)


def test_seed_draws_anew():
    g = Generator()
    seeds = {g.seed() for _ in range(4)}
    assert len(seeds) == 4
    assert g.initial_seed() in seeds
    assert rnd.seed() == rnd.initial_seed()


def test_state_round_trip():
    g = Generator().manual_seed(2**64 - 1)
    g._next()
    state = g._state_array()
    assert state.dtype == np.uint8
    after = [g._next() for _ in range(3)]
    g.manual_seed(0)
    g._set_state_array(state)
    assert [g._next() for _ in range(3)] == after
    with pytest.raises(TypeError, match="ByteTensor"):
        g._set_state_array(np.zeros(16))
    with pytest.raises(RuntimeError, match="size"):
        g._set_state_array(np.zeros(5056, np.uint8))


def test_copies_are_independent():
    g = Generator().manual_seed(3)
    g._next()
    for twin in (g.clone_state(), copy.copy(g), copy.deepcopy(g), pickle.loads(pickle.dumps(g))):
        assert twin is not g
        assert twin.device == g.device
        assert twin._next() == (3, 1)
    assert g._next() == (3, 1)


def test_devices():
    assert Generator().device == Generator("cpu").device == device("cpu")
    with pytest.raises(RuntimeError, match="META"):
        Generator("meta")
    with pytest.raises(RuntimeError, match="available"):
        Generator("mps")
    with pytest.raises(RuntimeError, match="device string: foo"):
        Generator("foo")


def test_threads_never_share_a_key():
    g = Generator()
    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(lambda _: g._next(), range(2000)))
    assert len(set(keys)) == 2000


def test_generators_of_devices_follow_manual_seed(monkeypatch):
    monkeypatch.setattr(rnd, "_accelerators", {})
    rnd.manual_seed(11)
    g = rnd.generator_of(device("cuda:1"))
    assert g is rnd.generator_of(device("cuda:1")) is not rnd.generator_of(device("cuda"))
    assert rnd.generator_of(device("cuda")) is rnd.generator_of(device("cuda:0"))
    assert g._next() == (11, 0)
    rnd.manual_seed(12)
    assert g._next() == (12, 0)
    assert rnd.generator_of(device("meta")) is rnd.default_generator


def test_fork_restores(monkeypatch):
    monkeypatch.setattr(rnd, "_accelerators", {})
    rnd.manual_seed(1)
    rnd.default_generator._next()
    known, late = device("cuda:0"), device("cuda:1")
    rnd.generator_of(known)._next()
    with pytest.raises(KeyError), rnd.fork_rng():
        rnd.manual_seed(9)
        rnd.generator_of(late)._next()
        raise KeyError
    assert rnd.default_generator._next() == (1, 1)
    assert rnd.generator_of(known)._next() == (1, 1)
    assert rnd.generator_of(late)._next() == (1, 0)


def test_fork_of_some_devices(monkeypatch):
    monkeypatch.setattr(rnd, "_accelerators", {})
    rnd.manual_seed(1)
    one, two = rnd.generator_of(device("cuda:0")), rnd.generator_of(device("cuda:1"))
    with rnd.fork_rng(devices=[1]):
        rnd.default_generator._next()
        one._next()
        two._next()
    assert (rnd.default_generator.get_offset(), one.get_offset(), two.get_offset()) == (0, 1, 0)
    with rnd.fork_rng(enabled=False):
        rnd.default_generator._next()
    assert rnd.default_generator.get_offset() == 1
    with pytest.raises(RuntimeError, match="foo"), rnd.fork_rng(device_type="foo"):
        pass


def test_default_seed_is_the_same_in_every_process():
    code = "from pytorchlike.tensor.random import initial_seed; print(initial_seed())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_root())
    assert out.stdout.split() == ["67280421310721"]


def _root():
    from pathlib import Path

    return Path(__file__).parents[2]
