"""Everything but filters, by the name of the module that torchaudio keeps them in, with two of its inner functions."""

from __future__ import annotations

from pytorchlike import Tensor

from ._augment import *  # noqa: F403
from ._banks import *  # noqa: F403
from ._banks import _tensor, mel_to_hz
from ._banks import hz_to_mel as _hz_to_mel  # noqa: F401
from ._beamforming import *  # noqa: F403
from ._resample import *  # noqa: F403
from ._spectral import *  # noqa: F403
from ._speech import *  # noqa: F403


def _mel_to_hz(mels: Tensor, mel_scale: str = "htk") -> Tensor:
    """Mels as frequencies in Hz; ValueError unless ``mel_scale`` is "htk" or "slaney"."""
    return _tensor(mel_to_hz(mels.numpy(), mel_scale))
