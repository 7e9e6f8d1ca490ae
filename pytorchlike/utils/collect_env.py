"""``torch.utils.collect_env``: what to add to a bug report."""

from __future__ import annotations

__all__ = ["get_pretty_env_info", "main"]


def get_pretty_env_info() -> str:
    """Versions, devices, cache and optional packages."""
    from .._report import report

    return report()


def main() -> None:
    """Print :func:`get_pretty_env_info`."""
    print("Collecting environment information...")
    print(get_pretty_env_info())


if __name__ == "__main__":
    main()
