"""A DAG processor that is told which job files changed, instead of looking through all of them.

Airflow 3.3's goes through every known file once a second: at 1,000 jobs that is most of its work,
although nothing happened. For the bundle of jobs this one keeps a request to the control plane open
that is answered when a job changes; until then it leaves the files alone. Other bundles are treated
as always, if a little less often.
"""

from __future__ import annotations

import selectors
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager

from element_jupyter.core.errors import Unavailable
from element_jupyter.provider.bundle import ElementDagBundle
from element_jupyter.provider.settings import settings
from element_jupyter.provider.watch import watch

if TYPE_CHECKING:
    import socket

    from airflow.dag_processing.bundles.base import BaseDagBundle

_SCAN_SECONDS: Final = 5.0
"""How often all known files are looked through for changes that nobody tells."""
_FALLBACK_SECONDS: Final = 60.0
"""How often the jobs are asked for although nothing was told."""


@attrs.define(kw_only=True)
class JobProcessorManager(DagFileProcessorManager):
    """Airflow's `DagFileProcessorManager`, for many jobs that seldom change."""

    _watches: dict[str, socket.socket] = attrs.field(factory=dict, init=False)
    _told: dict[tuple[str, Path], DagFileInfo] = attrs.field(factory=dict, init=False)
    _present: dict[str, set[DagFileInfo]] = attrs.field(factory=dict, init=False)
    _next_scan: float = attrs.field(default=0.0, init=False)

    def claim_priority_files(self) -> list[DagFileInfo]:
        """Add the jobs that changed to the files that a person asked to be parsed."""
        claimed = super().claim_priority_files()
        for bundle in self._dag_bundles:
            if isinstance(bundle, ElementDagBundle) and bundle.is_initialized:
                self._look(bundle)
        parsing = {file.presence_key for file in self._processors}
        # a file that is being parsed is parsed again afterwards: it may have been read too early
        ready = [key for key in self._told if key not in parsing]
        return claimed + [self._told.pop(key) for key in ready]

    def should_skip_refresh(
        self,
        *,
        bundle: BaseDagBundle,
        elapsed_time_since_refresh: float,
        current_version_matches_db: bool,
        previously_seen: bool,
    ) -> bool:
        """Leave watched jobs alone while nothing is told of them."""
        if bundle.name in self._watches and elapsed_time_since_refresh < _FALLBACK_SECONDS:
            elapsed_time_since_refresh = 0.0
        skip: bool = super().should_skip_refresh(
            bundle=bundle,
            elapsed_time_since_refresh=elapsed_time_since_refresh,
            current_version_matches_db=current_version_matches_db,
            previously_seen=previously_seen,
        )
        return skip

    def prepare_file_queue(self, known_files: dict[str, set[DagFileInfo]]) -> None:
        """Look through all files now and then: new and changed jobs are queued without it."""
        if time.monotonic() >= self._next_scan:
            super().prepare_file_queue(known_files)
            self._next_scan = time.monotonic() + _SCAN_SECONDS

    def deactivate_deleted_dags(self, bundle_name: str, present: set[DagFileInfo]) -> None:
        """Look for DAGs without a file, which reads all of them, only when a file has gone."""
        before = self._present.get(bundle_name)
        if before is None or not before <= present:
            super().deactivate_deleted_dags(bundle_name, present)
        self._present[bundle_name] = present

    def _find_files_in_bundle(self, bundle: BaseDagBundle) -> list[Path]:
        if isinstance(bundle, ElementDagBundle):
            return bundle.files()
        files: list[Path] = super()._find_files_in_bundle(bundle)
        return files

    def _look(self, bundle: ElementDagBundle) -> None:
        """Fetch what changed, unless the open request says that nothing did."""
        if bundle.name not in self._watches:
            before = bundle.sequence
            bundle.refresh()
            if bundle.sequence != before:
                self.request_bundle_refresh(bundle.name)
            self._watch(bundle)
        for path in bundle.written:
            file = DagFileInfo(rel_path=path, bundle_name=bundle.name, bundle_path=bundle.path)
            self._told[file.presence_key] = file
        bundle.written.clear()

    def _watch(self, bundle: ElementDagBundle) -> None:
        try:
            connection = watch(settings(), bundle.sequence)
        except Unavailable:
            # the bundle has said so; it is tried again with the next turn of the loop
            return
        self._watches[bundle.name] = connection

        def forget(_: socket.socket) -> None:
            self.selector.unregister(connection)
            del self._watches[bundle.name]

        # whatever comes, the request is over
        self.selector.register(connection, selectors.EVENT_READ, (lambda _: False, forget))
