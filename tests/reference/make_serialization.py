"""Write the checkpoints in tests/reference/serialization/ with PyTorch 2.13, and what PyTorch sees in them.

    python tests/reference/make_serialization.py

``contents.json`` describes every file: nested containers as they are, tensors by dtype, shape, stride, offset, bytes
(in hexadecimal) and the number of the storage they share.
"""

from __future__ import annotations

import collections
import json
import pathlib
from typing import Any

import torch

HERE = pathlib.Path(__file__).parent / "serialization"
DTYPES = [
    "float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
    "float8_e8m0fnu", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "bool", "complex64",
    "complex128",
]  # fmt: skip
#: Those that the older format has a storage class for.
OLD_DTYPES = [d for d in DTYPES if not d.startswith("float8") and d not in ("uint16", "uint32", "uint64")]


def of_dtype(name: str) -> torch.Tensor:
    dtype = getattr(torch, name)
    size = 6 * dtype.itemsize
    bits = torch.arange(size, dtype=torch.uint8) * 5 % 113
    return (bits % 2 if name == "bool" else bits).view(dtype).reshape(2, 3)


def tensors(dtypes: list[str]) -> dict[str, Any]:
    base = torch.arange(24.0)
    weight = torch.nn.Parameter(torch.arange(4.0).reshape(2, 2))
    tagged = torch.ones(2)
    tagged.tag = "kept"
    return {
        "dtypes": {name: of_dtype(name) for name in dtypes},
        "base": base,
        "strided": base.view(4, 6)[1:3, ::2],
        "transposed": base.view(4, 6).t(),
        "narrow": base.narrow(0, 3, 7),
        "expanded": torch.arange(3.0)[:, None].expand(3, 5),
        "channels_last": torch.arange(48.0).reshape(2, 3, 2, 4).to(memory_format=torch.channels_last),
        "empty": torch.zeros(0, 3),
        "nothing": base[3:3],
        "scalar": torch.tensor(3),
        "leaf": torch.ones(2, requires_grad=True),
        "weight": weight,
        "tied": weight,
        "weight_data": weight.detach(),
        "frozen": torch.nn.Parameter(torch.ones(1), requires_grad=False),
        "tagged": tagged,
        "conjugate": torch.tensor([1 + 2j]).conj(),
    }


def plain() -> dict[str, Any]:
    return {
        "numbers": [1, -5, 255, 65536, 2**40, -(2**70), 1.5, float("inf"), True, None],
        "text": ["ünï", "", "a" * 300],
        "nested": {"a": {2: (3, (4,), [])}, (1, "b"): {}},
        "ordered": collections.OrderedDict([("x", 1), ("y", [2])]),
        "counter": collections.Counter("aab"),
        "size": torch.Size([2, 3]),
    }


def optimizer() -> dict[str, Any]:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    opt = torch.optim.AdamW(net.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(opt, 3)
    for _ in range(2):
        opt.zero_grad()
        net(torch.randn(5, 3)).sum().backward()
        opt.step()
        schedule.step()
    state = schedule.state_dict()
    return {
        "model": net.state_dict(),
        "optimizer": opt.state_dict(),
        "schedule": state,
        "rng": torch.get_rng_state()[:64],
    }


def describe(value: Any, storages: dict[int, int]) -> Any:
    if isinstance(value, torch.Tensor):
        plain = value.detach().resolve_conj().contiguous()
        memory = value.untyped_storage()
        return {
            "kind": "Parameter" if isinstance(value, torch.nn.Parameter) else "Tensor",
            "dtype": str(value.dtype),
            "shape": list(value.shape),
            "stride": list(value.stride()),
            "offset": value.storage_offset(),
            "requires_grad": value.requires_grad,
            "storage": storages.setdefault(memory._cdata, len(storages)) if memory.nbytes() else None,
            "bytes": bytes(plain.reshape(-1).view(torch.uint8).tolist()).hex() if value.numel() else "",
        }
    if isinstance(value, dict):
        items = [[describe(k, storages), describe(v, storages)] for k, v in value.items()]
        return {"kind": type(value).__name__, "items": items}
    if isinstance(value, (list, tuple)):
        return {"kind": type(value).__name__, "items": [describe(v, storages) for v in value]}
    return {"kind": type(value).__name__, "value": repr(value)}


def main() -> None:
    HERE.mkdir(exist_ok=True)
    everything = {
        "zip.pt": (tensors(DTYPES), {}),
        "zip_protocol4.pt": (tensors(["float32"]), {"pickle_protocol": 4}),
        "legacy.pt": (tensors(OLD_DTYPES), {"_use_new_zipfile_serialization": False}),
        "plain.pt": (plain(), {}),
        "plain_legacy.pt": (plain(), {"_use_new_zipfile_serialization": False}),
        "optimizer.pt": (optimizer(), {}),
    }
    contents = {}
    for name, (value, kwargs) in everything.items():
        torch.save(value, HERE / name, **kwargs)
        contents[name] = describe(value, {})
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.BatchNorm1d(3))
    torch.save(module, HERE / "module.pt")
    contents["module.pt"] = describe(module.state_dict(), {})
    contents["version"] = torch.__version__
    (HERE / "contents.json").write_text(json.dumps(contents, indent=0) + "\n")


if __name__ == "__main__":
    main()
