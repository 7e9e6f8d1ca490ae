"""Data sets of sound (``torchaudio.datasets``), read from local files; ``download=True`` fetches those that can be."""

from .corpora import *  # noqa: F403
from .speech import *  # noqa: F403
