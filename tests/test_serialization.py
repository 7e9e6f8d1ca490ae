"""Files by PyTorch are read, ours are as PyTorch expects them, and a save replaces the whole file or nothing."""

import collections
import errno
import io
import json
import os
import pathlib
import pickle
import pickletools
import re
import stat
import struct
import sys
import types
import zipfile
import zlib

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.nn import Parameter
from pytorchlike.serialization import _atomic, _crc, _rebuild, _zip
from pytorchlike.tensor import functions as T
from pytorchlike.tensor.dtype import _CANONICAL, strided

REFERENCE = pathlib.Path(__file__).parent / "reference" / "serialization"
CONTENTS = json.loads((REFERENCE / "contents.json").read_text())
FILES = [name for name in CONTENTS if name.endswith(".pt")]


def data_of(t):
    return np.ascontiguousarray(t.detach().numpy()).tobytes()


def compare(value, expected, storages, path=""):
    """Assert that a loaded value is what PyTorch described."""
    kind = expected["kind"]
    if kind in ("Tensor", "Parameter"):
        assert isinstance(value, torch.Tensor), path
        assert isinstance(value, Parameter) == (kind == "Parameter"), path
        assert repr(value.dtype) == expected["dtype"], path
        assert list(value.shape) == expected["shape"], path
        assert list(value.stride()) == expected["stride"], path
        assert value.storage_offset() == expected["offset"], path
        assert value.requires_grad == expected["requires_grad"], path
        assert data_of(value).hex() == expected["bytes"], path
        if expected["storage"] is not None and value.numel():
            key = value.untyped_storage()
            assert storages.setdefault(expected["storage"], key) == key, path
    elif "items" in expected:
        assert type(value).__name__ == kind, path
        assert len(value) == len(expected["items"]), path
        if isinstance(value, dict):
            for (key, item), (want_key, want) in zip(value.items(), expected["items"], strict=True):
                compare(key, want_key, storages, f"{path} key")
                compare(item, want, storages, f"{path}.{key}")
        else:
            for i, (item, want) in enumerate(zip(value, expected["items"], strict=True)):
                compare(item, want, storages, f"{path}[{i}]")
    else:
        assert (type(value).__name__, repr(value)) == (kind, expected["value"]), path


def everything(name, **kwargs):
    return torch.load(REFERENCE / name, **kwargs)


def saved(obj, **kwargs):
    buffer = io.BytesIO()
    torch.save(obj, buffer, **kwargs)
    return buffer.getvalue()


def again(obj, **kwargs):
    return torch.load(io.BytesIO(saved(obj, **kwargs)))


# ---- files by PyTorch ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in FILES if name != "module.pt"])
@pytest.mark.parametrize("how", ["path", "file", "buffer", "mmap", "pickle"])
def test_reads_files_by_pytorch(name, how):
    if how == "path":
        value = everything(name)
    elif how == "pickle":
        value = everything(name, weights_only=False)
    elif how == "mmap":
        if "legacy" in name:
            with pytest.raises(RuntimeError, match="mmap can only be used"):
                everything(name, mmap=True)
            return
        value = everything(name, mmap=True)
    elif how == "file":
        with open(REFERENCE / name, "rb") as file:
            value = torch.load(file)
    else:
        value = torch.load(io.BytesIO((REFERENCE / name).read_bytes()))
    compare(value, CONTENTS[name], {})


@pytest.mark.parametrize("name", [name for name in FILES if name != "module.pt"])
@pytest.mark.parametrize("new", [True, False])
def test_writes_what_it_read(name, new, tmp_path):
    torch.save(everything(name), tmp_path / "again.pt", _use_new_zipfile_serialization=new)
    compare(torch.load(tmp_path / "again.pt"), CONTENTS[name], {})


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_other_protocols(protocol):
    data = saved(everything("zip.pt"), pickle_protocol=protocol)
    compare(torch.load(io.BytesIO(data)), CONTENTS["zip.pt"], {})


def test_shared_storages_stay_shared():
    for value in (everything("zip.pt"), again(everything("zip.pt")), everything("legacy.pt")):
        assert value["weight"] is value["tied"]
        value["base"].add_(100)
        assert value["strided"].tolist()[0][0] == 106
        assert value["narrow"].tolist()[0] == 103
        value["weight_data"].mul_(5)
        assert value["weight"].tolist() == [[0.0, 5.0], [10.0, 15.0]]


def test_attributes_and_metadata():
    assert everything("zip.pt")["tagged"].tag == "kept"
    assert again(everything("zip.pt"))["tagged"].tag == "kept"
    model = everything("optimizer.pt")["model"]
    assert again(model)._metadata == model._metadata == {
        "": {"version": 1}, "0": {"version": 1}, "1": {"version": 2}, "2": {"version": 1}
    }  # fmt: skip


def test_whole_modules_of_pytorch():
    with pytest.raises(pickle.UnpicklingError, match=r"torch.nn.modules.container.Sequential.*add_safe_globals"):
        everything("module.pt")
    unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(REFERENCE / "module.pt")
    assert unsafe == [
        "torch.nn.modules.activation.ReLU", "torch.nn.modules.batchnorm.BatchNorm1d",
        "torch.nn.modules.container.Sequential", "torch.nn.modules.linear.Linear",
    ]  # fmt: skip
    allowed = [torch.nn.Sequential, torch.nn.Linear, torch.nn.ReLU, torch.nn.BatchNorm1d]
    with torch.serialization.safe_globals(allowed):
        assert torch.serialization.get_unsafe_globals_in_checkpoint(REFERENCE / "module.pt") == []
        safe = everything("module.pt")
    assert torch.serialization.get_safe_globals() == []
    for module in (safe, everything("module.pt", weights_only=False)):
        assert type(module) is torch.nn.Sequential
        compare(dict(module.state_dict()), CONTENTS["module.pt"] | {"kind": "dict"}, {})
        assert module(torch.ones(4, 2)).shape == (4, 3)


