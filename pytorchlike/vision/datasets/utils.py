"""Files of data sets: checks, downloads, archives."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import lzma
import os
import pickle
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from typing import Any

__all__ = [
    "calculate_md5", "check_integrity", "check_md5", "download_and_extract_archive", "download_url", "extract_archive",
    "verify_str_arg",
]  # fmt: skip


def calculate_md5(fpath: str | os.PathLike, chunk_size: int = 1 << 20) -> str:
    """The MD5 of a file."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(fpath, "rb") as file:
        while chunk := file.read(chunk_size):
            digest.update(chunk)
    return digest.hexdigest()


def check_md5(fpath: str | os.PathLike, md5: str, **kwargs: Any) -> bool:
    """Whether a file has this MD5."""
    return md5 == calculate_md5(fpath, **kwargs)


def check_integrity(fpath: str | os.PathLike, md5: str | None = None) -> bool:
    """Whether a file exists and, if one is given, has this MD5."""
    return os.path.isfile(fpath) and (md5 is None or check_md5(fpath, md5))


def download_url(
    url: str, root: str | os.PathLike, filename: str | None = None, md5: str | None = None, max_redirect_hops: int = 3
) -> None:
    """Download a file into ``root`` unless it is there already; it appears once it is whole and its MD5 is right.

    Raises RuntimeError if the MD5 is wrong, urllib.error.URLError, which names the file to put there, if it cannot be
    fetched.
    """
    root = os.path.expanduser(root)
    path = os.path.join(root, filename or os.path.basename(url))
    os.makedirs(root, exist_ok=True)
    if check_integrity(path, md5):
        return
    print(f"Downloading {url} to {path}", file=sys.stderr)
    part = f"{path}.{os.getpid()}.partial"
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "pytorchlike/vision"})
        try:
            with urllib.request.urlopen(request) as source, open(part, "wb") as file:
                _copy(source, file, int(source.headers.get("Content-Length") or 0))
        except urllib.error.URLError as error:
            raise urllib.error.URLError(
                f"{error.reason} (while fetching {url}; without a network, put the file at {path} yourself)"
            ) from error
        if not check_integrity(part, md5):
            raise RuntimeError(f"File not found or corrupted: {url} has MD5 {calculate_md5(part)}, expected {md5}")
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)


def _copy(source: Any, file: Any, length: int) -> None:
    done, shown = 0, sys.stderr.isatty()
    while chunk := source.read(1 << 18):
        file.write(chunk)
        done += len(chunk)
        if shown:
            share = f" {100 * done / length:3.0f}%" if length else ""
            print(f"\r{done / 2**20:.1f} MiB{share}", end="", file=sys.stderr)
    if shown:
        print(file=sys.stderr)
    if length and done != length:
        raise urllib.error.URLError(f"the connection ended after {done} of {length} bytes")


def _tars(path: str) -> bool:
    return path.endswith((".tar", ".tgz", ".tbz", ".tar.gz", ".tar.bz2", ".tar.xz"))


def extract_archive(
    from_path: str | os.PathLike, to_path: str | os.PathLike | None = None, remove_finished: bool = False
) -> str:
    """Unpack a tar or zip archive, or a gz, bz2 or xz file, beside it or into ``to_path``; members stay below it.

    Returns where it was unpacked. Raises RuntimeError for other endings.
    """
    path = os.fspath(from_path)
    target = os.fspath(to_path) if to_path is not None else os.path.dirname(path)
    if _tars(path):
        with tarfile.open(path) as archive:
            archive.extractall(target, filter="data")
    elif path.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(target)
    else:
        stem, ending = os.path.splitext(path)
        opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(ending)
        if opener is None:
            raise RuntimeError(f"Unknown compression or archive type: '{ending}' of {path}")
        target = stem if to_path is None else os.path.join(target, os.path.basename(stem))
        part = f"{target}.{os.getpid()}.partial"
        try:
            with opener(path, "rb") as source, open(part, "wb") as file:
                shutil.copyfileobj(source, file)
            os.replace(part, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(part)
    if remove_finished:
        os.remove(path)
    return target


def download_and_extract_archive(
    url: str, download_root: str | os.PathLike, extract_root: str | os.PathLike | None = None,
    filename: str | None = None, md5: str | None = None, remove_finished: bool = False,
) -> None:  # fmt: skip
    """``download_url``, then ``extract_archive``."""
    download_root = os.path.expanduser(download_root)
    filename = filename or os.path.basename(url)
    download_url(url, download_root, filename, md5)
    extract_archive(os.path.join(download_root, filename), extract_root or download_root, remove_finished)


def verify_str_arg(value: Any, arg: str | None = None, valid_values: Any = None, custom_msg: str | None = None) -> Any:
    """``value`` if it is a string and one of ``valid_values``; ValueError otherwise."""
    named = f" for argument {arg}" if arg else ""
    if not isinstance(value, str):
        raise ValueError(f"Expected type str{named}, but got type {type(value)}.")
    if valid_values is not None and value not in valid_values:
        known = '", "'.join(valid_values)
        raise ValueError(custom_msg or f"Unknown value '{value}'{named}. Valid values are {{\"{known}\"}}.")
    return value


_ALLOWED = {
    ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"), ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"), ("numpy._core.numeric", "_frombuffer"), ("numpy.core.numeric", "_frombuffer"),
}  # fmt: skip


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"the file wants {module}.{name}; data sets hold lists, dicts, numbers, strings and NumPy arrays only"
            )
        if module.startswith("numpy.core"):
            module = "numpy._core" + module[len("numpy.core") :]
        return super().find_class(module, name)


def load_matlab(path: str | os.PathLike, **options: Any) -> dict[str, Any]:
    """What a file of MATLAB's holds, see ``scipy.io.loadmat``. ImportError without SciPy."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError(f"{path} is in MATLAB's format, which SciPy reads: pip install scipy") from error
    return loadmat(path, **options)


def load_plain_pickle(path: str | os.PathLike) -> Any:
    """A pickle of plain data and NumPy arrays; pickle.UnpicklingError if it holds anything else (it could be code)."""
    with open(path, "rb") as file:
        return _Plain(file, encoding="latin1").load()
