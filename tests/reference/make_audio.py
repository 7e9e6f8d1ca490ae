"""What torchaudio 2.11 answers: run it with PyTorch and torchaudio installed; it writes audio.npz.

    python tests/reference/make_audio.py

The cases below are asked of whichever library is handed in, so that the tests ask the same questions.
"""

import math
from pathlib import Path

import numpy as np

LENGTH = 300


def waveform():
    """(2, 1, LENGTH): tones and noise within [-0.6, 0.6]."""
    rng, t = np.random.default_rng(0), np.arange(LENGTH)
    tones = np.stack([np.sin(t * 0.21), np.sin(t * 0.05 + 1)])[:, None]
    return (0.3 * tones + 0.3 * rng.uniform(-1, 1, (2, 1, LENGTH))).astype(np.float32)


def drawn(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def complexes():
    return (drawn(3, 4, 12, seed=2) + 1j * drawn(3, 4, 12, seed=3)).astype(np.complex64)


def _window(torch):
    return torch.hann_window(32)


def _spectrum(torch, F, x, **given):
    return F.spectrogram(x, 0, _window(torch), 32, 8, 32, None, False, **given)


#: name -> function of (torch, F, waveform); gradients of the first result are compared, too.
FUNCTIONS = {
    "spectrogram": lambda torch, F, x: F.spectrogram(x, 2, _window(torch), 32, 8, 32, 2.0, True),
    "spectrogram complex": _spectrum,
    "inverse_spectrogram": lambda torch, F, x: F.inverse_spectrogram(
        _spectrum(torch, F, x), LENGTH, 0, _window(torch), 32, 8, 32, False
    ),
    "amplitude_to_DB": lambda torch, F, x: F.amplitude_to_DB(x.abs(), 10.0, 1e-10, 0.0, 20.0),
    "mu_law": lambda torch, F, x: F.mu_law_decoding(F.mu_law_encoding(x, 256), 256),
    "compute_deltas": lambda torch, F, x: F.compute_deltas(x),
    "sliding_window_cmn": lambda torch, F, x: F.sliding_window_cmn(x.reshape(2, 60, 5), 20, 8, True),
    "spectral_centroid": lambda torch, F, x: F.spectral_centroid(x, 16000, 0, _window(torch), 32, 8, 32),
    "phase_vocoder": lambda torch, F, x: F.phase_vocoder(
        _spectrum(torch, F, x), 1.3, torch.linspace(0, math.pi * 8, 17)[..., None]
    ).abs(),
    "resample": lambda torch, F, x: F.resample(x, 16000, 12000),
    "resample kaiser": lambda torch, F, x: F.resample(x, 8000, 11025, resampling_method="sinc_interp_kaiser"),
    "lfilter": lambda torch, F, x: F.lfilter(x, torch.tensor([1.0, -0.5, 0.2]), torch.tensor([0.3, 0.1, 0.4])),
    "lfilter bank": lambda torch, F, x: F.lfilter(
        x[0], torch.tensor([[1.0, -0.5, 0.2], [2.0, 0.5, 0.1]]), torch.tensor([[0.3, 0.1, 0.4], [1.0, 0.0, 0.0]]),
        clamp=False, batching=False,
    ),
    "filtfilt": lambda torch, F, x: F.filtfilt(x, torch.tensor([1.0, -0.5, 0.2]), torch.tensor([0.3, 0.1, 0.4])),
    "lowpass_biquad": lambda torch, F, x: F.lowpass_biquad(x, 16000, 300.0),
    "highpass_biquad": lambda torch, F, x: F.highpass_biquad(x, 16000, 3000.0, 0.8),
    "allpass_biquad": lambda torch, F, x: F.allpass_biquad(x, 16000, 1000.0),
    "band_biquad": lambda torch, F, x: F.band_biquad(x, 16000, 1000.0, 0.7, True),
    "bandpass_biquad": lambda torch, F, x: F.bandpass_biquad(x, 16000, 1000.0, 0.7, True),
    "bandreject_biquad": lambda torch, F, x: F.bandreject_biquad(x, 16000, 1000.0),
    "equalizer_biquad": lambda torch, F, x: F.equalizer_biquad(x, 16000, 1000.0, 6.0),
    "treble_biquad": lambda torch, F, x: F.treble_biquad(x, 16000, 6.0),
    "bass_biquad": lambda torch, F, x: F.bass_biquad(x, 16000, 6.0),
    "deemph_biquad": lambda torch, F, x: F.deemph_biquad(x, 44100),
    "riaa_biquad": lambda torch, F, x: F.riaa_biquad(x, 48000),
    "preemphasis": lambda torch, F, x: F.preemphasis(x),
    "deemphasis": lambda torch, F, x: F.deemphasis(x),
    "contrast": lambda torch, F, x: F.contrast(x),
    "overdrive": lambda torch, F, x: F.overdrive(x[:, 0].detach()),
    "phaser": lambda torch, F, x: F.phaser(x[:, 0], 8000),
    "flanger": lambda torch, F, x: F.flanger(
        x.reshape(1, 2, -1), 8000, 1.0, 3.0, 20.0, 50.0, 0.7, 30.0, "triangular", "quadratic"
    ),
    "dither": lambda torch, F, x: F.dither(x[:, 0].detach()),
    "add_noise": lambda torch, F, x: F.add_noise(
        x, torch.tensor(drawn(2, 1, LENGTH)), torch.tensor([[10.0], [3.0]]), torch.tensor([[300.0], [200.0]])
    ),
    "convolve": lambda torch, F, x: F.convolve(x, torch.tensor(drawn(2, 1, 30)), "same"),
    "fftconvolve": lambda torch, F, x: F.fftconvolve(x, torch.tensor(drawn(2, 1, 30)), "valid"),
    "pitch": lambda torch, F, x: F.detect_pitch_frequency(
        torch.sin(torch.arange(8000) / 16000 * 2 * math.pi * 220)[None], 16000
    ),
    "rnnt_loss": lambda torch, F, x: F.rnnt_loss(
        x.reshape(-1)[:240].reshape(2, 6, 4, 5), torch.tensor([[1, 2, 3], [2, 2, 1]]).int(),
        torch.tensor([6, 4]).int(), torch.tensor([3, 2]).int(), blank=0, clamp=0.1,
    ),
    "forced_align": lambda torch, F, x: F.forced_align(
        torch.tensor(drawn(1, 20, 6)).log_softmax(-1), torch.tensor([[1, 2, 2, 4]]).int()
    ),
    "souden": lambda torch, F, x: F.mvdr_weights_souden(
        F.psd(torch.tensor(complexes())), F.psd(torch.tensor(complexes()[..., ::-1] * 2j), torch.ones(4, 12)), 0
    ),
}  # fmt: skip

#: name -> function of torchaudio.transforms that makes the module.
TRANSFORMS = {
    "MelSpectrogram": lambda T: T.MelSpectrogram(16000, 64, n_mels=10, norm="slaney", mel_scale="slaney", power=1.0),
    "MFCC": lambda T: T.MFCC(16000, 8, melkwargs={"n_fft": 64, "n_mels": 10, "hop_length": 20}),
    "LFCC": lambda T: T.LFCC(16000, 10, n_lfcc=8, speckwargs={"n_fft": 64}),
    "Fade": lambda T: T.Fade(50, 70, "half_sine"),
    "Vol": lambda T: T.Vol(3.0, "db"),
}

_PLAIN = {"dither": 0.0, "frame_length": 10.0, "frame_shift": 5.0}
#: name -> function of (torchaudio.compliance.kaldi, waveform (1, time)).
KALDI = {
    "spectrogram": lambda K, x: K.spectrogram(x, snip_edges=False, window_type="hamming", **_PLAIN),
    "fbank": lambda K, x: K.fbank(x * 1000, num_mel_bins=10, use_energy=True, htk_compat=True, **_PLAIN),
    "fbank warped": lambda K, x: K.fbank(x, num_mel_bins=10, vtln_warp=1.1, use_log_fbank=False, **_PLAIN),
    "mfcc": lambda K, x: K.mfcc(x, num_mel_bins=13, subtract_mean=True, **_PLAIN),
}


def filled(torch, module):
    """The module with weights that depend on their names' order and shapes only."""
    rng, state = np.random.default_rng(3), {}
    for name, value in sorted(module.state_dict().items()):
        if value.dtype == torch.float32:
            scale = rng.uniform(0.5, 1.5, tuple(value.shape)) if {"norm", "var", "original0"} & set(
                name.replace(".", "_").split("_")
            ) else rng.standard_normal(tuple(value.shape)) / max(1, math.prod(value.shape[1:])) ** 0.5
            value = torch.tensor(scale.astype(np.float32))
        state[name] = value
    module.load_state_dict(state)
    return module.eval()


#: name -> (function of torchaudio.models that makes the model, function of torch that makes its arguments).
MODELS = {
    "DeepSpeech": (lambda M: M.DeepSpeech(10, 8, 6), lambda torch: (torch.tensor(drawn(2, 1, 5, 10)),)),
    "Conformer": (
        lambda M: M.Conformer(8, 2, 16, 1, 3), lambda torch: (torch.tensor(drawn(2, 6, 8)), torch.tensor([6, 4])),
    ),
    "ConvTasNet": (
        lambda M: M.ConvTasNet(2, 8, 8, 3, 4, 8, 2, 1), lambda torch: (torch.tensor(drawn(1, 1, 45)),),
    ),
    "WaveRNN": (
        lambda M: M.WaveRNN([2, 2], 8, 4, 1, 8, 8, 5, 6, 8, 8),
        lambda torch: (torch.tensor(drawn(1, 1, 16)), torch.tensor(drawn(1, 1, 6, 8, seed=4))),
    ),
    "Wav2Vec2Model": (
        lambda M: M.wav2vec2_model("group_norm", [(8, 10, 5), (8, 3, 2)], False, 8, 0.1, 6, 2, 2, 2, 0.1, 16, 0.1, 0.1,
                                   False, 0.1, 5),
        lambda torch: (torch.tensor(drawn(2, 150)), torch.tensor([150, 100])),
    ),
}  # fmt: skip


def weights(torch, y):
    """What the entries of a result are multiplied by before the sum that gradients are taken of."""
    return torch.tensor(drawn(*y.shape, seed=5))


def asked(torch, functional, ask):
    """The results of a case, as arrays, and the gradient of the first if there is one."""
    x = torch.tensor(waveform(), requires_grad=True)
    made = ask(torch, functional, x)
    made = made if isinstance(made, tuple) else (made,)
    out = [y.detach().resolve_conj().numpy() for y in made]
    if not made[0].requires_grad:
        return out, None
    y = torch.view_as_real(made[0]) if made[0].is_complex() else made[0]
    (y * weights(torch, y)).sum().backward()
    return out, x.grad.numpy()


def main():
    import torch
    import torchaudio

    out = {}
    for name, ask in FUNCTIONS.items():
        made, gradient = asked(torch, torchaudio.functional, ask)
        for i, y in enumerate(made):
            out[f"functional {name} {i}"] = y
        if gradient is not None:
            out[f"functional {name} gradient"] = gradient
    wave = torch.tensor(waveform())
    for name, make in TRANSFORMS.items():
        out[f"transform {name}"] = make(torchaudio.transforms)(wave).numpy()
    for name, ask in KALDI.items():
        out[f"kaldi {name}"] = ask(torchaudio.compliance.kaldi, wave[0]).numpy()
    for name, (make, arguments) in MODELS.items():
        model = filled(torch, make(torchaudio.models))
        made = model(*arguments(torch))
        out[f"model {name}"] = (made[0] if isinstance(made, tuple) else made).detach().numpy()
        out[f"names {name}"] = np.array([f"{k} {tuple(v.shape)}" for k, v in model.state_dict().items()])
    np.savez_compressed(Path(__file__).with_name("audio.npz"), **out)


if __name__ == "__main__":
    main()
