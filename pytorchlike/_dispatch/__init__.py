"""``__torch_dispatch__``: offering operations, by the names of PyTorch's inner operators, to modes and tensor classes.

schema:     the operators' signatures (``aten.txt``).
operators:  ``torch.ops.aten`` and its overloads, which can be called.
offers:     who is asked, and how the functions of this package come to ask: their code is exchanged while anybody is.
calls:      which inner operators a call of one of this package's functions is.
composites: functions that PyTorch makes of several inner operators, or calls by other names.
kernels:    what computes inner operators that have no function here.
formulas:   derivatives, in terms of inner operators.
reverse:    how reverse passes come to use these.
"""
