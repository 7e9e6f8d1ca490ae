"""What torchaudio's answers do not show: accuracy, second uses, random masks, errors, gradients of coefficients."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.audio import functional as F
from pytorchlike.audio import models, transforms


def _noise(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def _directly(x, a, b):
    """The recursion as it is defined, in double precision."""
    y = np.zeros(len(x))
    for t in range(len(x)):
        y[t] = sum(b[k] * x[t - k] for k in range(len(b)) if t >= k)
        y[t] = (y[t] - sum(a[k] * y[t - k] for k in range(1, len(a)) if t >= k)) / a[0]
    return y


@pytest.mark.parametrize("order", [0, 1, 5])
def test_filters_of_any_order_follow_their_definition_over_blocks(order):
    rng = np.random.default_rng(order)
    a = np.concatenate([[1.3], 0.15 * rng.standard_normal(order)])
    b, x = rng.standard_normal(order + 1), rng.standard_normal(300)
    made = F.lfilter(torch.tensor(x), torch.tensor(a), torch.tensor(b), clamp=False)
    np.testing.assert_allclose(made.numpy(), _directly(x, a, b), atol=1e-10)


def test_poles_near_the_unit_circle_keep_their_precision():
    # a high-pass filter at 38 Hz: its denominator amplifies 4000 times what its numerator then takes away
    x = _noise(2000).requires_grad_()
    weight = _noise(2000, seed=1)
    results = []
    for kind in (torch.float32, torch.float64):
        leaf = x.detach().to(kind).requires_grad_()
        (F.highpass_biquad(leaf, 16000, 38.0, 0.5) * weight.to(kind)).sum().backward()
        results.append(leaf.grad.numpy())
    assert np.abs(results[0] - results[1]).max() < 1e-4 * np.abs(results[1]).max()


def test_gradients_reach_coefficients_and_cut_off_frequencies():
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.standard_normal((2, 150)))
    weight = torch.tensor(rng.standard_normal((2, 150)))
    point = [np.array([[1.0, -0.4, 0.1], [1.2, 0.3, 0.2]]),
             np.array([[0.5, 0.2, 0.1], [0.3, 0.0, 0.7]]), np.array(800.0)]  # fmt: skip
    way = [rng.standard_normal(p.shape) for p in point]

    def value(step):
        a, b, f = (torch.tensor(p + step * w, requires_grad=True) for p, w in zip(point, way, strict=True))
        made = (weight * (F.lfilter(x, a, b, clamp=False) + F.lowpass_biquad(x, 16000, f))).sum()
        return made, (a, b, f)

    made, leaves = value(0.0)
    made.backward()
    slope = sum(float((leaf.grad.numpy() * w).sum()) for leaf, w in zip(leaves, way, strict=True))
    apart = (value(1e-4)[0] - value(-1e-4)[0]).item() / 2e-4
    assert slope == pytest.approx(apart, rel=1e-5)


def test_griffin_lim_finds_the_magnitudes():
    t = torch.arange(800) / 8000
    wave = torch.sin(2 * torch.pi * 440 * t) + 0.5 * torch.sin(2 * torch.pi * 1000 * t)
    spectrogram = transforms.Spectrogram(128, power=1.0)
    want = spectrogram(wave)
    made = transforms.GriffinLim(128, n_iter=10, power=1.0, length=800, rand_init=False)(want)
    assert made.shape == (800,)
    assert float((spectrogram(made) - want).norm() / want.norm()) < 0.3


def test_masks_are_stretches_of_the_axis():
    torch.manual_seed(0)
    ones = torch.ones(4, 10, 20)
    alike = F.mask_along_axis(ones, 6, 0.0, 1).numpy()
    assert (alike == alike[:1, :, :1]).all()
    each = F.mask_along_axis_iid(ones, 8, 0.0, 2).numpy()
    for spectrogram in each:
        (row,) = np.unique(spectrogram, axis=0)
        gone = np.flatnonzero(row == 0)
        assert len(gone) < 8 and (np.diff(gone) == 1).all()
    assert (F.mask_along_axis_iid(ones, 100, 0.0, 2, p=0.1).numpy() == 0).sum(-1).max() <= 2


def test_mel_filters_without_a_frequency_are_warned_of():
    with pytest.warns(UserWarning, match="all zero values"):
        F.melscale_fbanks(20, 0.0, 8000.0, 40, 16000)


def test_what_does_not_fit_is_refused():
    x = _noise(2, 1, 60)
    for ask, error, message in [
        (lambda: F.lfilter(x, torch.ones(2), torch.ones(3)), ValueError, "coeffs to be the same size"),
        (lambda: F.lfilter(x, torch.ones(3, 2), torch.ones(3, 2)), ValueError, "number of batches"),
        (lambda: F.resample(x, 16000.5, 8000), ValueError, "integer type"),
        (lambda: F.resample(x.long(), 16000, 8000), TypeError, "floating point"),
        (lambda: F.griffinlim(x, torch.ones(4), 4, 2, 4, 1.0, 1, 1.5, None, True), ValueError, "momentum"),
        (lambda: F.convolve(x, x, "middle"), ValueError, "mode value 'middle'"),
        (lambda: F.deemph_biquad(x, 16000), ValueError, "44100"),
        (lambda: F.mask_along_axis_iid(x[0], 3, 0.0, 1), ValueError, "three dimensions"),
        (lambda: F.inverse_spectrogram(x, None, 0, torch.ones(4), 4, 2, 4, False), ValueError, "complex"),
        (lambda: F.rnnt_loss(x, x, x, x), RuntimeError, "4-D"),
        (lambda: F.forced_align(x, torch.zeros(1, 2)), RuntimeError, "batch of one"),
        (lambda: transforms.TimeStretch(8, 17)(x), ValueError, "fixed_rate"),
        (lambda: transforms.MFCC(n_mfcc=9, melkwargs={"n_mels": 8}), ValueError, "mel bins"),
        (lambda: transforms.MVDR(online=True), NotImplementedError, "covariances"),
    ]:
        with pytest.raises(error, match=message):
            ask()
    with pytest.raises(AttributeError, match="Emformer is not provided"):
        _ = models.Emformer


def test_alignments_as_spans():
    tokens, scores = torch.tensor([0, 1, 1, 0, 2, 2, 3]), torch.tensor([0.1, 0.2, 0.4, 0.3, 0.5, 0.75, 0.9])
    spans = F.merge_tokens(tokens, scores)
    assert [(s.token, s.start, s.end, len(s)) for s in spans] == [(1, 1, 3, 2), (2, 4, 6, 2), (3, 6, 7, 1)]
    assert [s.score for s in spans] == pytest.approx([0.3, 0.625, 0.9])
    assert F.edit_distance("kitten", "sitting") == 3 and F.edit_distance([], [1, 2]) == 2


def test_loudness_of_a_tone():
    # ITU-R BS.1770: 997 Hz at full scale in one channel is -3.01 LKFS (there the filters would clip it)
    t = np.arange(24000) / 48000
    tone = torch.tensor(np.sin(2 * np.pi * 997 * t).astype(np.float32))[None]
    assert float(F.loudness(tone * 0.1, 48000)) == pytest.approx(-23.01, abs=0.06)


def test_speech_is_found_in_silence():
    t = np.arange(24000) / 16000
    wave = 0.003 * np.random.default_rng(0).standard_normal(24000)
    speech = slice(12000, 20000)
    wave[speech] += 0.4 * sum(np.sin(2 * np.pi * 180 * k * t[speech]) / k for k in range(1, 15))
    made = F.vad(torch.tensor(wave.astype(np.float32)), 16000)
    assert 24000 - 12000 <= made.shape[0] < 24000 - 9000
    assert F.vad(torch.zeros(1, 16000), 16000).shape == (1, 0)


def test_a_training_step_through_features_is_one_program_that_is_found_again():
    from pytorchlike import compiler, nn

    features = transforms.MelSpectrogram(8000, 64, n_mels=8)
    model = nn.Linear(8, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    counts = []
    for step in range(4):
        loss = model(F.lowpass_biquad(features(_noise(2, 320, seed=step)).mT, 100, 20.0)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        counts.append(compiler.stats()["compiles"])
    assert counts[-1] == counts[-2]


def test_scales_by_their_inner_names():
    from pytorchlike.audio.functional.functional import _hz_to_mel, _mel_to_hz, spectrogram

    assert spectrogram is F.spectrogram
    for scale, mel in (("htk", 1000.0), ("slaney", 15.0)):
        assert _hz_to_mel(1000.0, scale) == pytest.approx(mel, rel=1e-4)
        assert _mel_to_hz(torch.tensor([0.0, mel]), mel_scale=scale).tolist() == pytest.approx([0.0, 1000.0], rel=1e-4)
