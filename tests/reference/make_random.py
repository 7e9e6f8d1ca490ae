"""Write random.json: numbers that PyTorch draws on the CPU. Needs torch; run it by hand.

A case is an expression of ``T`` (the library) and ``F``; it is evaluated after ``T.manual_seed(seed)``, and then
``T.rand(1)``, which tells how much has been drawn.
"""

import json
from pathlib import Path

import torch

DTYPES = "float32 float64 float16 bfloat16"
CASES = """
T.rand(3, dtype=D)
T.rand(20, dtype=D)
T.randn(5, dtype=D)
T.randn(16, dtype=D)
T.randn(33, dtype=D)
T.empty(6, dtype=D).uniform_(-2, 3)
T.empty(4, dtype=D).exponential_(2)
T.empty(4, dtype=D).cauchy_()
T.empty(20, dtype=D).log_normal_()
T.empty(6, dtype=D).geometric_(0.3)
T.empty(6, dtype=D).bernoulli_(0.3)
T.empty(3, dtype=D).random_()
T.empty(3, dtype=D).random_(3, 9)
T.bernoulli(T.full((6,), 0.3, dtype=D))
F.dropout(T.ones(9, dtype=D), 0.3)
"""
MORE = """
T.randint(0, 10, (6,))
T.randint(-5, 2**28 - 6, (3,))
T.randint(2**28, (3,))
T.randint(-2**40, 2**40, (3,))
T.randint(100, (4,), dtype=T.uint8)
T.empty(3, dtype=T.int64).random_()
T.empty(3, dtype=T.int32).random_()
T.empty(3, dtype=T.uint8).random_()
T.empty(5, dtype=T.bool).random_()
T.randperm(10)
T.randn_like(T.ones(3, 7))
T.randint_like(T.ones(3), 7)
T.normal(1.0, 2.0, (18,))
T.normal(T.zeros(3), T.arange(1.0, 4.0))
T.view_as_real(T.randn(4, dtype=T.complex64))
T.multinomial(T.arange(1.0, 9.0), 3)
T.multinomial(T.arange(1.0, 9.0), 9, replacement=True)
F.gumbel_softmax(T.zeros(2, 3), hard=True)
F.dropout2d(T.ones(2, 4, 1, 1), 0.4)
F.alpha_dropout(T.ones(6), 0.4, training=True)
F.scaled_dot_product_attention(T.ones(1, 1, 3, 2), T.ones(1, 1, 3, 2), T.arange(6.0).view(1, 1, 3, 2), dropout_p=0.5)
T.distributions.Categorical(T.ones(4)).sample((5,))
T.distributions.Gamma(T.tensor([0.2, 1.0, 4.0, 30.0]), 2.0).sample((3,))
T.distributions.Beta(T.tensor([0.5, 3.0], dtype=T.float64), 2.0).sample((3,))
T.distributions.Dirichlet(T.tensor([[0.5, 2.0, 3.0], [1.0, 9.0, 0.2]])).sample()
T.distributions.StudentT(T.tensor([3.0, 8.0])).sample((2,))
T.poisson(T.tensor([0.0, 0.5, 3.0, 9.9, 10.0, 70.0]))
T.binomial(T.tensor([10.0, 200.0, 200.0, 50.0, 5.0]), T.tensor([0.3, 0.2, 0.9, 0.5, 1.0]))
T.distributions.NegativeBinomial(T.tensor([3.0, 9.0]), 0.4).sample((2,))
T.distributions.Normal(T.zeros(2), 1.0).rsample()
T.nn.init.kaiming_uniform_(T.empty(3, 4))
T.nn.init.orthogonal_(T.empty(3, 3)).abs()
T.nn.init.trunc_normal_(T.empty(40), std=0.5, a=-0.8, b=0.8)
T.nn.init.sparse_(T.empty(4, 2), 0.5)
T.cat([p.flatten() for p in T.nn.LSTM(2, 3).parameters()])
T.cat([p.flatten() for p in T.nn.MultiheadAttention(4, 2).parameters()])
T.cat(list(T.utils.data.DataLoader(T.arange(7), 3, shuffle=True)))
T.tensor([list(s.indices) for s in T.utils.data.random_split(range(8), [4, 4])])
T.tensor(list(T.utils.data.WeightedRandomSampler(T.arange(1.0, 6.0), 8)))
T.tensor(list(T.utils.data.RandomSampler(range(9), replacement=True, num_samples=5)))
T.tensor(list(T.utils.data.SubsetRandomSampler(range(5), generator=T.Generator().manual_seed(3))))
T.rand(4, generator=T.Generator().manual_seed(2**40 + 5))
"""


def main():
    import torch.nn.functional as F

    torch.set_num_threads(1)
    cases = []
    lines = [(line, d) for line in CASES.strip().splitlines() for d in DTYPES.split()]
    lines += [(line, None) for line in MORE.strip().splitlines()]
    for seed, (line, dtype) in enumerate(lines):
        torch.manual_seed(seed)
        found = eval(line, {"T": torch, "F": F, "D": dtype and getattr(torch, dtype)})
        cases.append([line, dtype, seed, str(found.dtype)[6:], found.double().tolist(), torch.rand(1).item()])
    torch.manual_seed(5)
    torch.randn(7)
    state = torch.get_rng_state().numpy().tobytes()
    after = torch.randn(3).tolist()
    path = Path(__file__).with_name("random.json")
    path.write_text(json.dumps({"cases": cases, "state": state.hex(), "after": after}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
