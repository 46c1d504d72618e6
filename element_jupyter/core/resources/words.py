"""Memory as people say it. Its limits are set in powers of two; files are told in powers of ten."""

from __future__ import annotations


def memory_in_words(size_bytes: int) -> str:
    """Return a size in its largest unit: `1.3 GiB`, `390 MiB`."""
    for unit, bytes_of in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= bytes_of:
            value = size_bytes / bytes_of
            return f"{value:.1f} {unit}" if unit == "GiB" else f"{value:.0f} {unit}"
    return f"{size_bytes} B"


def of_limit(used_bytes: int, limit_bytes: int) -> str:
    """Return a part of a limit in the limit's unit: `1.9 of 2.0 GiB`."""
    size, unit = (2**30, "GiB") if limit_bytes >= 2**30 else (2**20, "MiB")
    digits = 1 if limit_bytes < 100 * size else 0
    used, limit = min(used_bytes, limit_bytes) / size, limit_bytes / size
    return f"{used:.{digits}f} of {limit:.{digits}f} {unit}"
