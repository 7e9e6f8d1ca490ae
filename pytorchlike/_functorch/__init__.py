"""``torch._functorch``: where PyTorch keeps what ``torch.func`` shows; libraries import parts of it from here."""
