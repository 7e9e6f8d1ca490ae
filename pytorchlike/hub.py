"""``torch.hub``: models from a ``hubconf.py``, and files of weights, kept in a cache.

``hub.load(path, name, source="local")`` takes a directory; a GitHub repository is downloaded as an archive. Either way
its ``hubconf.py`` is run, with ``import torch`` meaning this package.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
import warnings
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlparse as urlparse

__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]

_state: dict[str, str | None] = {"dir": None}
#: The beginning of the SHA-256 in a file's name.
HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")
_list = list


def _get_torch_home() -> str:
    """``$TORCH_HOME``, else ``~/.cache/torch``."""
    home = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return os.path.expanduser(home)


def get_dir() -> str:
    """Where files are kept: what ``set_dir`` said, else ``$TORCH_HOME/hub``, else ``~/.cache/torch/hub``."""
    return _state["dir"] if _state["dir"] is not None else os.path.join(_get_torch_home(), "hub")


def set_dir(d: str | os.PathLike) -> None:
    """Keep files in this directory."""
    _state["dir"] = os.path.expanduser(d)


# -- files --------------------------------------------------------------------------------------------------------


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Download a file; ``dst`` appears once it is whole.

    url: http, https or file.   hash_prefix: what the file's SHA-256 must begin with.   progress: a line on stderr that
    shows how far it is.

    Raises RuntimeError if the hash is wrong, urllib.error.URLError if the file cannot be fetched.
    """
    dst = os.path.expanduser(dst)
    os.makedirs(os.path.dirname(dst) or ".", exist_ok=True)
    part = f"{dst}.{os.getpid()}.partial"
    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers={"User-Agent": "torch.hub"})
    try:
        with urllib.request.urlopen(request) as source, open(part, "wb") as file:
            length = int(source.headers.get("Content-Length") or 0)
            done = 0
            while chunk := source.read(1 << 18):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if progress and sys.stderr.isatty():
                    told = f"{100 * done / length:3.0f}%" if length else ""
                    print(f"\r{done / 2**20:.1f} MiB {told}", end="", file=sys.stderr)
            if progress and sys.stderr.isatty():
                print(file=sys.stderr)
        if hash_prefix is not None and not digest.hexdigest().startswith(hash_prefix):
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{digest.hexdigest()}") of {url}')
        os.replace(part, dst)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)


def load_state_dict_from_url(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True, check_hash: bool = False,
    file_name: str | None = None, weights_only: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """``torch.load`` of a file that is downloaded unless it lies in ``model_dir`` (``get_dir()/checkpoints``) already.

    check_hash: the file's name ends in ``-<hash>.ext``, the beginning of its SHA-256, which is compared.
    file_name:  the name to keep it under; that of the URL by default.
    weights_only: as of ``torch.load``; False, PyTorch's default here, can run code in the file.

    A zip archive of one file, as very old ones are, is unpacked.
    """
    from .serialization import load

    model_dir = os.path.join(get_dir(), "checkpoints") if model_dir is None else os.path.expanduser(model_dir)
    name = file_name or os.path.basename(urlparse(url).path)
    path = os.path.join(model_dir, name)
    if not os.path.exists(path):
        print(f'Downloading: "{url}" to {path}', file=sys.stderr)
        match = HASH_REGEX.search(name) if check_hash else None
        try:
            download_url_to_file(url, path, match[1] if match else None, progress)
        except urllib.error.URLError as error:
            raise urllib.error.URLError(
                f"{error.reason} (while fetching {url}; without a network, put the file at {path} yourself)"
            ) from error
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) == 1 and not names[0].endswith(("data.pkl", "/")):
                inner = os.path.basename(names[0])
                with archive.open(names[0]) as source, open(os.path.join(model_dir, inner), "wb") as file:
                    shutil.copyfileobj(source, file)
                path = os.path.join(model_dir, inner)
    return load(path, map_location=map_location, weights_only=weights_only)


# -- repositories ---------------------------------------------------------------------------------------------------


def _github(repo: str) -> tuple[str, str, str | None]:
    """Owner, name and reference of ``owner/name[:reference]``."""
    match = re.fullmatch(r"([\w.-]+)/([\w.-]+)(?::([^:]+))?", repo)
    if match is None:
        raise ValueError(f"expected a repository as 'owner/name' or 'owner/name:reference', got {repo!r}")
    return match[1], match[2], match[3]


