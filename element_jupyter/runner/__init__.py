"""The runner: executes one notebook, tells what happens, and writes the result."""

from __future__ import annotations

import sys
from typing import Final

PRELOAD: Final = ("element_jupyter.platform.runner", "element_jupyter.platform.remote_run")
"""What a fork server imports so that a forked runner starts at once; it brings in all the rest."""

# nbformat imports jsonschema, and that this package when it is there, which parses a grammar of
# internationalised addresses for a second or more; no notebook's schema has such a format
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
