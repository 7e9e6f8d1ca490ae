"""What is in a package, as a tree that can be printed."""

from __future__ import annotations

from collections.abc import Iterable

from .glob_group import GlobGroup, GlobPattern

__all__ = ["Directory"]


class Directory:
    """A directory, or a file in one."""

    def __init__(self, name: str, is_dir: bool) -> None:
        self.name, self.is_dir = name, is_dir
        self.children: dict[str, Directory] = {}

    def _add(self, path: str) -> None:
        first, _, rest = path.partition("/")
        child = self.children.setdefault(first, Directory(first, bool(rest)))
        if rest:
            child._add(rest)

    def has_file(self, filename: str) -> bool:
        """Whether there is a file (or directory) of that path."""
        first, _, rest = filename.partition("/")
        found = self.children.get(first)
        return found is not None and (not rest or found.has_file(rest))

    def __str__(self) -> str:
        return "\n".join(self._lines("")) + "\n"

    def _lines(self, indent: str) -> list[str]:
        out = ["─── " + self.name] if not indent else []
        children = sorted(self.children.values(), key=lambda c: (not c.is_dir, c.name))
        indent = indent or "    "
        for k, child in enumerate(children):
            last = k == len(children) - 1
            out.append(f"{indent}{'└' if last else '├'}── {child.name}")
            out += child._lines(indent + ("    " if last else "│   "))
        return out


def _create_directory_from_file_list(
    filename: str, file_list: Iterable[str], include: GlobPattern = "**", exclude: GlobPattern = ()
) -> Directory:
    """The tree of the paths that match."""
    group = GlobGroup(include, exclude=exclude, separator="/")
    top = Directory(filename, True)
    for path in file_list:
        if group.matches(path):
            top._add(path)
    return top
