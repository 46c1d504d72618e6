"""Composition of what a run reads of the machine that it is on."""

from __future__ import annotations

from element_jupyter.adapters.resources.cgroups import Cgroups
from element_jupyter.adapters.resources.gpus import NvidiaGpus
from element_jupyter.adapters.resources.processes import process_reader
from element_jupyter.runner.machine import Machine


def this_machine() -> Machine:
    """Return the readers of the machine that this process is on."""
    return Machine(processes=process_reader(), groups=Cgroups(), gpus=NvidiaGpus())
