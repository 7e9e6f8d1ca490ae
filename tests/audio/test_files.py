"""Files are read and written as torchaudio does, and data sets find theirs."""

import io

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import audio
from pytorchlike.audio import datasets

pytest.importorskip("soundfile")


def _wave(channels=2, length=200):
    return torch.tensor(np.random.default_rng(0).uniform(-0.9, 0.9, (channels, length)).astype(np.float32))


def _put(path, rate=16000, length=160, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.save(path, _wave(channels, length), rate, bits_per_sample=16)


def test_a_file_comes_back(tmp_path):
    wave, path = _wave(), tmp_path / "a.wav"
    audio.save(path, wave, 8000)
    found, rate = audio.load(path)
    assert rate == 8000 and found.dtype == torch.float32 and torch.equal(found, wave)
    assert torch.equal(audio.load(str(path), frame_offset=20, num_frames=50)[0], wave[:, 20:70])
    assert torch.equal(audio.load(path, channels_first=False)[0], wave.T)
    assert audio.info(path) == audio.AudioMetaData(8000, 200, 2, 32, "PCM_F")
    audio.save(path, wave.T, 8000, channels_first=False, encoding="PCM_S", bits_per_sample=16)
    assert audio.info(path).encoding == "PCM_S" and audio.info(path).bits_per_sample == 16
    assert float((audio.load(path)[0] - wave).abs().max()) < 1e-4


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32"])
def test_integers_stay_integers(tmp_path, kind):
    limits = np.iinfo(kind)
    wave = torch.tensor(np.linspace(limits.min, limits.max, 64).astype(kind)[None])
    audio.save(tmp_path / "a.wav", wave, 8000)
    found, _ = audio.load(tmp_path / "a.wav", normalize=False)
    assert found.dtype == wave.dtype and torch.equal(found, wave)


@pytest.mark.parametrize("kind", ["flac", "ogg"])
def test_other_formats_and_file_objects(kind):
    file = io.BytesIO()
    audio.save(file, _wave(1, 4000) * 0.1, 16000, format=kind)
    file.seek(0)
    assert audio.info(file).encoding == {"flac": "FLAC", "ogg": "VORBIS"}[kind]
    file.seek(0)
    found, rate = audio.load(file)
    assert found.shape == (1, 4000) and rate == 16000


def test_what_cannot_be_read_or_written(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.wav"):
        audio.load(tmp_path / "missing.wav")
    (tmp_path / "text.wav").write_text("not sound")
    with pytest.raises(RuntimeError, match="cannot be read"):
        audio.load(tmp_path / "text.wav")
    with pytest.raises(ValueError, match="2D"):
        audio.save(tmp_path / "a.wav", torch.zeros(3), 8000)
    with pytest.raises(ValueError, match="flac does not support 32"):
        audio.save(tmp_path / "a.flac", _wave(), 8000, bits_per_sample=32)
    with pytest.raises(RuntimeError, match="sox"):
        audio.set_audio_backend("sox")
    assert audio.list_audio_backends() == ["soundfile"]


def test_speech_commands(tmp_path):
    base = tmp_path / "SpeechCommands" / "speech_commands_v0.02"
    for name in ("bed/0a_nohash_0", "bed/1b_nohash_1", "cat/0a_nohash_0", "cat/2c_nohash_2", "_background_noise_/x"):
        _put(base / f"{name}.wav")
    (base / "validation_list.txt").write_text("cat/0a_nohash_0.wav\n")
    (base / "testing_list.txt").write_text("bed/1b_nohash_1.wav\n")
    every = datasets.SPEECHCOMMANDS(tmp_path)
    train = datasets.SPEECHCOMMANDS(tmp_path, subset="training")
    assert len(every) == 4 and len(train) == 2
    wave, rate, label, speaker, number = train[1]
    assert wave.shape == (1, 160) and (rate, label, speaker, number) == (16000, "cat", "2c", 2)
    assert datasets.SPEECHCOMMANDS(tmp_path, subset="testing")[0][2:] == ("bed", "1b", 1)
    with pytest.raises(ValueError, match="subset"):
        datasets.SPEECHCOMMANDS(tmp_path, subset="train")
    with pytest.raises(RuntimeError, match="doesn't exist"):
        datasets.SPEECHCOMMANDS(tmp_path / "elsewhere")


def test_other_data_sets(tmp_path):
    _put(tmp_path / "waves_yesno" / "0_1_0_1_1_0_0_1.wav", 8000)
    assert datasets.YESNO(tmp_path)[0][1:] == (8000, [0, 1, 0, 1, 1, 0, 0, 1])
    chapter = tmp_path / "LibriSpeech" / "dev-clean" / "84" / "121"
    _put(chapter / "84-121-0001.flac")
    (chapter / "84-121.trans.txt").write_text("84-121-0000 NO\n84-121-0001 GO ON\n")
    assert datasets.LIBRISPEECH(tmp_path, "dev-clean")[0][1:] == (16000, "GO ON", 84, 121, 1)
    for i in (0, 70):
        _put(tmp_path / "genres" / "jazz" / f"jazz.{i:05d}.wav", 22050)
    assert [len(datasets.GTZAN(tmp_path, subset=s)) for s in (None, "training", "validation")] == [2, 1, 1]
    assert datasets.GTZAN(tmp_path)[0][2] == "jazz"
    clips = tmp_path / "cv"
    _put(clips / "clips" / "a.wav", 48000)
    (clips / "train.tsv").write_text("client_id\tpath\tsentence\n7\ta.wav\tHello.\n")
    assert datasets.COMMONVOICE(clips)[0][2]["sentence"] == "Hello."
    _put(tmp_path / "LJSpeech-1.1" / "wavs" / "LJ1.wav", 22050)
    (tmp_path / "LJSpeech-1.1" / "metadata.csv").write_text("LJ1|Dr. No|Doctor No\n")
    assert datasets.LJSPEECH(tmp_path)[0][2:] == ("Dr. No", "Doctor No")


class _Features(torch.utils.data.Dataset):
    """Spectrograms and filtered sound, computed where the loader's workers run."""

    def __init__(self, path):
        self.path, self.mel = path, audio.transforms.MelSpectrogram(16000, 64, n_mels=8)

    def __len__(self):
        return 4

    def __getitem__(self, i):
        wave, rate = audio.load(self.path)
        wave = audio.functional.lowpass_biquad(wave, rate, 1000.0 + 100 * i)
        return self.mel(audio.functional.resample(wave, rate, 8000))


def test_features_are_computed_in_workers(tmp_path):
    _put(tmp_path / "a.wav")
    data = _Features(tmp_path / "a.wav")
    here = torch.stack([data[i] for i in range(4)])
    (there,) = torch.utils.data.DataLoader(data, batch_size=4, num_workers=1)
    assert torch.allclose(here, there, rtol=1e-4, atol=1e-4)
