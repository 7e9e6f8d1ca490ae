"""Data sets of read or spoken words: SpeechCommands, LibriSpeech and its kin."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ... import Tensor
from ._base import AudioDataset, fetch, load

__all__ = ["LIBRISPEECH", "LIBRITTS", "LJSPEECH", "SPEECHCOMMANDS", "LibriLightLimited", "YESNO"]

_OPENSLR = "http://www.openslr.org/resources"


class SPEECHCOMMANDS(AudioDataset):
    """Single words of one second (Warden 2018, arXiv:1804.03209).

    Items: (waveform (1, time), rate, label, speaker, number of the utterance).
    subset: "training", "validation", "testing" by the lists in the archive; None: all.
    Raises RuntimeError if the files are missing.
    """

    def __init__(
        self, root: str | os.PathLike, url: str = "speech_commands_v0.02",
        folder_in_archive: str = "SpeechCommands", download: bool = False, subset: str | None = None,
    ) -> None:  # fmt: skip
        if subset not in (None, "training", "validation", "testing"):
            raise ValueError("When `subset` is not None, it must be one of {'training', 'validation', 'testing'}.")
        if url in ("speech_commands_v0.01", "speech_commands_v0.02"):
            url = f"https://storage.googleapis.com/download.tensorflow.org/data/{url}.tar.gz"
        name = os.path.basename(url).removesuffix(".tar.gz")
        self._archive = Path(root).expanduser()
        self._path = self._archive / folder_in_archive / name
        if download and not self._path.is_dir():
            from ...vision.datasets.utils import download_and_extract_archive

            download_and_extract_archive(url, os.fspath(self._archive), os.fspath(self._path))
        self._require(self._path, url)

        def listed(which: str) -> list[str]:
            text = (self._path / which).read_text(encoding="utf-8")
            return [os.path.normpath(self._path / line.strip()) for line in text.splitlines() if line.strip()]

        if subset in ("validation", "testing"):
            self._walker = listed(f"{subset}_list.txt")
        else:
            taken = set(listed("validation_list.txt") + listed("testing_list.txt")) if subset else set()
            found = sorted(str(p) for p in self._path.glob("*/*.wav"))
            self._walker = [p for p in found if "_nohash_" in p and os.path.normpath(p) not in taken]

    def get_metadata(self, n: int) -> tuple[str, int, str, str, int]:
        """An item with its path, relative to the archive's folder, instead of the waveform."""
        path = Path(self._walker[n])
        speaker, number = re.fullmatch(r"(.*)_nohash_(\d+)", path.stem).groups()  # type: ignore[union-attr]
        return os.path.relpath(path, self._archive), 16000, path.parent.name, speaker, int(number)

    def __getitem__(self, n: int) -> tuple[Tensor, int, str, str, int]:
        relative, rate, *rest = self.get_metadata(n)
        return load(self._archive / relative, rate), rate, *rest  # type: ignore[return-value]


class YESNO(AudioDataset):
    """60 recordings of eight Hebrew words, yes (1) or no (0). Items: (waveform, rate, list of 8 labels)."""

    def __init__(
        self, root: str | os.PathLike, url: str = f"{_OPENSLR}/1/waves_yesno.tar.gz",
        folder_in_archive: str = "waves_yesno", download: bool = False,
    ) -> None:  # fmt: skip
        self._path = Path(root).expanduser() / folder_in_archive
        if download and not self._path.is_dir():
            fetch(url, Path(root).expanduser())
        self._require(self._path, url)
        self._walker = sorted(p.stem for p in self._path.glob("*.wav"))

    def __getitem__(self, n: int) -> tuple[Tensor, int, list[int]]:
        name = self._walker[n]
        return load(self._path / f"{name}.wav", 8000), 8000, [int(c) for c in name.split("_")]


class LIBRISPEECH(AudioDataset):
    """Read English books (Panayotov et al. 2015).

    Items: (waveform, rate, transcript, speaker, chapter, utterance).
    url: the part: "train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "dev-other", "test-clean",
    "test-other".
    """

    _parts = ("dev-clean", "dev-other", "test-clean", "test-other", "train-clean-100", "train-clean-360",
              "train-other-500")  # fmt: skip
    _ending, _rate = ".flac", 16000

    def __init__(
        self, root: str | os.PathLike, url: str = "train-clean-100", folder_in_archive: str = "LibriSpeech",
        download: bool = False,
    ) -> None:  # fmt: skip
        if url not in self._parts:
            raise ValueError(f"Invalid url '{url}' given; please provide one of {list(self._parts)}.")
        self._archive, self._url = Path(root).expanduser() / folder_in_archive, url
        self._path = self._archive / url
        source = f"{_OPENSLR}/12/{url}.tar.gz"
        if download and not self._path.is_dir():
            fetch(source, Path(root).expanduser())
        self._require(self._path, source)
        self._walker = sorted(p.stem for p in self._path.glob(f"*/*/*{self._ending}"))

    def get_metadata(self, n: int) -> tuple[str, int, str, int, int, int]:
        """An item with its path, relative to the archive's folder, instead of the waveform."""
        name = self._walker[n]
        speaker, chapter, utterance = name.split("-")
        folder = Path(self._url) / speaker / chapter
        text = (self._archive / folder / f"{speaker}-{chapter}.trans.txt").read_text(encoding="utf-8")
        for line in text.splitlines():
            key, _, transcript = line.strip().partition(" ")
            if key == name:
                path = str(folder / f"{name}{self._ending}")
                return path, self._rate, transcript, int(speaker), int(chapter), int(utterance)
        raise FileNotFoundError(f"Translation not found for {name} in {folder}")

    def __getitem__(self, n: int) -> tuple[Tensor, int, str, int, int, int]:
        relative, rate, *rest = self.get_metadata(n)
        return load(self._archive / relative, rate), rate, *rest  # type: ignore[return-value]


