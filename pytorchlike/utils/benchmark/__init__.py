"""``torch.utils.benchmark``: timing statements, with what they record executed and waited for."""

from ._callgrind import CallgrindStats as CallgrindStats
from ._callgrind import CopyIfCallgrind as CopyIfCallgrind
from ._callgrind import FunctionCount as FunctionCount
from ._callgrind import FunctionCounts as FunctionCounts
from ._compare import Colorize as Colorize
from ._compare import Compare as Compare
from ._fuzzer import FuzzedParameter as FuzzedParameter
from ._fuzzer import FuzzedSparseTensor as FuzzedSparseTensor
from ._fuzzer import FuzzedTensor as FuzzedTensor
from ._fuzzer import Fuzzer as Fuzzer
from ._fuzzer import ParameterAlias as ParameterAlias
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
