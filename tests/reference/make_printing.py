"""Write printing.json: repr() of tensors in PyTorch. Needs torch; run it by hand.

Each case holds dtype, shape, data (base64 of the zlib-compressed bytes), options of set_printoptions, requires_grad,
grad_fn (a name or null), parameter (bool) and text.
"""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import torch

SHAPES = [
    (),
    (1,),
    (5,),
    (23,),
    (3, 4),
    (2, 3, 2),
    (2, 1, 2, 2),
    (0,),
    (0, 3),
    (2, 0),
    (1001,),
    (40, 30),
    (3, 400),
    (2, 600, 1),
]
FLOATS = ["float32", "float32", "float64", "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn"]
OTHERS = ["int64", "int32", "uint8", "int16", "uint16", "bool", "complex64", "complex128"]
SPECIAL = [
    0.0,
    -0.0,
    np.nan,
    np.inf,
    -np.inf,
    1,
    2.5,
    1e-5,
    9.9999e-5,
    1e-4,
    0.99999,
    99999.99996,
    1000,
    1001,
    1e8,
    1.00001e8,
]


def values(rng: np.random.Generator, shape: tuple[int, ...], kind: int) -> np.ndarray:
    """Numbers that try the formats: plain, scaled, whole, of many magnitudes, zero, special."""
    normal = np.round(rng.normal(size=shape), 3)
    scale = 10.0 ** rng.integers(-6, 10)
    drawn = [normal, normal * scale, np.round(normal * scale), normal * 10.0 ** rng.integers(-5, 6, size=shape)]
    drawn += [np.zeros(shape), rng.choice(SPECIAL, size=shape), rng.choice([np.nan, np.inf, -np.inf, 0], size=shape)]
    return np.asarray(drawn[kind])


def options(rng: np.random.Generator) -> dict:
    chosen = int(rng.integers(0, 8))
    if chosen < 5:
        return {}
    if chosen == 5:
        return {"profile": ["short", "full"][rng.integers(2)]}
    return {
        "precision": int(rng.integers(0, 8)),
        "edgeitems": int(rng.integers(1, 6)),
        "linewidth": int(rng.integers(10, 140)),
        "threshold": int(rng.choice([0, 5, 50, 1000])),
        "sci_mode": [None, True, False][rng.integers(3)],
    }


def data_of(tensor: torch.Tensor) -> str:
    raw = tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    return base64.b64encode(zlib.compress(raw, 9)).decode()


def case(rng: np.random.Generator, number: int) -> dict:
    name = str(rng.choice(FLOATS if number % 3 else OTHERS))
    kind = int(rng.integers(0, 7))
    large_anyway = number % 4 == 0
    shape = SHAPES[rng.integers(len(SHAPES)) if large_anyway else rng.integers(10)]
    drawn = values(rng, shape, 2 if large_anyway else kind)
    with np.errstate(all="ignore"):
        if name.startswith("complex"):
            drawn = drawn + 1j * values(rng, shape, kind)
        elif not name.startswith(("float", "bfloat")):
            drawn = np.nan_to_num(drawn * 10, posinf=1e5, neginf=-1e5).astype(np.int64)
    tensor = torch.from_numpy(np.array(drawn)).to(getattr(torch, name))
    state = int(rng.integers(0, 6)) if name in ("float32", "float64", "float16", "bfloat16", "complex64") else 9
    if state == 0:
        tensor.requires_grad_()
    elif state == 1:
        tensor = tensor.requires_grad_().clone()
    elif state == 2:
        tensor = torch.nn.Parameter(tensor)
    chosen = options(rng)
    torch.set_printoptions(profile="default")
    torch.set_printoptions(**chosen)
    return {
        "dtype": name,
        "shape": list(shape),
        "data": data_of(tensor),
        "options": chosen,
        "requires_grad": tensor.requires_grad,
        "grad_fn": type(tensor.grad_fn).__name__ if tensor.grad_fn is not None else None,
        "parameter": isinstance(tensor, torch.nn.Parameter),
        "text": repr(tensor),
    }


def main() -> None:
    rng = np.random.default_rng(0)
    cases = [c for c in (case(rng, number) for number in range(220)) if len(c["text"]) < 2500]
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    Path(__file__).with_name("printing.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