def _repository(repo: str, source: str, force_reload: bool, trust_repo: Any, verbose: bool, skip: bool) -> str:
    """The directory of a repository, downloaded if it must be."""
    if source == "local":
        return os.path.expanduser(repo)
    if source != "github":
        raise ValueError(f'Unknown source: "{source}". Allowed values: "github" | "local".')
    owner, name, ref = _github(repo)
    folder = Path(get_dir()) / "_".join((owner, name, (ref or "default").replace("/", "_")))
    if folder.exists() and not force_reload:
        if verbose:
            print(f"Using cache found in {folder}", file=sys.stderr)
        return str(folder)
    _trust(owner, name, trust_repo)
    for branch in (ref,) if ref else ("main", "master"):
        url = f"https://github.com/{owner}/{name}/zipball/{branch}"
        with tempfile.TemporaryDirectory(dir=_made(get_dir())) as temporary:
            archive = os.path.join(temporary, "repository.zip")
            try:
                download_url_to_file(url, archive, progress=verbose)
            except urllib.error.HTTPError as error:
                if error.code == 404 and branch == "main":
                    continue
                raise
            with zipfile.ZipFile(archive) as file:
                file.extractall(temporary)
                top = file.namelist()[0].split("/")[0]
            shutil.rmtree(folder, ignore_errors=True)
            shutil.move(os.path.join(temporary, top), folder)
        return str(folder)
    raise RuntimeError(f"{owner}/{name} has neither a branch 'main' nor 'master'; say which as '{repo}:branch'")


def _made(path: str) -> str:
    os.makedirs(path, exist_ok=True)
    return path


def _trust(owner: str, name: str, trust_repo: Any) -> None:
    """Ask before the code of a repository is run for the first time; remember who said yes."""
    known = Path(get_dir()) / "trusted_list"
    label = f"{owner}_{name}"
    if trust_repo is True or (known.exists() and label in known.read_text().split()):
        pass
    elif trust_repo in (False, "check"):
        answer = input(
            f"The repository {owner}/{name} does not belong to the list of trusted repositories; its code "
            f"will "

                       "be run. Do you trust it? (y/N) ")  # fmt: skip
        if answer.strip().lower() not in ("y", "yes"):
            raise RuntimeError(f"Untrusted repository: {owner}/{name}")
    elif trust_repo is None:
        warnings.warn(
            f"You are about to download and run code from an untrusted repository ({owner}/{name}); pass "
            f"trust_repo=True "
            "if you trust it",
            UserWarning,
            stacklevel=4,
        )
        return
    else:
        raise ValueError(f"trust_repo must be a bool, 'check' or None, got {trust_repo!r}")
    _made(get_dir())
    if not known.exists() or label not in known.read_text().split():
        with open(known, "a") as file:
            file.write(label + "\n")


def _hubconf(folder: str) -> Any:
    """The module ``hubconf.py`` of a directory, run with ``import torch`` meaning this package."""
    from . import _hook

    path = os.path.join(folder, "hubconf.py")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no hubconf.py in {folder}")
    if not _hook.is_installed():
        _hook.install_as_torch()
    sys.path.insert(0, folder)
    try:
        spec = importlib.util.spec_from_file_location("hubconf", path)
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    finally:
        sys.path.remove(folder)
    absent = [each for each in getattr(module, "dependencies", []) if importlib.util.find_spec(each) is None]
    if absent:
        raise RuntimeError(f"Missing dependencies: {', '.join(absent)}")
    return module


def _entry(module: Any, name: str) -> Any:
    if not isinstance(name, str):
        raise ValueError("Invalid input: model should be a string of function name")
    found = getattr(module, name, None)
    if not callable(found):
        raise RuntimeError(f"Cannot find callable {name} in hubconf")
    return found


def list(
    github: str, force_reload: bool = False, skip_validation: bool = False, trust_repo: Any = "check",
    verbose: bool = True, source: str = "github",
) -> _list[str]:  # fmt: skip
    """Names of what a repository's ``hubconf.py`` offers; ``github`` is a directory if ``source`` is 'local'."""
    module = _hubconf(_repository(github, source, force_reload, trust_repo, verbose, skip_validation))
    return [name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("_")]


def help(
    github: str, model: str, force_reload: bool = False, skip_validation: bool = False, trust_repo: Any = "check",
    source: str = "github",
) -> str | None:  # fmt: skip
    """The docstring of an entry of a repository's ``hubconf.py``."""
    module = _hubconf(_repository(github, source, force_reload, trust_repo, True, skip_validation))
    return _entry(module, model).__doc__


def load(
    repo_or_dir: str, model: str, *args: Any, source: str = "github", trust_repo: Any = "check",
    force_reload: bool = False, verbose: bool = True, skip_validation: bool = False, **kwargs: Any,
) -> Any:  # fmt: skip
    """What the entry ``model`` of a repository's ``hubconf.py`` returns for the further arguments.

    repo_or_dir: ``owner/name[:branch or tag]``, or a directory if ``source`` is 'local'.
    trust_repo:  True, or 'check' and False to be asked, None for a warning; only for downloads.
    skip_validation: accepted; references are not looked up at GitHub before they are downloaded.

    Raises FileNotFoundError without a hubconf.py, RuntimeError without such an entry or with missing dependencies.
    """
    module = _hubconf(_repository(repo_or_dir, source, force_reload, trust_repo, verbose, skip_validation))
    return _entry(module, model)(*args, **kwargs)


def __getattr__(name: str) -> Any:
    if name == "tqdm":  # programs take their progress bars from here
        from tqdm import tqdm

        return tqdm
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
