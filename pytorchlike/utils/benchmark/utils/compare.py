"""Tables of measurements."""

from .._compare import Colorize as Colorize
from .._compare import Compare as Compare
