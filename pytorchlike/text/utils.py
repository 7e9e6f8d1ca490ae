"""Files of data sets (``torchtext.utils``)."""

from __future__ import annotations

import os

__all__ = ["download_from_url", "extract_archive", "get_asset_local_path"]


def download_from_url(
    url: str, path: str | None = None, root: str = ".data", overwrite: bool = False, hash_value: str | None = None,
    hash_type: str = "sha256",
) -> str:  # fmt: skip
    """Fetch a file to ``path``, or into ``root``, unless it is there; returns where it is.

    Raises RuntimeError if its hash is not ``hash_value``, urllib.error.URLError if it cannot be fetched.
    """
    import hashlib

    from ..vision.datasets.utils import download_url

    target = os.path.abspath(path or os.path.join(root, os.path.basename(url)))
    if overwrite and os.path.exists(target):
        os.remove(target)
    download_url(url, os.path.dirname(target), os.path.basename(target))
    if hash_value:
        with open(target, "rb") as file:
            found = hashlib.file_digest(file, hash_type).hexdigest()
        if found != hash_value:
            raise RuntimeError(f"The hash of {target} does not match: {found}, expected {hash_value}")
    return target


def extract_archive(from_path: str, to_path: str | None = None, overwrite: bool = False) -> list[str]:
    """Unpack a tar, zip or gz archive beside it or into ``to_path``; returns the paths of its files.

    overwrite: torchtext's switch; files are always written anew.
    """
    import tarfile
    import zipfile

    from ..vision.datasets.utils import extract_archive as unpack

    target = unpack(from_path, to_path)
    if zipfile.is_zipfile(from_path):
        with zipfile.ZipFile(from_path) as archive:
            return [os.path.join(target, n) for n in archive.namelist() if not n.endswith("/")]
    if tarfile.is_tarfile(from_path):
        with tarfile.open(from_path) as archive:
            return [os.path.join(target, m.name) for m in archive.getmembers() if m.isfile()]
    return [target]


def get_asset_local_path(asset_path: str, overwrite: bool = False) -> str:
    """A local path as it is; a URL is fetched into the cache."""
    if os.path.exists(asset_path):
        return asset_path
    from .. import hub

    folder = os.path.join(os.path.dirname(hub.get_dir()), "text")
    return download_from_url(asset_path, root=folder, overwrite=overwrite)
