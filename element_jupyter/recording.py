"""`record(auc=0.93)` in a notebook: the run's record keeps it, and later tasks may take it.

It is an ordinary display of the type `application/vnd.element.record+json`, an object of names and
values, so a kernel without this package can record by displaying that; in an editor it shows as
text. Imports nothing but the standard library, and IPython when it is called.
"""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any

RECORD_TYPE = "application/vnd.element.record+json"


def record(**values: Any) -> None:
    """Record named values: numbers, texts, truth values, None, dates, and lists and dicts of them.

    Raises:
        TypeError: a value of another type, or a number that JSON does not know (nan, inf).
    """
    from IPython.display import display

    plain = {name: _plain(value, name) for name, value in values.items()}
    text = ", ".join(f"{name} = {json.dumps(value)}" for name, value in plain.items())
    display({RECORD_TYPE: plain, "text/plain": f"Recorded {text}"}, raw=True)  # type: ignore[no-untyped-call]


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(item, f"{name}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, name) for item in value]
    if hasattr(value, "tolist") and callable(value.tolist):  # numpy's numbers and arrays
        value = value.tolist()
        return _plain(value, name) if isinstance(value, list) else _checked(value, name)
    return _checked(value, name)


def _checked(value: Any, name: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{name} is {value}, which cannot be recorded; record None instead")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"{name} is a {type(value).__name__}, which cannot be recorded; "
        "record numbers, texts, and lists and dicts of them, and write the rest to a file"
    )
