"""Composition of the Jupyter server extension: what `jupyter lab` loads."""

from __future__ import annotations

from typing import Any, Final

from jupyter_server.extension.application import ExtensionApp

from element_jupyter import config
from element_jupyter.adapters.snapshot_roots import SnapshotRoots
from element_jupyter.platform import lab_snapshot
from element_jupyter.platform.data import Data
from element_jupyter.platform.environments.composition import environments
from element_jupyter.platform.hub_server import hub_server
from element_jupyter.platform.lab_activity import LabActivity
from element_jupyter.platform.lab_environments import NotebookEnvironments
from element_jupyter.platform.lab_inspection import NotebookInspector
from element_jupyter.platform.lab_resources import LabResources
from element_jupyter.platform.on_demand import OnDemandPlatform
from element_jupyter.server import resources
from element_jupyter.server.control_plane import Address, ControlPlane
from element_jupyter.server.environments import handlers
from element_jupyter.server.forward import ForwardHandler
from element_jupyter.server.http import MOUNT
from element_jupyter.server.notebooks import InspectHandler
from element_jupyter.server.platform import PlatformHandler
from element_jupyter.server.provisioner import be_the_default, kernel_of
from element_jupyter.server.resource_metrics import ResourceMetrics
from element_jupyter.server.snapshots import OriginHandler, SnapshotHandler

PROVISIONER: Final = "element-environment"
"""The entry point, in pyproject.toml."""

SLACK_SECONDS: Final = 300.0
"""What waiting for another build, and starting the kernel, may add to the time of a build."""


class ElementExtension(ExtensionApp):
    """Element in a person's Jupyter server."""

    name = "element_jupyter"
    load_other_extensions = True

    def initialize_handlers(self) -> None:
        hub = hub_server()
        element = config.load(owner=hub.person if hub else None)
        told = Address(hub.url, hub.token) if hub else None
        self._control_plane = ControlPlane(element.state_file, element.token_file, told)
        shared = {"control_plane": self._control_plane}
        # the panels offer to start what runs notebooks only where that would not be refused
        server: Any = self.serverapp
        starts = element.on_demand_seconds and hub is None
        page = server.web_app.settings.setdefault("page_config_data", {})
        page["elementStartsPlatform"] = "true" if starts else "false"
        known = environments(element)
        if known is not None:
            waits_seconds = element.build_timeout_seconds + SLACK_SECONDS
            be_the_default(self.serverapp, PROVISIONER, waits_seconds)
        on_demand = OnDemandPlatform(element, of_hub=hub is not None)
        inspect = NotebookInspector(element, known, team=hub.team if hub else element.owner)
        take = {**shared, "take": lab_snapshot.take, "team": hub.team if hub else None}
        root_of = SnapshotRoots(Data(element.data).snapshot_roots_file).root_of
        self._resources = LabResources(self.serverapp)
        self._metrics = ResourceMetrics(self._resources)
        # where no Hub has started it, nobody stops it either
        self._activity = LabActivity(self.serverapp, self._control_plane) if hub else None
        if self._activity is not None:
            self._resources.sampled = self._activity.sampled
        self.handlers += [
            (rf"/{MOUNT}/snapshots", SnapshotHandler, take),
            (rf"/{MOUNT}/snapshots/([^/]+)/origin", OriginHandler, {"root_of": root_of}),
            (rf"/{MOUNT}/notebooks/inspect", InspectHandler, {"inspect": inspect}),
            (rf"/{MOUNT}/platform", PlatformHandler, {"start": on_demand.start}),
            *handlers(NotebookEnvironments(known) if known else None, kernel_of),
            *resources.handlers(self._resources),
            (rf"/{MOUNT}/.*", ForwardHandler, shared),
        ]

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        self._resources.start()
        if self._activity is not None:
            self._activity.start()

    async def stop_extension(self) -> None:
        self._metrics.close()
        if self._activity is not None:
            await self._activity.stop()
        await self._resources.stop()
        await self._control_plane.close()
