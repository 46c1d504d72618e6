"""Python packages on top of a conda environment: what locks them, and what conda brings."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from packaging.utils import canonicalize_name

from element_jupyter.core.environments.building import Rules, Tell
from element_jupyter.core.environments.definitions import Found
from element_jupyter.core.environments.identity import Artefact


class PythonPackages(Protocol):
    """Locks and installs Python packages for an interpreter that conda has made.

    Everything that goes wrong is an `EnvironmentFailed`. The packages of the kernel are asked for
    like any others: nothing is added.
    """

    def lock(
        self,
        found: Found,
        python: Path,
        rules: Rules,
        tell: Tell,
        *,
        previous: Sequence[Artefact] = (),
        scratch: Path,
    ) -> tuple[Artefact, ...]:
        """Return the wheels of what a requirements file names, with all that they need.

        `found` is that file (the `pip:` section) among the files of the definition; it includes one
        with the versions that conda brings, as constraints. `previous` are preferred.
        """
        ...

    def install(self, wheels: Sequence[Artefact], python: Path, rules: Rules, tell: Tell) -> None:
        """Install exactly these wheels into an interpreter's own `site-packages`.

        Hashes are verified; nothing else is installed, changed or removed. The interpreter is no
        virtual environment.
        """
        ...


def provided_by_conda(prefix: Path) -> dict[str, str]:
    """Return names (PEP 503) and versions of the distributions in a conda environment."""
    sites = [str(each) for each in sorted(prefix.glob("lib/python*/site-packages"))]
    found = importlib.metadata.distributions(path=sites)
    return dict(sorted((canonicalize_name(each.name), each.version) for each in found))
