"""One spawner for editors and runs, whatever starts their processes: `wrap` any spawner's class."""

from __future__ import annotations

from typing import Any

from jupyterhub.spawner import LocalProcessSpawner, Spawner

from element_jupyter.hub.spawner.enforcing import EnforcingMixin
from element_jupyter.hub.spawner.held import Held, Released, Services
from element_jupyter.hub.spawner.local import LaunchMixin, LocalMachine, LocalMixin

__all__ = ["Held", "LocalMachine", "Released", "Services", "wrap"]


def wrap(
    backend: type[Spawner], services: Services, machine: LocalMachine | None = None
) -> type[Spawner]:
    """Return a spawner's class that is Element's; `machine` is what a local one needs.

    Raises:
        ValueError: it starts processes here, and is not told how.
    """
    bases: tuple[type, ...] = (EnforcingMixin,)
    parts: dict[str, Any] = {"services": services, "__doc__": backend.__doc__}
    kinds = {kind.__name__ for kind in backend.__mro__}
    if issubclass(backend, LocalProcessSpawner):
        if machine is None:
            raise ValueError(f"{backend.__name__} needs to know its machine")
        bases = (LocalMixin, EnforcingMixin, LaunchMixin)
        parts["machine"] = machine
    elif "BatchSpawnerBase" in kinds:
        from element_jupyter.hub.spawner.batch import BatchMixin

        bases = (BatchMixin, EnforcingMixin)
    elif "KubeSpawner" in kinds:
        from element_jupyter.hub.spawner.pods import PodMixin

        bases = (PodMixin, EnforcingMixin)
    return type(f"Element{backend.__name__}", (*bases, backend), parts)
