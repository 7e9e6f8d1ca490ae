"""``python -m pytorchlike``: run PyTorch programs as they are.

    python -m pytorchlike SCRIPT [ARGS…]       run a script (or a directory or zip file with a __main__.py)
    python -m pytorchlike -m MODULE [ARGS…]    run a module
    python -m pytorchlike -c CODE [ARGS…]      run what is written there
    python -m pytorchlike check SCRIPT…        list what of torch it uses that is missing or differs; runs nothing
    python -m pytorchlike                      report versions, devices, cache and optional packages

Inside the program ``import torch`` gives pytorchlike. ``sys.argv``, ``sys.path[0]``, ``__main__``, tracebacks and the
exit status are those of ``python SCRIPT``.
"""

from __future__ import annotations

import sys


def _help() -> str:
    return str(__doc__).strip().replace("``", "`")


def main(args: list[str]) -> int:
    """The command line; the exit status."""
    if not args:
        from ._report import report

        print(report())
        return 0
    first = args[0]
    if first in ("-h", "--help"):
        print(_help())
        return 0
    if first in ("-V", "--version"):
        from .version import pytorchlike, torch

        print(f"pytorchlike {pytorchlike} (follows PyTorch {torch})")
        return 0
    if first == "check":
        from ._names_used import check_files

        return check_files(args[1:])
    from . import _run

    if first in ("-m", "-c"):
        if len(args) < 2:
            wanted = "a module's name" if first == "-m" else "the code"
            print(f"python -m pytorchlike {first}: {wanted} is missing", file=sys.stderr)
            return 2
        return (_run.run_module if first == "-m" else _run.run_code)(args[1], args[2:])
    if first.startswith("-") and first != "-":
        print(f"python -m pytorchlike: unknown option {first}\n\n{_help()}", file=sys.stderr)
        return 2
    return _run.run_script(first, args[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
