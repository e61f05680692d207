"""Footnotes of a table, lettered in the order in which they appear."""

from collections.abc import Iterable
from string import ascii_lowercase

from results.table import Note


class Notes:
    """Hands out a mark for each distinct text: a, b, ..., z, aa, ab, ..."""

    def __init__(self) -> None:
        self._marks: dict[str, str] = {}

    def mark(self, text: str) -> str:
        """Return the mark of a footnote, the same one each time."""
        return self._marks.setdefault(text, _letters(len(self._marks)))

    def marks(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return the marks of footnotes in their order."""
        return tuple(sorted(map(self.mark, texts), key=lambda mark: (len(mark), mark)))

    def all(self) -> tuple[Note, ...]:
        """Return the footnotes in order of their marks."""
        return tuple(Note(mark, text) for text, mark in self._marks.items())


def _letters(number: int) -> str:
    rest, last = divmod(number, len(ascii_lowercase))
    return (_letters(rest - 1) if rest else "") + ascii_lowercase[last]
