"""The recording engine: a trie of traces that is also the tape.

Nothing here knows a PyTorch name.  An :class:`Op` is a pure function on JAX arrays; :func:`record` notes its use in the
pending trace of the calling thread; :func:`backward` notes a reverse pass; a read or :func:`flush` executes what is
pending, as one XLA program or operation by operation, and stores the results in the :class:`Value` handles that
somebody still refers to.  ``docs/architecture.md`` tells the whole story.
"""

from .config import config as config
from .errors import DataError as DataError
from .errors import check as check
from .grad import Leaf as Leaf
from .grad import backward as backward
from .memory import keep_large_blocks as _keep_large_blocks
from .meta import Meta as Meta
from .meta import Mode as Mode
from .meta import Value as Value
from .meta import make_value as make_value
from .meta import meta_of as meta_of
from .op import Op as Op
from .op import current_mode as current_mode
from .op import current_platform as current_platform
from .stats import stats as stats
from .trace import concrete as concrete
from .trace import fixed as fixed
from .trace import flush as flush
from .trace import get_mode as get_mode
from .trace import in_sight as in_sight
from .trace import local as local
from .trace import own as own
from .trace import peek as peek
from .trace import read as read
from .trace import record as record
from .trace import set_mode as set_mode
from .trace import tell_once as tell_once
from .trace import unwatched as unwatched

_keep_large_blocks()  # before XLA has its threads
