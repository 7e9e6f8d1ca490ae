"""``torch.utils.tensorboard.summary``: the protocol buffers of single entries, made by tensorboardX."""

from tensorboardX.summary import *  # noqa: F403
from tensorboardX.summary import hparams as hparams
