"""``python -m pytorchlike.distributed.launch``: the older name of :mod:`.run`.

Programs started by it find their rank in the environment (LOCAL_RANK), and as an argument, ``--local-rank=N``, unless
--use_env is given.
"""

from __future__ import annotations

import sys

from . import run as _run

__all__ = ["main"]


def main(args: list[str] | None = None) -> None:
    """The command line. Exits with the status of the process that failed first."""
    _run.main(sys.argv[1:] if args is None else args, local_rank_argument=True)


if __name__ == "__main__":
    main()
