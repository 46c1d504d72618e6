"""Memory as people say it. Its limits are set in powers of two; files are told in powers of ten."""

from __future__ import annotations


def memory_in_words(size_bytes: int) -> str:
    """Return a size in its largest unit: `1.3 GiB`, `390 MiB`."""
    for unit, bytes_of in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= bytes_of:
            value = size_bytes / bytes_of
            return f"{value:.1f} {unit}" if unit == "GiB" else f"{value:.0f} {unit}"
    return f"{size_bytes} B"
