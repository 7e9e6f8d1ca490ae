"""Hooks that say how gradients travel between processes."""

from . import default_hooks as default_hooks
from . import post_localSGD_hook as post_localSGD_hook
