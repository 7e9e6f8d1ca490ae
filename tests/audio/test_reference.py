"""Values, gradients and parameter names are torchaudio's (see ``tests/reference/make_audio.py``)."""

import warnings
from pathlib import Path

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import audio

with np.load(Path(__file__).parents[1] / "reference" / "audio.npz") as _file:
    _NAMES = list(_file.files)
#: Where the angles of spectra, wrapped and summed over time, make rounding visible.
_LOOSE = {"phase_vocoder": 2e-3, "bass_biquad": 2e-4, "MFCC": 1e-4, "LFCC": 1e-4, "spectrogram": 1e-4}


def _kind(kind):
    return sorted({n.split(" ", 1)[1].removesuffix(" gradient").rstrip("0123456789").rstrip() for n in _NAMES
                   if n.startswith(f"{kind} ")})  # fmt: skip


def _close(got, want, name, tolerance=2e-5):
    assert got.shape == want.shape and got.dtype == want.dtype, name
    scale = max(np.abs(want).max(initial=0.0), 1e-3)
    np.testing.assert_allclose(got, want, rtol=0, atol=_LOOSE.get(name, tolerance) * scale, err_msg=name)


@pytest.mark.parametrize("name", _kind("functional"))
def test_functional(name, cases, answers):
    made, gradient = cases.asked(torch, audio.functional, cases.FUNCTIONS[name])
    for i, y in enumerate(made):
        _close(y, answers[f"functional {name} {i}"], name)
    want = answers.get(f"functional {name} gradient")
    if want is not None:
        _close(gradient, want, name, 1e-4)


@pytest.mark.parametrize("name", _kind("transform"))
def test_transforms(name, cases, answers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # narrow filters between so few frequencies
        module = cases.TRANSFORMS[name](audio.transforms)
    _close(module(torch.tensor(cases.waveform())).numpy(), answers[f"transform {name}"], name)


@pytest.mark.parametrize("name", _kind("kaldi"))
def test_kaldi(name, cases, answers):
    made = cases.KALDI[name](audio.compliance.kaldi, torch.tensor(cases.waveform())[0])
    _close(made.numpy(), answers[f"kaldi {name}"], name, 1e-4)


@pytest.mark.parametrize("name", _kind("model"))
def test_models(name, cases, answers):
    make, arguments = cases.MODELS[name]
    model = cases.filled(torch, make(audio.models))
    assert [f"{k} {tuple(v.shape)}" for k, v in model.state_dict().items()] == list(answers[f"names {name}"])
    with torch.no_grad():
        made = model(*arguments(torch))
    _close((made[0] if isinstance(made, tuple) else made).numpy(), answers[f"model {name}"], name, 1e-4)
