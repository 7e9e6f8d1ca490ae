"""Write interop.json: what torch.tensor(EXPRESSION, dtype) makes or raises. Needs torch; run it by hand.

Each case is [expression, dtype name or null, dtype of the result, shape, values], or
[expression, dtype name or null, exception type, first words of its message]. Values are repr() strings.
"""

import array
import json
import warnings
from pathlib import Path

import numpy as np
import torch

INFERRED = """
1 | 1. | True | 1j | [1,2.] | [1,True] | [True,1.5] | [True,False] | [1j,1] | [] | [[]] | [[],[]] | [[[]]] | [(),()]
[[1,2,3],[1,2]] | [[1],[]] | [1,[2]] | [[2],1] | 'a' | ['a'] | [['a','b']] | ['abc','de'] | [[1,2],'ab'] | [1,'a']
b'abc' | [b'abc'] | None | [None] | [1,None] | {} | {1} | object() | [object()] | float | iter([1]) | {0:1}
range(3) | (1,2) | [(1,2),[3,4]] | [range(3),range(3)] | bytearray(b'abc') | memoryview(b'abc') | array.array('f',[1,2])
np.float32(2) | np.float64(2) | np.int8(3) | np.bool_(True) | np.uint16(3) | np.complex64(1) | np.float16(1.5)
[np.float32(2)] | [np.float32(2),1] | [np.int8(3)] | [np.bool_(1),1.5] | [np.float32(1),np.float64(2)]
[np.int64(1),1.5] | [np.int8(1),np.uint8(2)] | [np.uint16(1),np.int32(1)] | [np.longdouble(3)]
np.str_('a') | np.void(b'a')
[np.arange(3),np.arange(3)] | [np.arange(3.),np.arange(3)] | [np.arange(3),[1,2,3]] | [np.arange(3),[1,2]]
[[np.arange(2)],[np.arange(2)]] | [np.arange(2),np.arange(3)] | np.zeros((2,3)).T | np.array(3.) | np.zeros((0,3))
np.array(['a']) | np.array([object()]) | np.array([1,2],dtype='>i4') | np.array([1],dtype='datetime64[D]')
np.array([1],dtype=np.longdouble) | np.array([(1,2)],dtype='i4,i4') | np.array([1],dtype=np.uint64)
2**63 | [2**63] | 2**63-1 | -2**63 | -2**63-1 | [1.,2**70] | [10**400] | [10**400,1.5] | float('nan') | [1.5,1j]
[[1,2],[3,4,5]] | [[1,[2]],[3,4]] | [[[1,2],[3,4]],[[5,6],[7,8]]] | [1.5,[2]] | [True,[2]] | [1j,[2]]
"""
GIVEN = """
[1.5,2] | [300] | [-1] | [-200] | [2**40] | [2**63] | [2**64] | [1j] | [0j] | [1e10] | [1e19] | [float('nan')] | [None]
[float('inf')] | [70000.] | [1e39] | ['a'] | [True] | [-0.5] | [255.9] | [] | [-255] | [-256] | [-32769] | [2**32]
[-2**31-1] | [10**400] | [np.float64(1.5)] | np.array([1.5,-1.5]) | np.array([300,-300]) | np.array([1j,2])
[[1],2] | [1,[2]] | [[1,2],[3]] | [449,464,465] | [1e5,-1e5,0.1] | [0.0,-0.0] | np.array([1e6,-1e6])
"""
DTYPES = (
    "bool uint8 int8 int16 int32 int64 uint32 uint64 float16 bfloat16 float32 float64 float8_e4m3fn float8_e5m2 "
    "complex64"
)


def expressions(text: str) -> list[str]:
    return [part.strip() for line in text.strip().splitlines() for part in line.split("|")]


def answer(expression: str, name: str | None) -> list:
    value = eval(expression, {"np": np, "array": array})
    try:
        made = torch.tensor(value, dtype=None if name is None else getattr(torch, name))
    except Exception as error:
        return [expression, name, type(error).__name__, str(error)[:14]]
    wide = made if made.is_complex() or not made.is_floating_point() else made.double()
    return [expression, name, str(made.dtype), list(made.shape), repr(wide.tolist())]


def main() -> None:
    warnings.simplefilter("ignore")
    cases = [answer(expression, None) for expression in expressions(INFERRED)]
    cases += [answer(expression, name) for expression in expressions(GIVEN) for name in DTYPES.split()]
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    Path(__file__).with_name("interop.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
