"""torchtext's trained models are not provided; any name says so."""

__all__: list[str] = []


def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise AttributeError(
        f"torchtext's model {name} is not provided; the libraries that hold such models now (transformers) run under "
        "pytorchlike"
    )
