"""Signal processing as modules (``torchaudio.transforms``)."""

from ._beamforming import *  # noqa: F403
from ._features import *  # noqa: F403
from ._spectral import *  # noqa: F403
from ._waveform import *  # noqa: F403
