"""What is tidied up next: shown to administrators before it is."""

from __future__ import annotations

from typing import Literal

from element_jupyter.core.care.policy import CarePolicy
from element_jupyter.core.values import Name, UtcTime, Value


class ServerStanding(Value):
    """What is known of a server that runs."""

    allocation_id: str
    person: Name
    server: str
    team: Name
    size: Name
    begun_at: UtcTime
    active_at: UtcTime
    """When somebody or something last did anything in it."""
    reported_at: UtcTime | None
    """When it last said what it does; null when it never has."""
    working: bool
    busy: bool
    """Whether a kernel is busy and uses nothing."""
    connections: int
    kept_until: UtcTime | None
    warned_at: UtcTime | None
    stops_at: UtcTime | None
    """When it is stopped if nothing changes."""
    why: str


class CareShown(Value):
    """The policy in force, and how the servers stand that run."""

    policy: CarePolicy
    servers: tuple[ServerStanding, ...]


class Tidied(Value):
    """One thing that would be tidied up now."""

    what: Literal["server", "outputs", "trash"]
    subject: str
    sentence: str
    frees_bytes: int | None = None
    """Of disk, or of a server's memory."""
    frees_cores: float | None = None
    restorable_until: UtcTime | None = None


class CarePreview(Value):
    """What would be tidied up now."""

    items: tuple[Tidied, ...]
    disk_bytes: int
    memory_bytes: int
    cores: float
