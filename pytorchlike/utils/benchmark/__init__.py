"""``torch.utils.benchmark``: timing statements, with what they record executed and waited for."""

from ._compare import Colorize as Colorize
from ._compare import Compare as Compare
from ._measure import Measurement as Measurement
from ._measure import TaskSpec as TaskSpec
from ._measure import ordered_unique as ordered_unique
from ._measure import select_unit as select_unit
from ._measure import trim_sigfig as trim_sigfig
from ._measure import unit_to_english as unit_to_english
from ._threads import set_torch_threads as set_torch_threads
from ._timer import Language as Language
from ._timer import Timer as Timer
from ._timer import timer as timer
