"""Composition of the engine that papermill is given; nothing of papermill is imported here."""

from __future__ import annotations

from element_jupyter.runner.engine import ElementEngine
from element_jupyter.runner.machine import Machine


class Engine(ElementEngine):
    """The engine, on this machine."""

    @classmethod
    def machine(cls) -> Machine:
        from element_jupyter.platform.machine import this_machine

        return this_machine()
