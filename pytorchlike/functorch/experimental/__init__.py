"""``functorch.experimental``."""

from ..._higher_order_ops import cond as cond
from ...func import functionalize as functionalize
from ...func import replace_all_batch_norm_modules_ as replace_all_batch_norm_modules_
