"""Pages of long lists, and the opaque cursors that lead from one to the next."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from pydantic import JsonValue

from element_jupyter.core.errors import Invalid
from element_jupyter.core.values import Value

Item = TypeVar("Item")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Page(Value, Generic[Item]):
    """Part of a list; `next_cursor` is None on the last page."""

    items: tuple[Item, ...]
    next_cursor: str | None = None


def encode_cursor(*keys: JsonValue) -> str:
    """Pack the sort keys of the last item of a page into a cursor."""
    return base64.urlsafe_b64encode(json.dumps(keys, separators=(",", ":")).encode()).decode()


def decode_cursor(cursor: str, *kinds: type[Any]) -> tuple[Any, ...]:
    """Unpack a cursor's sort keys, which must be of these kinds.

    Raises:
        Invalid: it is not one of ours; `field` is `cursor`.
    """
    try:
        keys = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (binascii.Error, ValueError, RecursionError):
        keys = None
    if (
        not isinstance(keys, list)
        or len(keys) != len(kinds)
        or not all(isinstance(key, kind) for key, kind in zip(keys, kinds, strict=True))
    ):
        raise _foreign()
    return tuple(keys)


def key_of_moment(at: datetime) -> int:
    """Return a moment as a sort key of cursors: microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def moment_of_key(key: int) -> datetime:
    """Return the moment that a cursor's sort key says.

    Raises:
        Invalid: there is no such moment; `field` is `cursor`.
    """
    try:
        return _EPOCH + key * _MICROSECOND
    except OverflowError:
        raise _foreign() from None


def _foreign() -> Invalid:
    return Invalid(
        "This cursor is not from here.", "Ask without a cursor to begin anew.", field="cursor"
    )
