"""Shuffling and sampling pipes, by the names of their classes in PyTorch."""

from . import Sampler as SamplerIterDataPipe
from . import Shuffler as ShufflerIterDataPipe

__all__ = ["SamplerIterDataPipe", "ShufflerIterDataPipe"]
