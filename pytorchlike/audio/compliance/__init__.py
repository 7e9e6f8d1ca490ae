"""Features as other toolkits compute them (``torchaudio.compliance``)."""

from . import kaldi

__all__ = ["kaldi"]
