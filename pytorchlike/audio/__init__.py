"""Sound: files, signal processing, data sets and models under torchaudio's names.

Under ``python -m pytorchlike`` and after ``install_as_torch()``, ``import torchaudio`` gives this package. SoundFile
(``pip install "pytorchlike[audio]"``) is imported when a file is first read or written.
"""

from .._hook import VERSIONS
from . import compliance, datasets, functional, models, pipelines, transforms, utils
from ._io import AudioMetaData, info, load, save

__all__ = [
    "AudioMetaData", "compliance", "datasets", "functional", "get_audio_backend", "info", "list_audio_backends",
    "load", "load_with_torchcodec", "models", "pipelines", "save", "save_with_torchcodec", "set_audio_backend",
    "transforms", "utils",
]  # fmt: skip

#: The torchaudio that is followed.
__version__ = VERSIONS["torchaudio"]

#: The names under which later torchaudio has the same functions.
load_with_torchcodec, save_with_torchcodec = load, save


def list_audio_backends() -> list[str]:
    """What reads files of sound: ["soundfile"], or nothing where it is not installed."""
    import importlib.util

    return ["soundfile"] if importlib.util.find_spec("soundfile") is not None else []


def get_audio_backend() -> str | None:
    """The first of :func:`list_audio_backends`, or None."""
    found = list_audio_backends()
    return found[0] if found else None


def set_audio_backend(backend: str | None) -> None:
    """Choose what reads files; there is "soundfile" only. RuntimeError for others, as for one that is not installed."""
    if backend not in (None, *list_audio_backends()):
        raise RuntimeError(f'Backend "{backend}" is not one of available backends: {list_audio_backends()}.')
