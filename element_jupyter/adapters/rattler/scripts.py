"""Console scripts that were installed where an environment is made, and must work where it will be.

uv writes the interpreter's path into them. They are replaced, never written to: a file here may be
a link to one in the cache. `RECORD` of their distributions is brought up to date.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
from pathlib import Path


def point_scripts_at(final: Path, prefix: Path) -> None:
    """Let every script of an environment in `prefix` name the interpreter in `final`."""
    before, after = f"{prefix}/bin/".encode(), f"{final}/bin/".encode()
    changed = {}
    for script in sorted((prefix / "bin").iterdir()):
        if script.is_symlink() or not script.is_file():
            continue
        with script.open("rb") as file:
            start = file.read(2)
        if start == b"#!" and before in (content := script.read_bytes()):
            changed[script] = content.replace(before, after)
    for script, content in changed.items():
        _replace(script, content)
    if changed:
        for record in prefix.glob("lib/python*/site-packages/*.dist-info/RECORD"):
            _update(record, changed)


def _update(record: Path, changed: dict[Path, bytes]) -> None:
    rows, touched = list(csv.reader(record.read_text(encoding="utf-8").splitlines())), False
    site = record.parent.parent
    for row in rows:
        content = row and row[0].startswith("..") and changed.get(_path(site, row[0]))
        if content:
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            row[1:] = [f"sha256={digest.rstrip('=')}", str(len(content))]
            touched = True
    if touched:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        _replace(record, text.getvalue().encode())


def _path(site: Path, name: str) -> Path:
    return Path(os.path.normpath(site / name))


def _replace(path: Path, content: bytes) -> None:
    half = path.with_name(f".{path.name}.new")
    half.write_bytes(content)
    half.chmod(path.stat().st_mode & 0o7777)
    half.replace(path)