def test_whole_modules_of_ours():
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    module.add_module("twin", torch.nn.Linear(2, 3))
    module.twin.weight = module[0].weight
    data = saved(module)
    with pytest.raises(pickle.UnpicklingError, match="weights_only=False"):
        torch.load(io.BytesIO(data))
    back = torch.load(io.BytesIO(data), weights_only=False)
    assert back.twin.weight is back[0].weight
    assert data_of(back[0].weight) == data_of(module[0].weight)


def test_whole_modules_of_ours_are_pytorchs():
    """Classes go under PyTorch's names, and recurrent modules with the lists that PyTorch restores them by."""
    from pytorchlike.utils.data import TensorDataset
    from pytorchlike.vision.models.resnet import BasicBlock

    lstm = torch.nn.LSTM(2, 3, bidirectional=True)
    encoder = torch.nn.TransformerEncoderLayer(4, 2, 8)
    data = saved({"m": [lstm, encoder, BasicBlock(2, 2)], "d": TensorDataset(torch.ones(2))})
    unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
    assert {"torch.nn.modules.rnn.LSTM", "torch.nn.functional.relu", "torchvision.models.resnet.BasicBlock",
            "torch.utils.data.dataset.TensorDataset"} <= set(unsafe)  # fmt: skip
    assert not [name for name in unsafe if name.startswith("pytorchlike")]
    back = torch.load(io.BytesIO(data), weights_only=False)
    assert [type(m) for m in back["m"]] == [torch.nn.LSTM, torch.nn.TransformerEncoderLayer, BasicBlock]
    state = lstm.__getstate__()
    assert [n for n in state["_flat_weights_names"] if n.endswith("reverse")] == [
        "weight_ih_l0_reverse", "weight_hh_l0_reverse", "bias_ih_l0_reverse", "bias_hh_l0_reverse",
    ]  # fmt: skip
    assert all(a is b for a, b in zip(state["_flat_weights"], lstm.parameters(), strict=True))
    copy = back["m"][0].double()
    assert {w.dtype for w in copy._flat_weights} == {torch.float64} and "_flat_weights" not in vars(copy)


def test_names_that_pytorch_has_and_we_do_not():
    data = zip_of(b"\x80\x02ctorch.no_such_module\nThing\n.")
    with pytest.raises(pickle.UnpicklingError, match="torch.no_such_module.Thing, which pytorchlike does not have"):
        torch.load(io.BytesIO(data), weights_only=False)


# ---- files of ours ------------------------------------------------------------------------------------------------


def zip_of(pickled, records=(), folder="archive"):
    buffer = io.BytesIO()
    with _zip.ZipWriter(buffer, folder) as writer:
        writer.add("data.pkl", pickled)
        for name, data in records:
            writer.add(name, data)
    return buffer.getvalue()


#: What torch.load(weights_only=True) of PyTorch 2.13 understands.
PYTORCH_OPCODES = set(
    "GLOBAL NEWOBJ REDUCE BUILD APPEND APPENDS SETITEM SETITEMS MARK TUPLE TUPLE1 TUPLE2 TUPLE3 NONE NEWFALSE NEWTRUE "
    "EMPTY_TUPLE EMPTY_LIST EMPTY_DICT EMPTY_SET BININT BININT1 BININT2 BINFLOAT BINUNICODE SHORT_BINSTRING BINPERSID "
    "BINGET LONG_BINGET BINPUT LONG_BINPUT LONG1 PROTO STOP".split()
)


def sample():
    base = T.arange(24.0)
    weight = Parameter(torch.ones(2, 2))
    tagged = torch.ones(2)
    tagged.tag = "kept"
    return {
        "dtypes": {name: torch.zeros(2, dtype=dtype) for name, dtype in _CANONICAL.items()},
        "base": base,
        "view": base.view(4, 6)[1:3, ::2],
        "weight": weight,
        "frozen": Parameter(torch.ones(1), requires_grad=False),
        "tagged": tagged,
        "meta": torch.zeros(2, 3, device="meta"),
        "plain": [1, 2**40, -(2**70), 1.5, "ü", b"\0\xff", bytearray(b"1"), True, None, (), {}, {1, 2}, 1j],
        "ordered": collections.OrderedDict(x=1),
        "counter": collections.Counter("aab"),
        "size": base.shape,
        "kinds": [torch.float32, torch.bfloat16, torch.device("cpu"), torch.device("cuda", 1), strided],
        "state": torch.nn.Linear(2, 3).state_dict(),
        "rng": torch.get_rng_state(),
        "storage": torch.ones(2).untyped_storage(),
    }


def test_pickle_holds_only_what_pytorch_allows():
    archive = zipfile.ZipFile(io.BytesIO(saved(sample())))
    pickled = archive.read("archive/data.pkl")
    opcodes = [(op.name, arg) for op, arg, _ in pickletools.genops(pickled)]
    assert {name for name, _ in opcodes} <= PYTORCH_OPCODES
    names = {arg.replace(" ", ".").replace("__builtin__", "builtins") for name, arg in opcodes if name == "GLOBAL"}
    assert all(_rebuild.torch_name(name) is not None for name in names)
    assert not any(name.startswith("pytorchlike") for name in names)


