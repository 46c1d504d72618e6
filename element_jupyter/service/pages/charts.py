"""Charts as SVG, drawn by the server; the table beneath each is its text alternative."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

_WIDTH: Final = 1100
_HEIGHT: Final = 240
_LEFT: Final = 60
_RIGHT: Final = 8
_TOP: Final = 12
_BOTTOM: Final = 28
_LABELS: Final = 12
_LINES: Final = 4


@dataclass(frozen=True, slots=True)
class Column:
    """One column: a whole, of which a part was idle, and what it says when pointed at."""

    label: str
    whole: float
    idle: float
    words: str


def columns(found: Sequence[Column], *, title: str, described_by: str) -> Markup:
    """Draw columns from left to right, the idle part on top and striped.

    `described_by` is the id of the table that has the same in words.
    """
    most = scale(max((each.whole for each in found), default=0.0))
    high, wide = _HEIGHT - _TOP - _BOTTOM, _WIDTH - _LEFT - _RIGHT
    step = wide / max(1, len(found))
    parts = [_grid(most, high)]
    every = math.ceil(len(found) / _LABELS)
    for number, each in enumerate(found):
        left = _LEFT + number * step + step * 0.15
        tall = high * each.whole / most
        idle = high * min(each.idle, each.whole) / most
        bottom = _TOP + high
        parts.append(Markup("<g><title>{}</title>").format(each.words))
        parts.append(_bar("used", left, bottom - tall + idle, step * 0.7, tall - idle))
        parts.append(_bar("idle", left, bottom - tall, step * 0.7, idle))
        parts.append(Markup("</g>"))
        if number % every == 0:
            middle = left + step * 0.35
            parts.append(
                Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                    middle, _HEIGHT - 8, each.label
                )
            )
    return Markup(
        '<svg class="el-chart" viewBox="0 0 {} {}" role="img" aria-label="{}"'
        ' aria-describedby="{}">{}{}</svg>'
    ).format(_WIDTH, _HEIGHT, title, described_by, _STRIPES, Markup("").join(parts))


def share_bar(whole: float, idle: float, most: float) -> Markup:
    """Draw one row's bar, beside which its numbers stand."""
    used, idle = (100 * each / most if most else 0.0 for each in (max(0.0, whole - idle), idle))
    return Markup(
        '<svg class="el-share-bar" viewBox="0 0 100 10" preserveAspectRatio="none"'
        ' aria-hidden="true">{}{}</svg>'
    ).format(_bar("used", 0, 0, used, 10), _bar("idle", used, 0, idle, 10))


def legend(used: str, idle: str) -> Markup:
    """Say what the two fillings mean."""
    return Markup(
        '<ul class="el-legend" aria-hidden="true">'
        '<li><svg viewBox="0 0 10 10">{}</svg> {}</li>'
        '<li><svg viewBox="0 0 10 10">{}{}</svg> {}</li></ul>'
    ).format(_bar("used", 0, 0, 10, 10), used, _STRIPES, _bar("idle", 0, 0, 10, 10), idle)


def scale(most: float) -> float:
    """Return a round number that is not less, for the top of a scale."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(power * times for times in (1, 2, 4, 5, 8, 10) if power * times >= most * 0.9999)


def _grid(most: float, high: float) -> Markup:
    lines = []
    for number in range(_LINES + 1):
        y = _TOP + high * (1 - number / _LINES)
        lines.append(
            Markup(
                '<line class="el-grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
                '<text x="{}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(_LEFT, _WIDTH - _RIGHT, y, y, _LEFT - 6, y + 4, f"{most * number / _LINES:,g}")
        )
    return Markup("").join(lines)


def _bar(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    at = Markup('x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"').format(
        x, y, max(0.0, width), max(0.0, height)
    )
    if width <= 0 or height <= 0:
        return Markup("")
    plain = Markup('<rect class="el-fill-{}" {}/>').format(kind, at)
    if kind == "used":
        return plain
    return plain + Markup('<rect fill="url(#el-stripes)" {}/>').format(at)


_STRIPES: Final = Markup(
    '<defs><pattern id="el-stripes" width="5" height="5" patternUnits="userSpaceOnUse"'
    ' patternTransform="rotate(45)"><line class="el-stripe" x1="0" y1="0" x2="0" y2="5"/>'
    "</pattern></defs>"
)
