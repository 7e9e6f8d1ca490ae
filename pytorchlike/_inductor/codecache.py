"""``torch._inductor.codecache``: where PyTorch keeps generated code. Empty; XLA's programs are kept elsewhere."""
