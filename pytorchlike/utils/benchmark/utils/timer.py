"""The timer."""

from .._timer import Language as Language
from .._timer import Timer as Timer
from .._timer import timer as timer
