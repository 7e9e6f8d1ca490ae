"""The same workloads on pytorchlike, hand-written JAX and PyTorch, timed side by side (``python -m benchmarks``)."""
