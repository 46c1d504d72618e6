"""Files beside a notebook that people may expect to count, and why they do not."""

from __future__ import annotations

from element_jupyter.core.environments.definitions import DEFINITION_FILES

_IMAGE = "it is not executed here: system packages and set-up scripts need an image of their own"
_R = "R is not set up from it: name r-irkernel in an environment.yml instead"
_JULIA = "Julia is not set up from it"
_SETUP = "it is not executed: name the packages in requirements.txt or pyproject.toml"
_PIPENV = "it is not read: `pipenv requirements > requirements.txt` writes what is"
_OTHER_LOCK = "it is not read: the locks that count are uv.lock, pixi.lock and pylock.toml"

REASONS = {
    "apt.txt": _IMAGE,
    "postBuild": _IMAGE,
    "start": _IMAGE,
    "Dockerfile": _IMAGE,
    "default.nix": _IMAGE,
    "install.R": _R,
    "DESCRIPTION": _R,
    "renv.lock": _R,
    "Project.toml": _JULIA,
    "JuliaProject.toml": _JULIA,
    "REQUIRE": _JULIA,
    "setup.py": _SETUP,
    "setup.cfg": _SETUP,
    "Pipfile": _PIPENV,
    "Pipfile.lock": _PIPENV,
    "poetry.lock": _OTHER_LOCK,
    "pdm.lock": _OTHER_LOCK,
    "conda-lock.yml": _OTHER_LOCK,
    "anaconda-project.yml": "it is not read: write an environment.yml",
    "conda-project.yml": "it is not read: write an environment.yml",
    **{each.capitalize(): f"it would count as {each}" for each in DEFINITION_FILES},
    "requirement.txt": "it would count as requirements.txt",
    "env.yml": "it would count as environment.yml",
    "env.yaml": "it would count as environment.yml",
}

NEVER_EXECUTED = frozenset(
    ("apt.txt", "postBuild", "start", "Dockerfile", "default.nix", "install.R", "setup.py")
)


def notice_of(paths: list[str]) -> str:
    """Return the sentence about files that are never executed."""
    names = paths[0] if len(paths) == 1 else f"{', '.join(paths[:-1])} and {paths[-1]}"
    verb = "is" if len(paths) == 1 else "are"
    return f"{names} {verb} not executed: Element installs packages from definitions only."
