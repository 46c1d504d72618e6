"""Reports of the ledger as Parquet, by pyarrow, which is installed where somebody wants it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any, Final

from element_jupyter.core.errors import Invalid
from element_jupyter.core.ledger.reports import UsageRow

_DIGITS: Final = 6
"""Of money, after the point."""


class _Passing(io.RawIOBase):
    """A file that is taken away as it is written, and yet knows how long it is."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        self._size_bytes += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._size_bytes

    def taken(self) -> bytes:
        found = b"".join(self._pieces)
        self._pieces.clear()
        return found


async def parquet_chunks(
    found: AsyncIterator[Sequence[UsageRow]], fields: tuple[str, ...]
) -> AsyncIterator[bytes]:
    """Yield a Parquet file, piece by piece; money is decimal128(38, 6).

    Raises:
        Invalid: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise Invalid(
            "Parquet cannot be written here: pyarrow is not installed.",
            "An administrator installs `element-jupyter[parquet]`; CSV needs nothing.",
            field="format",
        ) from None
    kinds: dict[str, Any] = {name: pa.float64() for name in fields if name.endswith("_hours")}
    kinds |= {"count": pa.int64(), "day": pa.date32(), "idle_share": pa.float64()}
    kinds |= dict.fromkeys(("cost", "idle_cost"), pa.decimal128(38, _DIGITS))
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in fields])
    file = _Passing()
    with parquet.ParquetWriter(file, schema) as writer:
        async for some in found:
            columns = {name: [_value(getattr(row, name)) for row in some] for name in fields}
            writer.write_table(pa.table(columns, schema=schema))
            yield file.taken()
    yield file.taken()


def _value(value: Any) -> Any:
    return round(value, _DIGITS) if isinstance(value, Decimal) else value
