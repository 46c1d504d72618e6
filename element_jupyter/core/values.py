"""The base of every value, and the few types that all of them share."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints


class Value(BaseModel):
    """An immutable value; an unknown key is an error that names it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        # what is answered has every key, and its schema says so
        json_schema_serialization_defaults_required=True,
    )


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


UtcTime = Annotated[AwareDatetime, AfterValidator(_utc)]
"""An aware time, normalised to UTC; naive input is refused."""

Name = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$", min_length=1, max_length=63)
]
"""A name: 1-63 lower-case letters and digits, with single `.`, `_` or `-` between them.

Being so narrow, it is safe as a path segment, an Airflow id (`team--name`) and a URL segment.
"""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A sha256 in lower-case hexadecimal."""

ParameterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,254}$")]
"""A variable name that every kernel's language accepts."""


_UNITS: Final = {
    "": 1,
    "second": 1,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "day": 86_400,
    "week": 7 * 86_400,
}


def parse_seconds(text: Any) -> Any:
    """Read a length of time: `90 days`, `2 h`, `30 min`, `never`, a number of seconds.

    Raises:
        ValueError: it is none.
    """
    if text == "never":
        return None
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*?)s?\s*", text)
    unit = match and _UNITS.get(match[2])
    if match is None or unit is None:
        raise ValueError("it must be a length of time, such as '2 h', '30 min' or '90 days'")
    return float(match[1]) * unit


def slug(text: str, default: str = "notebook") -> str:
    """Return the nearest valid `Name` to free text (`Daily Sales (v2)` → `daily-sales-v2`)."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", lambda gap: gap[0] if gap[0] in {*"._-"} else "-", plain)
    return plain.strip("-._")[:63].strip("-._") or default