def test_archive_is_laid_out_like_pytorchs(tmp_path):
    torch.save(sample(), tmp_path / "model.v1.pt")
    data = (tmp_path / "model.v1.pt").read_bytes()
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    names = archive.namelist()
    assert names[:5] == [
        f"model.v1/{n}" for n in ("data.pkl", ".format_version", ".storage_alignment", "byteorder", "data/0")
    ]
    assert names[-2:] == ["model.v1/version", "model.v1/.data/serialization_id"]
    assert archive.read("model.v1/version") == b"3\n"
    assert archive.read("model.v1/byteorder") == sys.byteorder.encode()
    assert len(archive.read("model.v1/.data/serialization_id")) == 40
    for info in archive.infolist():
        n_name, n_extra = struct.unpack_from("<HH", data, info.header_offset + 26)
        assert (info.header_offset + 30 + n_name + n_extra) % 64 == 0, info.filename
        assert info.compress_type == 0


def test_ordinary_pickle():
    class AsTorch(pickle.Unpickler):
        def find_class(self, module, name):
            return super().find_class(re.sub("^torch", "pytorchlike", module), name)

    with open(REFERENCE / "ordinary.pickle", "rb") as file:  # pickle.dump of PyTorch's tensors
        found = AsTorch(file).load()
    assert found["column"].tolist() == [1.0, 4.0]
    assert found["column"].stride() == (3,)
    assert isinstance(found["bf16"], Parameter)
    assert found["bf16"].dtype is torch.bfloat16
    assert found["bf16"].tolist() == [1.0, 2.0]
    assert found["flag"].tolist() == [True, False]
    assert found["sparse"].to_dense().tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert found["relu"](torch.tensor([-1.0])).tolist() == [0.0]


def test_layout_equals_pytorchs_byte_for_byte():
    """The same records in the same archive: only the identification at the end may differ."""
    theirs = (REFERENCE / "plain.pt").read_bytes()
    archive = zipfile.ZipFile(io.BytesIO(theirs))
    buffer = io.BytesIO()
    with _zip.ZipWriter(buffer, "plain") as writer:
        for name in archive.namelist()[:-2]:
            writer.add(name.removeprefix("plain/"), archive.read(name))
    ours = bytearray(buffer.getvalue())
    where = theirs.index(archive.read("plain/.data/serialization_id"))
    for offset in [i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]:
        # its 40 digits, and its checksum in the data descriptor and in the directory
        assert where <= offset < where + 48 or offset > where + 56, offset
    assert len(ours) == len(theirs)


def test_round_trip_of_everything():
    value = sample()
    back = again(value)
    assert list(back) == list(value)
    for name in ("plain", "ordered", "counter", "size", "kinds"):
        assert back[name] == value[name]
        assert type(back[name]) is type(value[name])
    for name, dtype in _CANONICAL.items():
        assert back["dtypes"][name].dtype is dtype
    back["base"].mul_(2)
    assert back["view"].tolist() == (T.arange(24.0) * 2).view(4, 6)[1:3, ::2].tolist()
    assert back["meta"].is_meta and back["meta"].shape == (2, 3)
    assert back["storage"].tolist() == list(np.ones(2, np.float32).tobytes())
    torch.set_rng_state(back["rng"])


def test_views_of_what_is_gone_keep_dense_strides():
    lone = T.arange(6.0).reshape(2, 3).t()
    assert again(lone).stride() == lone.stride() == (1, 3)
    assert again(lone).tolist() == lone.tolist()
    wide = torch.ones(1, 3).expand(1000, 3)
    assert len(saved(wide)) < 4000
    assert again(wide).tolist() == wide.tolist()


@pytest.mark.parametrize("name", list(_CANONICAL))
def test_views_of_every_dtype(name):
    base = T.arange(12.0).to(_CANONICAL[name])
    value = [base.view(3, 4)[1:, ::2], base, base[5:9], base.view(3, 4).t()]
    for back in (
        again(value),
        again(again(value)),
        again(value[:1]),
        again(value, _use_new_zipfile_serialization=False),
    ):
        for t, want in zip(back, value, strict=False):
            assert t.dtype is want.dtype and t.stride() == want.stride() and t.storage_offset() == want.storage_offset()
            assert data_of(t) == data_of(want) and t.untyped_storage() == back[0].untyped_storage()


def test_conjugates_are_saved_as_values():
    z = torch.tensor([1 + 2j, 3 - 1j]) * 1
    assert again([z, z.conj()])[1].tolist() == [1 - 2j, 3 + 1j]


def test_from_numpy_memory():
    array = np.arange(12.0)[::2]
    t = torch.from_numpy(array)
    whole, part = again([t, t[2:]])
    assert whole.tolist() == array.tolist() and part.tolist() == array[2:].tolist()
    assert part.untyped_storage() == whole.untyped_storage()


def test_same_memory_as_different_types_is_refused():
    t = torch.ones(4)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        saved([t, t.view(torch.int32)])
    assert again(t.view(torch.int32)).tolist() == t.view(torch.int32).tolist()


