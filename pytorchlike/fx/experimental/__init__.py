"""``torch.fx.experimental``: what libraries ask of it."""
