"""What commands write for people: styled on a terminal, plain lines elsewhere. The one place that knows rich."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["Line", "Screen", "mark_of"]

Line: TypeAlias = Sequence[str | tuple[str, str]]
"""Pieces of one line: a text, or a text and its style (`bold red`). Nothing in a text is markup."""

_MARKS = {"supported": ("✓", "green"), "refuted": ("✗", "red"), "inconclusive": ("?", "yellow")}
_PLAIN_WIDTH = 120


def mark_of(verdict: str) -> tuple[str, str]:
    """A verdict's sign and its style."""
    return _MARKS.get(verdict, ("·", "dim"))


class Screen:
    """Writes lines to standard output, or to standard error where standard output belongs to a document."""

    def __init__(self, *, quiet: bool = False, aside: bool = False) -> None:
        self.quiet = quiet
        self._aside = aside

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console

        stream = sys.stderr if self._aside else sys.stdout
        terminal = stream.isatty()
        width = None if terminal or os.environ.get("COLUMNS") else _PLAIN_WIDTH
        return Console(file=stream, highlight=False, markup=False, emoji=False, width=width)

    @property
    def interactive(self) -> bool:
        """Whether somebody watches: a terminal that can move its cursor."""
        return not self.quiet and self._console.is_terminal and not self._console.is_dumb_terminal

    @property
    def width(self) -> int:
        return self._console.width

    def line(self, *pieces: str | tuple[str, str], indent: int = 0) -> None:
        """One line; where it is too long it goes on below itself, indented."""
        if not self.quiet:
            self.always(*pieces, indent=indent)

    def always(self, *pieces: str | tuple[str, str], indent: int = 0) -> None:
        """The same, also when quiet."""
        if self._console.is_terminal and indent:
            from rich.padding import Padding

            self._console.print(Padding(_text(pieces), (0, 0, 0, indent)))
        else:
            self._console.print(" " * indent, _text(pieces), sep="", soft_wrap=True)

    @contextmanager
    def live(self, lines: Callable[[], Sequence[Line]]) -> Iterator[None]:
        """Keep `lines()` at the bottom of the terminal, four times a second; nothing where nobody watches."""
        if not self.interactive:
            yield
            return
        from rich.live import Live
        from rich.text import Text

        def picture() -> Text:
            rows = [_text(line) for line in lines()]
            for row in rows:
                row.truncate(self._console.width, overflow="ellipsis")
            return Text("\n").join(rows)

        with Live(get_renderable=picture, console=self._console, refresh_per_second=4, transient=True):
            yield


def _text(pieces: Line) -> Text:
    from rich.text import Text

    return Text.assemble(*pieces)