def test_optimizer_state_continues():
    def start():
        torch.manual_seed(0)
        net = torch.nn.Linear(3, 2)
        return net, torch.optim.Adam(net.parameters(), lr=0.1)

    def step(net, opt):
        opt.zero_grad()
        net(T.arange(6.0).view(2, 3)).square().sum().backward()
        opt.step()

    net, opt = start()
    step(net, opt)
    data = saved({"net": net.state_dict(), "opt": opt.state_dict()})
    step(net, opt)
    other, other_opt = start()
    state = torch.load(io.BytesIO(data))
    other.load_state_dict(state["net"])
    other_opt.load_state_dict(state["opt"])
    step(other, other_opt)
    assert data_of(other.weight) == data_of(net.weight)
    assert data_of(other.bias) == data_of(net.bias)


def test_several_objects_in_one_legacy_file(tmp_path):
    with open(tmp_path / "two.pt", "wb") as file:
        torch.save([1, torch.ones(2)], file, _use_new_zipfile_serialization=False)
        torch.save([2, torch.zeros(3)], file, _use_new_zipfile_serialization=False)
    with open(tmp_path / "two.pt", "rb") as file:
        first, second = torch.load(file), torch.load(file)
    assert (first[0], first[1].tolist(), second[0], second[1].tolist()) == (1, [1, 1], 2, [0, 0, 0])


def test_zip_behind_other_bytes():
    file = io.BytesIO(b"before" + saved([torch.ones(2)]))
    file.seek(6)
    assert torch.load(file)[0].tolist() == [1, 1]


def test_files_that_only_read_and_write():
    class Sink:
        def __init__(self):
            self.parts = []

        def write(self, data):
            self.parts.append(bytes(data))

    sink = Sink()
    torch.save({"x": torch.ones(3)}, sink)

    class Tap:
        def __init__(self, data):
            self.inner = io.BytesIO(data)

        def read(self, *args):
            return self.inner.read(*args)

        def seek(self, *args):
            return self.inner.seek(*args)

        def tell(self):
            return self.inner.tell()

    assert torch.load(Tap(b"".join(sink.parts)))["x"].tolist() == [1, 1, 1]
    with pytest.raises(AttributeError, match="pre-load the data"):
        torch.load(sink)
    with pytest.raises(AttributeError, match="'write' attribute"):
        torch.save(1, object())


def test_byte_order_of_another_machine():
    values = np.arange(3, dtype=np.float32) + 0.5
    other = "big" if sys.byteorder == "little" else "little"
    pickled = zipfile.ZipFile(io.BytesIO(saved(torch.tensor(values)))).read("archive/data.pkl")
    data = zip_of(pickled, [("byteorder", other.encode()), ("data/0", values.byteswap().tobytes())])
    assert torch.load(io.BytesIO(data)).tolist() == values.tolist()
    with pytest.raises(ValueError, match="Unknown endianness"):
        torch.load(io.BytesIO(zip_of(pickled, [("byteorder", b"middle"), ("data/0", values.tobytes())])))


def test_tar_file_of_the_first_format(tmp_path):
    import tarfile

    storage = pickle.dumps(1, 2) + b"\x80\x02(U\x0511111q\x00U\x03cpuctorch\nFloatStorage\ntq\x01."
    storage += struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes() + pickle.dumps([], 2)
    tensor = pickle.dumps(1, 2) + b"\x80\x02(U\x0522222U\x0511111ctorch\nFloatTensor\nt."
    tensor += struct.pack("<i4x5q", 2, 2, 2, 3, 1, 1)
    members = {"sys_info": pickle.dumps({}, 2), "pickle": b"\x80\x02}U\x01wU\x0522222I22222\nQs.", "storages": storage}
    members["pickle"] = b"\x80\x02}X\x01\x00\x00\x00wJ" + struct.pack("<i", 22222) + b"Qs."
    members["tensors"] = tensor
    with tarfile.open(tmp_path / "old.tar", "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    loaded = torch.load(tmp_path / "old.tar")
    assert loaded["w"].tolist() == [[1, 2], [4, 5]] and loaded["w"].stride() == (3, 1)
    (tmp_path / "cut.tar").write_bytes((tmp_path / "old.tar").read_bytes()[:1100])
    with pytest.raises((EOFError, RuntimeError)):
        torch.load(tmp_path / "cut.tar")


# ---- where tensors go ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        "cpu",
        b"cpu",
        torch.device("cpu"),
        {"cpu": "cpu"},
        {},
        lambda s, tag: s,
        lambda s, tag: None,
        lambda s, tag: s.cpu(),
    ],
    ids=lambda x: "function" if callable(x) else repr(x),
)
def test_map_location(where):
    value = torch.load(io.BytesIO(saved(T.arange(3.0))), map_location=where)
    assert value.tolist() == [0, 1, 2] and value.device.type == "cpu"


def test_map_location_functions_see_and_replace_bytes():
    seen = []

    def ask(storage, tag):
        seen.append((storage.nbytes(), len(storage), storage.device.type, tag, storage.tolist()[:4]))
        return storage.clone()

    assert torch.load(io.BytesIO(saved(torch.ones(2))), map_location=ask).tolist() == [1, 1]
    assert seen == [(8, 8, "cpu", "cpu", [0, 0, 128, 63])]
    with pytest.raises(TypeError, match="map_location returned a int"):
        torch.load(io.BytesIO(saved(torch.ones(2))), map_location=lambda s, tag: 3)
    with pytest.raises(TypeError, match="map_location must be"):
        torch.load(io.BytesIO(saved(torch.ones(2))), map_location=3)


