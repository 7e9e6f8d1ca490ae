"""Hooks that say how gradients travel between processes: nothing travels in a world of one."""

from . import post_localSGD_hook as post_localSGD_hook
