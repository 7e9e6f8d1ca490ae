"""``torch.testing._internal``: the little of PyTorch's own test tools that others' tests import."""
