"""``torch.distributed.pipelining``: the layers of a model in several processes, and batches in portions.

``pipeline`` cuts a model into stages; a ``PipelineStage`` is what one process has of it; a schedule says who does what
when. Activations and gradients travel as ``torch.distributed.send`` would send them.
"""

from ._pieces import Pipe as Pipe
from ._pieces import SplitPoint as SplitPoint
from ._pieces import pipe_split as pipe_split
from ._pieces import pipeline as pipeline
from .schedules import Schedule1F1B as Schedule1F1B
from .schedules import ScheduleDualPipeV as ScheduleDualPipeV
from .schedules import ScheduleGPipe as ScheduleGPipe
from .schedules import ScheduleInterleaved1F1B as ScheduleInterleaved1F1B
from .schedules import ScheduleInterleavedZeroBubble as ScheduleInterleavedZeroBubble
from .schedules import ScheduleLoopedBFS as ScheduleLoopedBFS
from .schedules import ScheduleZBVZeroBubble as ScheduleZBVZeroBubble
from .stage import PipelineStage as PipelineStage
from .stage import build_stage as build_stage
