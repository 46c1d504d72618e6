"""Whether a notebook was run in the order that its cells stand in, told from their numbers.

A run executes every cell once, from the top. Numbers that fall on the way down mean that what the
notebook shows came about in another order. Numbers that rise, from wherever they start, mean
nothing: somebody ran it twice, or ran a cell again before going on.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from element_jupyter.core.inspection.findings import Finding, FindingCode, Severity


@dataclass(frozen=True)
class RunCell:
    """A code cell with something to run in it."""

    index: int
    """In the notebook, from 0."""
    count: int | None
    """The number beside it; None when it was not run."""
    is_plain: bool = False
    """Whether it may be run again at any time without a difference: it imports, and sets up."""


def find_hidden_state(cells: Sequence[RunCell]) -> Finding | None:
    """Return the one thing to know of the order, if anything; a notebook never run has none."""
    run = [(cell, cell.count) for cell in cells if cell.count is not None]
    if not run:
        return None
    ordered = [(cell, count) for cell, count in run if not cell.is_plain]
    if odd := _out_of_order(ordered):
        above, below = odd
        return _finding(
            Severity.WARNING,
            f"Cells were run in another order than they stand in: [{above[1]}] is above "
            f"[{below[1]}].",
            _odd_one(ordered, above, below),
        )
    last = max(cell.index for cell, _ in run)
    skipped = [cell for cell in cells if cell.count is None and not cell.is_plain]
    if between := [cell.index for cell in skipped if cell.index < last]:
        some = "A cell was" if len(between) == 1 else f"{len(between)} cells were"
        return _finding(
            Severity.WARNING,
            f"{some} passed over: not run, unlike cells below. A run executes every cell.",
            between[0],
        )
    if after := [cell.index for cell in skipped]:
        some = "The last cell was" if len(after) == 1 else f"The last {len(after)} cells were"
        return _finding(Severity.INFO, f"{some} not run here. A run executes every cell.", after[0])
    if gap := _gap(ordered, [count for _, count in run]):
        return _finding(
            Severity.INFO,
            f"Between [{gap[0][1]}] and [{gap[1][1]}], cells were run that have been deleted or run"
            " again since.",
            gap[1][0].index,
        )
    return None


_Numbered = tuple[RunCell, int]


def _out_of_order(run: Sequence[_Numbered]) -> tuple[_Numbered, _Numbered] | None:
    return next((pair for pair in pairwise(run) if pair[0][1] >= pair[1][1]), None)


def _odd_one(run: Sequence[_Numbered], above: _Numbered, below: _Numbered) -> int:
    """Return the index of the cell without which the numbers around it would rise."""
    before = [count for cell, count in run if cell.index < above[0].index]
    ran_later = not before or before[-1] < below[1]
    return (above if ran_later else below)[0].index


def _gap(run: Sequence[_Numbered], counts: Sequence[int]) -> tuple[_Numbered, _Numbered] | None:
    """Return the first two cells that numbers are missing between, wherever those might stand."""
    known = sorted(set(counts))
    for above, below in pairwise(run):
        between = bisect_left(known, below[1]) - bisect_right(known, above[1])
        if between < below[1] - above[1] - 1:
            return above, below
    return None


def _finding(severity: Severity, message: str, cell: int) -> Finding:
    return Finding(
        code=FindingCode.HIDDEN_STATE,
        severity=severity,
        message=message,
        hint="Restart the kernel and run all cells, to see what the run will do.",
        cell=cell,
    )
