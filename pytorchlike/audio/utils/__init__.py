"""Downloads (``torchaudio.utils``)."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["download_asset"]


def download_asset(key: str, hash: str = "", path: str | os.PathLike = "", *, progress: bool = True) -> str:
    """Where the asset ``key`` of torchaudio's tutorials lies: ``path``, or below the hub's folder; fetched if missing.

    Raises urllib.error.URLError, naming the file to put there, if it cannot be fetched, ValueError for a wrong SHA-256.
    """
    from ... import hub
    from ...vision.datasets.utils import download_url

    target = Path(path or os.path.join(hub.get_dir(), "torchaudio", key))
    download_url(f"https://download.pytorch.org/torchaudio/{key}", target.parent, target.name)
    if hash:
        import hashlib

        found = hashlib.sha256(target.read_bytes()).hexdigest()
        if not found.startswith(hash):
            raise ValueError(f"The hash of {target} does not match: {found}, expected {hash}")
    return str(target)
