"""Conda: locks and installs `environment.yml` and pixi projects with py-rattler.

py-rattler is the optional extra `conda`. Nothing here imports it but `worker`, which is run as a
process of its own: it may crash when its interpreter exits, and that must harm nobody.

Python packages of a `pip:` section, and those of a `pixi.lock`, are another tool's business. It is
handed in as `PythonPackages` when the objects are composed:

    from element_jupyter.adapters.uv.on_conda import UvOnConda
    Rattler(python_packages=UvOnConda())

Without one, a definition that needs it is refused with a sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from element_jupyter.adapters.rattler.engine import Rattler
    from element_jupyter.adapters.rattler.python_packages import PythonPackages

__all__ = ["PythonPackages", "Rattler"]

_MODULES = {"PythonPackages": "python_packages", "Rattler": "engine"}


def __getattr__(name: str) -> Any:
    # the worker is in this package, and needs nothing of it
    if name not in _MODULES:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
