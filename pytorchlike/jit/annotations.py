"""``torch.jit.annotations``: names of types that TorchScript knows."""

from typing import Any as Any
from typing import Dict as Dict  # noqa: UP035
from typing import List as List  # noqa: UP035
from typing import Optional as Optional
from typing import Tuple as Tuple  # noqa: UP035
from typing import Union as Union

#: A list that may be given as one number, for annotations.
BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = list
