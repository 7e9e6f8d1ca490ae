"""The workloads, by name, in the order in which they run."""

from . import cnn, gpt, graphs, lstm, maml, mlp, optim, per_sample, reinforce, tiny, tree
from ._problem import Problem as Problem
from ._problem import Workload as Workload

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        mlp.SMALL, mlp.WIDE, mlp.DEEP, cnn.DIGITS, gpt.GPT, gpt.GPT_BF16, gpt.GPT_TEXTS, lstm.LSTM, tree.TREE,
        tiny.TINY, optim.SGD, optim.ADAM, optim.ADAMW, per_sample.VMAP, per_sample.LOOP, maml.MAML, reinforce.REINFORCE,
        graphs.GRAPH_BATCHES, mlp.SMALL_COMPILED, mlp.DEEP_COMPILED, gpt.GPT_COMPILED,
    )  # fmt: skip
}
