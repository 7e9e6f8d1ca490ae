"""The filters and effects, by the name of the module that torchaudio keeps them in."""

from ._effects import *  # noqa: F403
from ._filtering import *  # noqa: F403
from ._vad import *  # noqa: F403
