"""Import JAX without a trace in NumPy's random numbers.

JAX draws from NumPy's generator while it is imported, so a program that has seeded it before ``import torch`` would go
on with other numbers than under PyTorch.
"""

import numpy as np

_state = np.random.get_state()
import jax  # noqa: E402

np.random.set_state(_state)
del _state, jax, np
