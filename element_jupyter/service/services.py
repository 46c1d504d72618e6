"""What the routes' functions are given: the objects that the composition root has built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Services:
    """The control plane's parts."""

    jobs: Any
    runs: Any
    fires: Any
