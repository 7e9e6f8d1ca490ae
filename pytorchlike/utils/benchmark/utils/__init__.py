"""``torch.utils.benchmark.utils``: the modules under the names that PyTorch has for them."""
