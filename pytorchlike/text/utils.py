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

    Nothing is written if all of them are there, unless ``overwrite``.
    """
    from ..vision.datasets.utils import extract_archive as unpack

    files = _members(from_path, os.path.dirname(from_path) if to_path is None else to_path)
    if overwrite or not all(map(os.path.exists, files)):
        unpack(from_path, to_path)
    return files


def _members(path: str, folder: str) -> list[str]:
    """Where the files of an archive are once it has been unpacked into a folder."""
    import tarfile
    import zipfile

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return [os.path.join(folder, n) for n in archive.namelist() if not n.endswith("/")]
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            return [os.path.join(folder, m.name) for m in archive.getmembers() if m.isfile()]
    return [os.path.join(folder, os.path.splitext(os.path.basename(path))[0])]


def get_asset_local_path(asset_path: str, overwrite: bool = False) -> str:
    """A local path as it is; a URL is fetched into the cache."""
    if os.path.exists(asset_path):
        return asset_path
    from .. import hub

    folder = os.path.join(os.path.dirname(hub.get_dir()), "text")
    return download_from_url(asset_path, root=folder, overwrite=overwrite)
