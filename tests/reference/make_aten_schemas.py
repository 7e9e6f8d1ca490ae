"""Write ``pytorchlike/_dispatch/aten.txt``: the signatures of PyTorch's inner operators that have a counterpart here.

Run with PyTorch 2.13 installed, from the root of the repository: ``python tests/reference/make_aten_schemas.py``. A
line is ``name.overload(arguments) -> results``; ``~`` in front of it marks an operator that PyTorch makes of others, so
that ``__torch_dispatch__`` never sees it. The names are those that the file has already and those given as arguments.
"""

import re
import sys
from pathlib import Path

import torch

PATH = Path(__file__).parents[2] / "pytorchlike" / "_dispatch" / "aten.txt"


def line_of(schema) -> str | None:
    """The line of a schema; None for those of other kinds: of TorchScript's lists and numbers, or with ``out=``."""
    text = str(schema).removeprefix("aten::").replace("SymInt", "int")
    if "Tensor" not in text or any(a.is_out for a in schema.arguments):
        return None
    if re.search(r"\bt\[\]|Dict|__torch__|Dimname", text):
        return None
    name = schema.name + (f".{schema.overload_name}" if schema.overload_name else "")
    try:
        made = torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd")
    except RuntimeError:  # TorchScript knows it, the dispatcher does not
        return None
    return ("~" if made else "") + text


def main() -> None:
    wanted = set(sys.argv[1:])
    if PATH.exists():
        wanted |= {re.split(r"[.(]", line.lstrip("~"))[0] for line in PATH.read_text().splitlines()}
    schemas = [s for s in torch._C._jit_get_all_schemas() if s.name.removeprefix("aten::") in wanted]
    lines = {line for s in schemas if s.name.startswith("aten::") and (line := line_of(s)) is not None}
    PATH.write_text("\n".join(sorted(lines, key=lambda line: line.lstrip("~"))) + "\n")


if __name__ == "__main__":
    main()