class LIBRITTS(AudioDataset):
    """LibriSpeech for synthesis, 24 kHz (Zen et al. 2019).

    Items: (waveform, rate, original text, normalized text, speaker, chapter, utterance).
    """

    def __init__(
        self, root: str | os.PathLike, url: str = "train-clean-100", folder_in_archive: str = "LibriTTS",
        download: bool = False,
    ) -> None:  # fmt: skip
        if url not in LIBRISPEECH._parts:
            raise ValueError(f"Invalid url '{url}' given; please provide one of {list(LIBRISPEECH._parts)}.")
        self._path = Path(root).expanduser() / folder_in_archive / url
        source = f"{_OPENSLR}/60/{url}.tar.gz"
        if download and not self._path.is_dir():
            fetch(source, Path(root).expanduser())
        self._require(self._path, source)
        self._walker = sorted(p.stem for p in self._path.glob("*/*/*.wav"))

    def __getitem__(self, n: int) -> tuple[Tensor, int, str, str, int, int, str]:
        name = self._walker[n]
        speaker, chapter, *_ = name.split("_")
        stem = self._path / speaker / chapter / name
        texts = [Path(f"{stem}{e}").read_text(encoding="utf-8").strip() for e in (".original.txt", ".normalized.txt")]
        return load(f"{stem}.wav", 24000), 24000, texts[0], texts[1], int(speaker), int(chapter), name


class LJSPEECH(AudioDataset):
    """One English reader, 13,100 clips (Ito & Johnson 2017).

    Items: (waveform, rate, transcript, normalized transcript).
    """

    def __init__(
        self, root: str | os.PathLike, url: str = "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
        folder_in_archive: str = "wavs", download: bool = False,
    ) -> None:  # fmt: skip
        base = Path(root).expanduser() / os.path.basename(url).removesuffix(".tar.bz2")
        if download and not base.is_dir():
            fetch(url, Path(root).expanduser())
        self._path, lines = self._require(base, url) / folder_in_archive, (base / "metadata.csv")
        text = lines.read_text(encoding="utf-8").splitlines()
        self._walker = [line.split("|") for line in text if line]

    def __getitem__(self, n: int) -> tuple[Tensor, int, str, str]:
        name, transcript, normalized = self._walker[n]
        return load(self._path / f"{name}.wav", 22050), 22050, transcript, normalized


class LibriLightLimited(LIBRISPEECH):
    """The parts of Libri-Light with transcripts: "10min", "1h" or "10h" (Kahn et al. 2020). Items as LIBRISPEECH's."""

    _folders = {"10min": ("1h/0",), "1h": ("1h/*",), "10h": ("1h/*", "9h")}

    def __init__(self, root: str | os.PathLike, subset: str = "10min", download: bool = False) -> None:
        if subset not in self._folders:
            raise ValueError(f"`subset` must be one of {sorted(self._folders)}. Found: {subset}")
        base = Path(root).expanduser()
        url = "https://dl.fbaipublicfiles.com/librilight/data/librispeech_finetuning.tgz"
        self._archive = base / "librispeech_finetuning"
        if download and not self._archive.is_dir():
            fetch(url, base)
        self._require(self._archive, url)
        found = [p for f in self._folders[subset] for p in self._archive.glob(f"{f}/*/*/*/*.flac")]
        self._walker = sorted(found, key=str)

    def get_metadata(self, n: int) -> tuple[str, int, str, int, int, int]:
        """An item with its path, relative to the archive's folder, instead of the waveform."""
        path = self._walker[n]
        speaker, chapter, utterance = path.stem.split("-")
        for line in (path.parent / f"{speaker}-{chapter}.trans.txt").read_text(encoding="utf-8").splitlines():
            key, _, transcript = line.strip().partition(" ")
            if key == path.stem:
                relative = os.path.relpath(path, self._archive)
                return relative, self._rate, transcript, int(speaker), int(chapter), int(utterance)
        raise FileNotFoundError(f"Translation not found for {path.stem} in {path.parent}")
