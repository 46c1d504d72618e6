"""What people ask for beyond their limits, until when, and what became of it."""

from __future__ import annotations

from enum import StrEnum


class RequestState(StrEnum):
    """What became of a request."""

    OPEN = "open"
    APPROVED = "approved"
    DECLINED = "declined"
