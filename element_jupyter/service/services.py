"""What the routes' functions are given: the objects that the composition root has built."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from element_jupyter.core.orchestration import Orchestrator
from element_jupyter.core.provisioning import Launch, ProcessExit
from element_jupyter.core.schedules import WallClock
from element_jupyter.core.sizes import Free, Sizes
from element_jupyter.core.snapshots import Blobs, SnapshotLimits

if TYPE_CHECKING:
    from element_jupyter.service.advice import Adviser
    from element_jupyter.service.audit import Audit
    from element_jupyter.service.care import ServerCare
    from element_jupyter.service.fires import Fires
    from element_jupyter.service.jobs import Jobs
    from element_jupyter.service.ledger import Ledger
    from element_jupyter.service.notices import Notices
    from element_jupyter.service.policies import Policies
    from element_jupyter.service.quota_requests import QuotaRequests
    from element_jupyter.service.quota_standings import QuotaStandings
    from element_jupyter.service.quotas import QuotaKeeper
    from element_jupyter.service.retention import Retention
    from element_jupyter.service.run_files import RunFiles
    from element_jupyter.service.running import Running
    from element_jupyter.service.runs import Runs
    from element_jupyter.service.snapshot_rights import SnapshotRights
    from element_jupyter.service.storage import StorageKeeper


class Launches(Protocol):
    """The control plane's side of `core.provisioning.Launcher`."""

    async def redeem(self, run_id: str, ticket: str, person: str) -> Launch: ...
    async def ended(self, run_id: str, owner: str, how: ProcessExit) -> None: ...


@dataclass(frozen=True)
class Services:
    """The control plane's parts."""

    advice: Adviser
    audit: Audit
    jobs: Jobs
    runs: Runs
    fires: Fires
    blobs: Blobs
    snapshots: SnapshotRights
    storage: StorageKeeper
    limits: SnapshotLimits
    run_files: RunFiles
    orchestrator: Orchestrator
    clock: WallClock
    version: str
    now: Callable[[], datetime]
    openapi: Callable[[], dict[str, Any]]
    sizes: Callable[[], Sizes]
    free: Callable[[], Awaitable[Free]]
    quotas: QuotaKeeper
    policies: Policies
    quota_requests: QuotaRequests
    quota_standings: QuotaStandings
    notices: Notices
    ledger: Ledger
    running: Running
    care: ServerCare
    retention: Retention
    hub: bool = False
    """Whether people sign in at a Hub."""
    launches: Launches | None = None
    """What the Hub's spawner asks; None where no Hub starts the processes of runs."""
