"""Optical flow (``torchvision.models.optical_flow``)."""

from .raft import *  # noqa: F403
