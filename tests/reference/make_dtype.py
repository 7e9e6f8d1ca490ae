"""Write dtype.json: PyTorch's answers about dtypes and their promotion. Needs torch; run it by hand.

promote, cast:  for each pair of dtypes (row, column), the number of the promoted dtype or -1 for an error; 0 or 1.
result_type:    for each default dtype, the same table over operands: dtype x (1-dim, 0-dim), then Python numbers.
"""

import json
from pathlib import Path

import torch

NAMES = (
    "float16 bfloat16 float32 float64 float8_e4m3fn float8_e5m2 uint8 uint16 uint32 uint64 int8 int16 int32 int64 bool "
    "complex64 complex128"
).split()
DTYPES = [getattr(torch, name) for name in NAMES]
NUMBERS = [True, 2, 1.5, 1j]


def number(question) -> int:
    """Position of the dtype answered; complex32, which JAX lacks, counts as complex64."""
    try:
        found = question()
    except RuntimeError:
        return -1
    return DTYPES.index(torch.complex64 if found is torch.complex32 else found)


def limits(make, d) -> list | None:
    try:
        info = make(d)
    except TypeError:
        return None
    names = ("bits", "dtype", "eps", "max", "min", "resolution", "smallest_normal", "tiny")
    return [repr(info), {name: getattr(info, name) for name in names if hasattr(info, name)}]


def main() -> None:
    tables = {}
    for default in (torch.float32, torch.float64):
        torch.set_default_dtype(default)
        operands = [torch.zeros((2,) * ndim, dtype=d) for d in DTYPES for ndim in (1, 0)] + NUMBERS
        tables[str(default)] = [[number(lambda: torch.result_type(x, y)) for y in operands] for x in operands]  # noqa: B023
    torch.set_default_dtype(torch.float32)
    answers = {
        "names": NAMES,
        "traits": [[d.is_floating_point, d.is_complex, d.is_signed, d.itemsize] for d in DTYPES],
        "finfo": [limits(torch.finfo, d) for d in DTYPES],
        "iinfo": [limits(torch.iinfo, d) for d in DTYPES],
        "promote": [[number(lambda: torch.promote_types(a, b)) for b in DTYPES] for a in DTYPES],  # noqa: B023
        "cast": [[int(torch.can_cast(a, b)) for b in DTYPES] for a in DTYPES],
        "result_type": tables,
    }
    path = Path(__file__).with_name("dtype.json")
    path.write_text(json.dumps(answers, separators=(",", ":")).replace('],"', '],\n"') + "\n")


if __name__ == "__main__":
    main()