def test_map_location_meta_reads_no_data():
    data = bytearray(saved({"w": torch.ones(1000)}))
    at = data.index(np.ones(1000, np.float32).tobytes())
    data[at] ^= 1
    value = torch.load(io.BytesIO(bytes(data)), map_location="meta")["w"]
    assert value.is_meta and value.shape == (1000,)
    with pytest.raises(RuntimeError, match="checksum"):
        torch.load(io.BytesIO(bytes(data)))


def test_devices_that_are_not_here():
    data = saved(torch.ones(2)).replace(b"X\x03\x00\x00\x00cpu", b"X\x03\x00\x00\x00mps")
    pickled = zipfile.ZipFile(io.BytesIO(saved(torch.ones(2)))).read("archive/data.pkl")
    data = zip_of(pickled.replace(b"\x03\x00\x00\x00cpu", b"\x03\x00\x00\x00mps"), [("data/0", b"\0" * 8)])
    with pytest.raises(RuntimeError, match=r"tagged with mps.*map_location"):
        torch.load(io.BytesIO(data))
    assert torch.load(io.BytesIO(data), map_location={"mps": "cpu"}).tolist() == [0, 0]
    data = zip_of(pickled.replace(b"\x03\x00\x00\x00cpu", b"\x07\x00\x00\x00cuda:99"), [("data/0", b"\0" * 8)])
    with pytest.raises(RuntimeError, match=r"Attempting to deserialize object on device 'cuda:99'"):
        torch.load(io.BytesIO(data))


def test_mmap_takes_memory_from_the_file(tmp_path):
    path = tmp_path / "big.pt"
    torch.save({"a": torch.ones(1 << 18), "b": torch.zeros(3, dtype=torch.bfloat16)}, path)
    mapped = torch.load(path, mmap=True)
    memory = mapped["a"]._look()
    while isinstance(memory, np.ndarray) and not isinstance(memory, np.memmap):
        memory = memory.base
    assert isinstance(memory, np.memmap) and memory.mode == "r"
    mapped["a"].add_(1)
    torch.save({"a": torch.zeros(1 << 18)}, path)  # the old file lives on under the map
    assert mapped["a"].tolist()[:2] == [2, 2] and mapped["b"].tolist() == [0, 0, 0]
    assert torch.load(path)["a"].tolist()[:2] == [0, 0]
    with pytest.raises(ValueError, match="file path"), open(path, "rb") as file:
        torch.load(file, mmap=True)


# ---- arguments and errors -----------------------------------------------------------------------------------------


def test_errors_of_paths(tmp_path):
    with pytest.raises(FileNotFoundError):
        torch.load(tmp_path / "absent.pt")
    (tmp_path / "empty.pt").write_bytes(b"")
    with pytest.raises(EOFError, match=r"Ran out of input.*empty\.pt"):
        torch.load(tmp_path / "empty.pt")
    with pytest.raises(RuntimeError, match="Parent directory .* does not exist"):
        torch.save(1, tmp_path / "no" / "such.pt")
    with pytest.raises(IsADirectoryError):
        torch.save(1, tmp_path)


def test_arguments():
    data = saved([1])
    with pytest.raises(RuntimeError, match="pickle_module"):
        torch.load(io.BytesIO(data), pickle_module=pickle, weights_only=True)
    assert torch.load(io.BytesIO(data), pickle_module=pickle) == [1]
    assert torch.load(io.BytesIO(data), pickle_module=pickle, weights_only=False) == [1]
    assert torch.load(io.BytesIO(data), pickle_module=pickle, weights_only=None) == [1]
    with pytest.warns(UserWarning, match="weights_only=False"):
        torch.load(io.BytesIO(data), errors="strict")
    with pytest.raises(ValueError, match="pickle_protocol"):
        saved(1, pickle_protocol=1)
    assert saved([1], pickle_module=pickle) == data


def test_python_2_strings_and_encoding():
    pickled = b"\x80\x02U\x02\xc3\xbc."
    assert torch.load(io.BytesIO(zip_of(pickled))) == "ü"
    assert torch.load(io.BytesIO(zip_of(pickled)), encoding="bytes") == b"\xc3\xbc"
    assert torch.load(io.BytesIO(zip_of(pickled)), encoding="latin1") == "Ã¼"
    assert torch.load(io.BytesIO(zip_of(pickled)), weights_only=False) == "ü"


class Point:
    def __init__(self, x):
        self.x = x


class Bag(dict):
    pass


def test_safe_globals():
    data = saved([Point(3), Bag(a=1)])
    with pytest.raises(pickle.UnpicklingError, match="Point was not an allowed global"):
        torch.load(io.BytesIO(data))
    with torch.serialization.safe_globals([Point, Bag]):
        point, bag = torch.load(io.BytesIO(data))
    assert (type(point), point.x, type(bag), bag) == (Point, 3, Bag, {"a": 1})
    with pytest.raises(pickle.UnpicklingError):
        torch.load(io.BytesIO(data))
    try:
        torch.serialization.add_safe_globals([Point, (Bag, f"{__name__}.Bag")])
        assert torch.load(io.BytesIO(data))[1] == {"a": 1}
        assert torch.serialization.get_safe_globals() == [Point, (Bag, f"{__name__}.Bag")]
    finally:
        torch.serialization.clear_safe_globals()
    assert torch.serialization.get_safe_globals() == []


