"""``torch.testing.FileCheck``: patterns that a text must contain, in order."""

from __future__ import annotations

from typing import Any, Self

__all__ = ["FileCheck"]


class FileCheck:
    """Rules about a text, gathered by the ``check`` methods and applied by :meth:`run`, which raises RuntimeError."""

    def __init__(self) -> None:
        self._rules: list[tuple[str, str, int]] = []

    def check(self, test_string: str) -> Self:
        """The string occurs after what was matched so far."""
        self._rules.append(("after", test_string, 1))
        return self

    def check_same(self, test_string: str) -> Self:
        """The string occurs after the last match, on the same line."""
        self._rules.append(("same", test_string, 1))
        return self

    def check_next(self, test_string: str) -> Self:
        """The string occurs on the line after the last match."""
        self._rules.append(("next", test_string, 1))
        return self

    def check_not(self, test_string: str) -> Self:
        """The string does not occur between the matches around this rule."""
        self._rules.append(("not", test_string, 1))
        return self

    def check_dag(self, test_string: str) -> Self:
        """The string occurs after the last match before the run of such rules, in any order."""
        self._rules.append(("dag", test_string, 1))
        return self

    def check_count(self, test_string: str, count: int, exactly: bool = False) -> Self:
        """The string occurs that many times; with ``exactly``, no more often."""
        self._rules.append(("exactly" if exactly else "count", test_string, count))
        return self

    def run(self, test_string: Any) -> None:
        """Apply the rules to a text."""
        text, at, floor, forbidden = str(test_string), 0, 0, []

        def fail(pattern: str, why: str) -> None:
            raise RuntimeError(f'Expected to {why} "{pattern}" but did not, from here on:\n{text[at:][:500]}')

        for kind, pattern, count in self._rules:
            if kind == "not":
                forbidden.append(pattern)
                continue
            start = at
            if kind == "dag":
                found = text.find(pattern, floor)
                if found < 0:
                    fail(pattern, "find")
                at = max(at, found + len(pattern))
            else:
                for _ in range(count):
                    found = text.find(pattern, at)
                    if found < 0:
                        fail(pattern, f"find {count} times" if count > 1 else "find")
                    if kind == "same" and "\n" in text[at:found]:
                        fail(pattern, "find on the same line")
                    if kind == "next" and text[at:found].count("\n") != 1:
                        fail(pattern, "find on the next line")
                    at = found + len(pattern)
                if kind == "exactly" and text.find(pattern, at) >= 0:
                    fail(pattern, f"find exactly {count} times")
                floor = at
            self._absent(text[start:found], forbidden)
            forbidden = []
        self._absent(text[at:], forbidden)

    @staticmethod
    def _absent(text: str, patterns: list[str]) -> None:
        for pattern in patterns:
            if pattern in text:
                raise RuntimeError(f'Expected to not find "{pattern}" but found it in:\n{text[:500]}')
