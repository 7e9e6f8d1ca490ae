"""Data sets of music, of many speakers, and of pronunciations."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from ... import Tensor
from ...utils.data import Dataset
from ._base import AudioDataset, fetch, load

__all__ = ["CMUARCTIC", "COMMONVOICE", "GTZAN", "CMUDict", "VCTK_092"]

_GENRES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]


class GTZAN(AudioDataset):
    """Ten genres of music, 30 seconds each (Tzanetakis & Cook 2002). Items: (waveform, rate, genre).

    subset: None (all), or "training", "validation", "testing": of each genre the first 60, next 20 and last 20 tracks.
    torchaudio's subsets are lists that leave out faulty tracks; ``<subset>_filtered.txt`` in ``root`` is used if there.
    """

    def __init__(
        self, root: str | os.PathLike, url: str = "http://opihi.cs.uvic.ca/sound/genres.tar.gz",
        folder_in_archive: str = "genres", download: bool = False, subset: str | None = None,
    ) -> None:  # fmt: skip
        if subset not in (None, "training", "validation", "testing"):
            raise ValueError("When `subset` is not None, it must be one of {'training', 'validation', 'testing'}.")
        base = Path(root).expanduser()
        self._path = base / folder_in_archive
        if download and not self._path.is_dir():
            fetch(url, base)
        self._require(self._path, url)
        chosen = base / f"{subset}_filtered.txt"
        if subset is not None and chosen.is_file():
            lines = chosen.read_text(encoding="utf-8").split()
            self._walker = sorted(Path(line).stem for line in lines)
            return
        first, last = {None: (0, 100), "training": (0, 60), "validation": (60, 80), "testing": (80, 100)}[subset]
        self._walker = sorted(
            p.stem for g in _GENRES for p in (self._path / g).glob(f"{g}.*.wav")
            if first <= int(p.stem.split(".")[1]) < last
        )  # fmt: skip

    def __getitem__(self, n: int) -> tuple[Tensor, int, str]:
        name = self._walker[n]
        genre = name.split(".")[0]
        return load(self._path / genre / f"{name}.wav", 22050), 22050, genre


class COMMONVOICE(Dataset):
    """Mozilla's recordings of many speakers; they are downloaded from its site, which wants an e-mail address.

    root: the folder with ``clips`` and the .tsv files.   tsv: which of them.
    Items: (waveform, rate, dict of the file's columns).
    """

    def __init__(self, root: str | os.PathLike, tsv: str = "train.tsv") -> None:
        self._path = Path(root).expanduser()
        with open(self._path / tsv, encoding="utf-8", newline="") as file:
            walker = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            self._header = next(walker)
            self._walker = list(walker)
        if "path" not in self._header:
            raise ValueError(f"expected a column `path` in {tsv}, got {self._header}")

    def __len__(self) -> int:
        return len(self._walker)

    def __getitem__(self, n: int) -> tuple[Tensor, int, dict[str, str]]:
        from .._io import load as read

        row = dict(zip(self._header, self._walker[n], strict=False))
        name = row["path"] if row["path"].endswith((".mp3", ".wav")) else f"{row['path']}.mp3"
        waveform, rate = read(self._path / "clips" / name)
        return waveform, rate, row


class CMUARCTIC(AudioDataset):
    """One speaker's 1150 utterances (Kominek & Black 2003). Items: (waveform, rate, transcript, name).

    url: the speaker, e.g. "aew", "bdl", "slt".
    """

    def __init__(
        self, root: str | os.PathLike, url: str = "aew", folder_in_archive: str = "ARCTIC", download: bool = False
    ) -> None:
        name = f"cmu_us_{url}_arctic"
        base = Path(root).expanduser() / folder_in_archive
        self._path = base / name
        source = f"http://festvox.org/cmu_arctic/packed/{name}.tar.bz2"
        if download and not self._path.is_dir():
            fetch(source, base)
        self._require(self._path, source)
        text = (self._path / "etc" / "txt.done.data").read_text(encoding="utf-8").splitlines()
        self._walker = [line.strip()[2:-2].split(" ", maxsplit=1) for line in text if line.strip()]

    def __getitem__(self, n: int) -> tuple[Tensor, int, str, str]:
        name, transcript = self._walker[n]
        waveform = load(self._path / "wav" / f"{name}.wav", 16000)
        return waveform, 16000, transcript.strip().strip('"'), name.split("_")[1]


class VCTK_092(AudioDataset):
    """110 speakers of English with accents (Yamagishi et al. 2019). Items: (waveform, rate, transcript, speaker, name).

    mic_id: "mic1" or "mic2".   Speaker p280 has no second microphone, p315 no transcripts; both are left out there.
    """

    def __init__(
        self, root: str | os.PathLike, mic_id: str = "mic2", download: bool = False,
        url: str = "https://datashare.is.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip",
        audio_ext: str = ".flac",
    ) -> None:  # fmt: skip
        if mic_id not in ("mic1", "mic2"):
            raise RuntimeError(f'`mic_id` has to be either "mic1" or "mic2". Found: {mic_id}')
        base = Path(root).expanduser()
        self._path, self._mic, self._ending = base / "VCTK-Corpus-0.92", mic_id, audio_ext
        if download and not self._path.is_dir():
            from ...vision.datasets.utils import download_and_extract_archive

            download_and_extract_archive(url, os.fspath(base), os.fspath(self._path))
        self._require(self._path, url)
        self._text, self._audio = self._path / "txt", self._path / "wav48_silence_trimmed"
        self._walker = []
        for folder in sorted(p for p in self._text.iterdir() if p.is_dir()):
            if folder.name == "p280" and mic_id == "mic2":
                continue
            for text in sorted(folder.glob("*.txt")):
                if (self._audio / folder.name / f"{text.stem}_{mic_id}{audio_ext}").is_file():
                    self._walker.append(text.stem.split("_"))

    def __getitem__(self, n: int) -> tuple[Tensor, int, str, str, str]:
        speaker, name = self._walker[n]
        stem = f"{speaker}_{name}"
        transcript = (self._text / speaker / f"{stem}.txt").read_text(encoding="utf-8").splitlines()[0]
        waveform = load(self._audio / speaker / f"{stem}_{self._mic}{self._ending}", 48000)
        return waveform, 48000, transcript, speaker, name


class CMUDict(Dataset):
    """Words and their phonemes in American English. Items: (word, list of phonemes).

    exclude_punctuations: leave out the entries that begin with a sign.
    """

    def __init__(
        self, root: str | os.PathLike, exclude_punctuations: bool = True, *, download: bool = False,
        url: str = "http://svn.code.sf.net/p/cmusphinx/code/trunk/cmudict/cmudict-0.7b",
        url_symbols: str = "http://svn.code.sf.net/p/cmusphinx/code/trunk/cmudict/cmudict-0.7b.symbols",
    ) -> None:  # fmt: skip
        base = Path(root).expanduser()
        paths = [base / os.path.basename(u) for u in (url, url_symbols)]
        for path, source in zip(paths, (url, url_symbols), strict=True):
            if not path.is_file():
                if not download:
                    raise RuntimeError(f"Dataset not found at {path}. Please use `download=True` to download it.")
                from ...vision.datasets.utils import download_url

                download_url(source, base)
        self._symbols = paths[1].read_text(encoding="utf-8").split()
        self._entries: list[tuple[str, list[str]]] = []
        for line in paths[0].read_text(encoding="latin-1").splitlines():
            if not line or line.startswith(";;;") or (exclude_punctuations and not line[0].isalpha()):
                continue
            word, *phonemes = line.strip().split()
            # the second pronunciation of a word is marked by a number in brackets
            self._entries.append((word.split("(")[0] if word[0].isalpha() else word, phonemes))

    @property
    def symbols(self) -> list[str]:
        """The phonemes there are."""
        return self._symbols.copy()

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, n: int) -> Any:
        return self._entries[n]