# ---- one file or the other ----------------------------------------------------------------------------------------


def test_failures_leave_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    torch.save({"w": torch.ones(1000)}, path)
    before = path.read_bytes()

    def kept():
        return path.read_bytes() == before and os.listdir(tmp_path) == ["model.pt"]

    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        torch.save({"w": torch.zeros(10), "bad": lambda: 0}, path)
    assert kept()

    class Full(_atomic._Streaming):
        room = 3000

        def write(self, data):
            if self.room <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            done = super().write(memoryview(data)[: self.room])
            self.room -= done
            return done

    whole = _atomic._Streaming
    monkeypatch.setattr(_atomic, "_Streaming", Full)
    for new in (True, False):
        with pytest.raises(OSError, match=r"No space left on device.*unchanged.*model\.pt") as caught:
            torch.save({"w": torch.zeros(2000)}, path, _use_new_zipfile_serialization=new)
        assert caught.value.errno == errno.ENOSPC
        assert kept()
    monkeypatch.setattr(_atomic, "_Streaming", whole)

    def lost(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(_atomic, "_STREAM", 1000)
    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"unchanged.*model\.pt") as caught:
        patch.setattr(_atomic.os, "fdatasync", lost)  # what goes wrong on the way to the disk counts too
        torch.save({"w": torch.zeros(2000)}, path)
    assert caught.value.errno == errno.EIO and kept()

    def interrupted(fd):
        raise KeyboardInterrupt

    monkeypatch.setattr(_atomic.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        torch.save({"w": torch.zeros(2000)}, path)
    assert kept()


def test_short_writes_are_continued():
    class Slow(io.BytesIO):
        def write(self, data):
            return super().write(memoryview(data)[:1000])

    for new in (True, False):
        slow = Slow()
        torch.save({"w": T.arange(3000.0)}, slow, _use_new_zipfile_serialization=new)
        assert torch.load(io.BytesIO(slow.getvalue()))["w"].tolist()[-1] == 2999


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_permissions_links_and_leftovers(tmp_path):
    real, link = tmp_path / "real.pt", tmp_path / "link.pt"
    torch.save(1, real)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(real.stat().st_mode) == 0o666 & ~umask
    real.chmod(0o640)
    link.symlink_to("real.pt")
    torch.save(2, link)
    assert link.is_symlink() and torch.load(real) == 2
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    with pytest.raises(KeyError), _atomic.replacing(os.fspath(real)) as file:
        file.write(b"half")
        name = next(n for n in os.listdir(tmp_path) if n.startswith(".pytorchlike-save-"))
        raise KeyError
    (tmp_path / name).write_bytes(b"left by a killed process")
    (tmp_path / ".pytorchlike-save-0123456789abcdef-1").write_bytes(b"of another target")
    torch.save(3, real)
    assert sorted(os.listdir(tmp_path)) == [".pytorchlike-save-0123456789abcdef-1", "link.pt", "real.pt"]


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_devices_are_written_to():
    torch.save([1], os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


# ---- storages -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_typed_storage_comes_back_as_elements_that_its_tensors_share(zipped):
    """It is written as PyTorch does, so that it can be read without running code."""
    t = torch.arange(4.0)
    file = io.BytesIO()
    torch.save([t[1:3], t.storage()], file, _use_new_zipfile_serialization=zipped)
    file.seek(0)
    shown, storage = torch.load(file)
    assert isinstance(storage, torch.storage.TypedStorage)
    assert (storage.dtype, storage.tolist()) == (torch.float32, [0.0, 1.0, 2.0, 3.0])
    storage[1] = 7.0
    assert shown.tolist() == [7.0, 2.0]
    again = io.BytesIO()
    torch.save(storage, again)
    again.seek(0)
    assert torch.load(again).tolist() == [0.0, 7.0, 2.0, 3.0]


def test_untyped_storage():
    t = torch.ones(4)
    storage, part = t.untyped_storage(), t[1:].untyped_storage()
    assert storage == part and hash(storage) == hash(part) and storage != torch.ones(4).untyped_storage()
    assert storage.nbytes() == storage.size() == len(storage) == 16
    assert storage.data_ptr() == t.data_ptr() and storage.element_size() == 1
    assert storage.tolist() == [0, 0, 128, 63] * 4 == list(storage)
    assert storage[2] == 128 and storage[:4].tolist() == [0, 0, 128, 63]
    assert storage.device == torch.device("cpu") and not storage.is_cuda
    assert storage.cpu() is storage
    assert torch.zeros(0).untyped_storage().data_ptr() == 0
    assert "of size 16" in repr(storage)


# ---- safetensors --------------------------------------------------------------------------------------------------


def test_safetensors_names_its_extra(monkeypatch):
    from pytorchlike.utils import safetensors as ours

    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"pip install pytorchlike\[safetensors\]"):
        ours.save({"a": torch.ones(1)})


def test_safetensors(tmp_path):
    pytest.importorskip("safetensors")
    from pytorchlike.utils import safetensors as ours

    path = tmp_path / "model.safetensors"
    names = [name for name in _CANONICAL if name != "complex128"]
    value = {name: T.arange(6.0).reshape(2, 3).to(_CANONICAL[name]) for name in names}
    value["empty"], value["scalar"] = torch.zeros(0, 3), torch.tensor(2.0)
    ours.save_file(value, path, metadata={"by": "us"})
    for back in (ours.load_file(path), torch.load(path), ours.load(path.read_bytes()), ours.load(ours.save(value))):
        assert set(back) == set(value)
        for name, t in value.items():
            assert back[name].dtype is t.dtype and back[name].shape == t.shape and data_of(back[name]) == data_of(t)
    with ours.safe_open(path) as file:
        assert sorted(file.keys()) == sorted(value) and file.metadata() == {"by": "us"}
        assert file.get_slice("float32")[1:].tolist() == [[3, 4, 5]]
        assert file.get_slice("float8_e5m2")[:, :1].tolist() == [[0], [3]]
        assert file.get_slice("bfloat16").get_shape() == [2, 3]
    base = torch.ones(4)
    with pytest.raises(RuntimeError, match=r"share memory.*\['a', 'b'\]"):
        ours.save_file({"a": base, "b": base[1:], "c": torch.ones(1)}, path)
    ours.save_file({"a": base[:2], "b": base[2:]}, path)
    assert os.listdir(tmp_path) == ["model.safetensors"]
    with pytest.raises(ValueError, match="Key `a`"):
        ours.save_file({"a": 1}, path)


def test_safetensors_are_mapped(tmp_path):
    """Our files hold tensors where XLA can use them; those of others are copied when they are first used."""
    safetensors = pytest.importorskip("safetensors.numpy")
    from pytorchlike.utils import safetensors as ours

    arrays = {"b": np.arange(5000.0), "a": np.arange(6, dtype=np.int16), "c": np.arange(4096, dtype=np.uint8) % 2}
    mine, theirs = tmp_path / "mine.safetensors", tmp_path / "theirs.safetensors"
    ours.save_file({n: torch.from_numpy(a) for n, a in arrays.items()}, mine, metadata={"ü": "…"})
    for name, array in safetensors.load_file(mine).items():
        np.testing.assert_array_equal(array, arrays[name])
    flags = {"flags": np.arange(256, dtype=np.uint8) % 3 != 0, "odd": np.uint8([7])}
    safetensors.save_file({**arrays, **flags}, theirs)
    for path in (mine, theirs):
        found = ours.load_file(path)
        large = found["b"]
        assert path is theirs or large.data_ptr() % 64 == 0
        base = large._look()
        while base is not None and not isinstance(base, np.memmap):
            base = base.base
        assert base is not None, "the memory is the file's"
        for _ in range(3):
            assert large.sum().item() == arrays["b"].sum() and (found["a"] * 2).tolist() == [0, 2, 4, 6, 8, 10]
        large += 1
        assert large[0] == 1 and ours.load_file(path)["b"][0] == 0, "the file does not change"
        copy = found["c"].numpy()
        copy[:] = 3
        assert ours.load_file(path)["c"].max() == 1
    ours.save_file({"b": torch.zeros(3)}, theirs)
    assert found["c"].shape == (4096,) and found["flags"].sum() == flags["flags"].sum(), "replaced, not overwritten"
    whole = bytearray(safetensors.save({"flags": np.ones(4, bool)}))
    whole[-3:] = b"\x02\x00\xff"
    theirs.write_bytes(whole)
    assert ours.load_file(theirs)["flags"].tolist() == [True, True, False, True]
    with pytest.raises(TypeError, match="metadata"):
        ours.save_file({"a": torch.ones(1)}, mine, metadata={"a": 1})
    with pytest.raises(sys.modules["safetensors"].SafetensorError, match="complex128"):
        ours.save_file({"a": torch.ones(1, dtype=torch.complex128)}, mine)
    assert sorted(os.listdir(tmp_path)) == ["mine.safetensors", "theirs.safetensors"]


def test_large_records_are_read_in_pieces_and_checked(tmp_path):
    """Several threads read and sum; any flipped byte is found, whichever piece it is in."""
    path = tmp_path / "big.pt"
    array = np.random.default_rng(0).integers(0, 255, 21_000_001, dtype=np.uint8)
    torch.save({"a": torch.from_numpy(array), "b": torch.arange(10), "c": torch.zeros(600_000)}, path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    for source in (path, io.BytesIO(whole)):
        got = torch.load(source)
        np.testing.assert_array_equal(got["a"].numpy(), array)
        assert got["b"].tolist() == list(range(10)) and got["c"].shape == (600_000,)
    start = whole.index(array[:64].tobytes())
    for at in (0, 1 << 20, 9_000_000, 20_999_999):
        with open(path, "r+b") as file:
            file.seek(start + at)
            file.write(bytes([whole[start + at] ^ 4]))
        for source in (path, io.BytesIO(path.read_bytes())):
            with pytest.raises(RuntimeError, match=r"data/0: its checksum is"):
                torch.load(source)
        with open(path, "r+b") as file:
            file.seek(start + at)
            file.write(whole[start + at : start + at + 1])
    assert torch.load(path, map_location="meta")["a"].is_meta


def test_checksums_are_those_of_zlib():
    assert _crc._shift(_crc._FAR) ^ _crc._shift(_crc._NEAR) == _crc._ONE, "a multiple of the CRC's polynomial"
    data = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8)
    edges = [_crc._LONG, _crc._FAR + 4 * _crc._BLOCK]
    for size in (0, 1, 1000, *(edge + k for edge in edges for k in (-1, 0, 1)), 1 << 20):
        assert _crc.crc32(memoryview(data[:size])) == zlib.crc32(data[:size]), size
    room = bytearray(data.nbytes)

    def fill(part, at):
        assert not any(part[:: part.nbytes // 7]), "each part is filled once"
        part[:] = memoryview(data)[at : at + part.nbytes]

    assert _crc.crc32(memoryview(room), fill) == zlib.crc32(data)
    assert room == data.tobytes()
    assert _crc.joined(zlib.crc32(data[:700]), zlib.crc32(data[700:]), data.nbytes - 700) == zlib.crc32(data)


def test_many_small_tensors_are_written_together():
    class Counting(io.BytesIO):
        writes = 0

        def write(self, part):
            self.writes += 1
            return super().write(part)

    state = {f"layer{i}": torch.full((3, 2), float(i)) for i in range(300)}
    state["same"] = state["layer7"]
    torch.save(state, file := Counting())
    assert file.writes < 10
    file.seek(0)
    found = torch.load(file)
    assert all(torch.equal(found[name], t) for name, t in state.items())
    assert found["same"] is found["layer7"]


def test_modules_take_mapped_memory_without_a_copy(tmp_path):
    """load_state_dict(assign=True) of a mapped file leaves the elements where they are, and so does computing."""
    path = tmp_path / "m.pt"
    torch.save(torch.nn.Linear(300, 200).state_dict(), path)
    with torch.device("meta"):
        module = torch.nn.Linear(300, 200)
    mapped = torch.load(path, mmap=True)
    address = mapped["weight"].data_ptr()
    module.load_state_dict(mapped, assign=True)
    assert isinstance(module.weight, Parameter) and module.weight.requires_grad
    del mapped
    assert module(torch.ones(2, 300)).shape == (2, 200) and module.weight.sum().item() != 0
    assert module.weight.data_ptr() == address
    base = module.weight.detach()._look()
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert base is not None and address % 64 == 0


def test_functions_are_pickled_by_pytorchs_names():
    """A model that keeps functions of nn.functional, as a Transformer does, loads with PyTorch's names allowed."""
    F = torch.nn.functional
    for function in (F.relu, F.gelu, F.tanh, torch.relu, F.conv2d):
        assert pickle.loads(pickle.dumps(function)) is function
    layer = torch.nn.TransformerEncoderLayer(4, 2, 8)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    modules = torch.nn.modules
    allowed = [torch.nn.TransformerEncoderLayer, torch.nn.MultiheadAttention, torch.nn.Linear, torch.nn.LayerNorm,
               torch.nn.Dropout, modules.linear.NonDynamicallyQuantizableLinear, F.relu]  # fmt: skip
    with torch.serialization.safe_globals(allowed):
        assert torch.load(file).activation is F.relu


def test_the_environment_decides_what_may_be_loaded(monkeypatch):
    """YOLOv5's checkpoints hold NumPy arrays, and it calls ``torch.load(file)``."""
    data = saved({"a": np.arange(2)})
    with pytest.raises(pickle.UnpicklingError):
        torch.load(io.BytesIO(data))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.warns(UserWarning, match="TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
        assert torch.load(io.BytesIO(data))["a"].tolist() == [0, 1]
    with pytest.raises(pickle.UnpicklingError):
        torch.load(io.BytesIO(data), weights_only=True)
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "true")
    with pytest.raises(RuntimeError, match="Only one of"):
        torch.load(io.BytesIO(data))
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(io.BytesIO(data), weights_only=False)


def test_picklers_derived_from_the_one_in_c_write_what_torch_reads():
    class Pickler(pickle.Pickler):  # as cloudpickle's
        dispatch = {dict: None}
        dispatch_table = {type(re): lambda module: (__import__, (module.__name__,))}

        def __init__(self, file, protocol=None):
            super().__init__(file, protocol=protocol)

        def dump(self, obj):
            return super().dump({"inside": obj})

        def reducer_override(self, obj):
            return (str, ("a function",)) if type(obj) is types.FunctionType else NotImplemented

    for zipped in (True, False):
        buffer = io.BytesIO()
        w = torch.nn.Parameter(torch.arange(3.0))
        torch.save([w, w.data[1:], lambda: 0, re], buffer, pickle_module=types.SimpleNamespace(Pickler=Pickler),
                   _use_new_zipfile_serialization=zipped)  # fmt: skip
        assert b"pytorchlike" not in buffer.getvalue()
        buffer.seek(0)
        with pytest.raises(pickle.UnpicklingError, match="Unsupported global"):
            torch.load(buffer)
        buffer.seek(0)
        loaded, part, function, module = torch.load(buffer, weights_only=False)["inside"]
        part.zero_()
        assert loaded.tolist() == [0, 0, 0] and loaded.requires_grad
        assert function == "a function" and module is re

    class Other:
        pass

    with pytest.raises(ValueError, match="neither"):
        torch.save(1, io.BytesIO(), pickle_module=types.SimpleNamespace(Pickler=Other, __name__="other"))


def test_what_dill_puts_into_pickles_table_is_not_used(monkeypatch):
    monkeypatch.setitem(pickle._Pickler.dispatch, types.FunctionType, lambda pickler, fn: pickler.save("written"))
    with pytest.raises((pickle.PicklingError, AttributeError)):
        torch.save(lambda: 0, io.BytesIO())


def test_old_files_are_told_from_new_ones():
    for new in (True, False):
        buffer = io.BytesIO()
        torch.save(torch.ones(2), buffer, _use_new_zipfile_serialization=new)
        buffer.seek(0)
        assert torch.serialization._is_zipfile(buffer) is new and buffer.tell() == 0
