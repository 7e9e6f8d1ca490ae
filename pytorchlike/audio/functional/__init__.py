"""Signal processing on tensors (``torchaudio.functional``); time is the last axis."""

from . import filtering as filtering
from ._augment import *  # noqa: F403
from ._banks import *  # noqa: F403
from ._beamforming import *  # noqa: F403
from ._effects import *  # noqa: F403
from ._filtering import *  # noqa: F403
from ._resample import *  # noqa: F403
from ._spectral import *  # noqa: F403
from ._speech import *  # noqa: F403
from ._vad import *  # noqa: F403
