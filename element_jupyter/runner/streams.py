"""Text as a terminal would show it, in bounded memory.

A progress bar writes the same line a thousand times; a loop may print 100 MB. What is kept is what
a person would see in the end: overwritten text is dropped, and of very long output the beginning
and the end.
"""

from __future__ import annotations

from typing import Final

HEAD_CHARACTERS: Final = 8_000_000
TAIL_CHARACTERS: Final = 8_000_000
_LOOK_EVERY: Final = 1_000_000


class Text:
    """The text of one stream output, growing."""

    def __init__(self) -> None:
        self._head = ""
        self._parts: list[str] = []
        self._size = 0
        self._unseen = 0
        self._omitted = 0
        self._moves = False

    def append(self, text: str) -> None:
        self._parts.append(text)
        self._size += len(text)
        self._unseen += len(text)
        self._moves = self._moves or "\r" in text or "\b" in text
        if self._unseen > _LOOK_EVERY and (self._moves or self._size > TAIL_CHARACTERS):
            self._compact()

    def _compact(self) -> None:
        tail = "".join(self._parts)
        if self._moves:
            tail = overwrite(tail)
        if not self._head and len(tail) > HEAD_CHARACTERS + TAIL_CHARACTERS:
            self._head, tail = tail[:HEAD_CHARACTERS], tail[HEAD_CHARACTERS:]
        if self._head and len(tail) > TAIL_CHARACTERS + _LOOK_EVERY:
            self._omitted += len(tail) - TAIL_CHARACTERS
            tail = tail[-TAIL_CHARACTERS:]
        self._parts = [tail]
        self._size = len(tail)
        self._unseen = 0

    def __str__(self) -> str:
        self._compact()
        tail = self._parts[0]
        if not self._omitted:
            return self._head + tail
        return f"{self._head}\n[… {self._omitted:,} characters were left out here …]\n{tail}"


def overwrite(text: str) -> str:
    r"""Apply carriage returns and backspaces.

    A carriage return at the very end is kept: what it overwrites with is still to come.
    """
    if "\r" not in text and "\b" not in text:
        return text
    pending = text.endswith("\r")
    lines = text.split("\n")
    shown = "\n".join(_line(line) for line in lines)
    return shown + "\r" if pending else shown


def _line(line: str) -> str:
    if "\r" not in line and "\b" not in line:
        return line
    shown = ""
    for segment in line.split("\r"):
        typed = _backspaced(segment) if "\b" in segment else segment
        shown = typed + shown[len(typed) :]
    return shown


def _backspaced(segment: str) -> str:
    kept: list[str] = []
    for character in segment:
        if character != "\b":
            kept.append(character)
        elif kept:
            kept.pop()
    return "".join(kept)


def shorten_live(text: str) -> str:
    """Drop what a reader of the live view would not have seen between two looks.

    The first line continues what was sent before, so its first carriage return stays.
    """
    first, newline, rest = text.partition("\n")
    begun, returned, again = first.partition("\r")
    if returned:
        first = begun + "\r" + overwrite(again)
    return first + newline + overwrite(rest)
