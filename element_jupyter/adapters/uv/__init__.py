"""Python environments by `uv`: interpreters, locks as PEP 751 documents, installing them.

`Uv` is the `Engine`; `Interpreters` knows the Pythons of this machine; `explain` puts what uv says
into words. They are imported when they are asked for: choosing an interpreter is on the way of
every kernel's start, resolving is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from element_jupyter.adapters.uv.engine import Uv
    from element_jupyter.adapters.uv.failures import explain
    from element_jupyter.adapters.uv.interpreters import Interpreters
    from element_jupyter.adapters.uv.process import Sandbox

__all__ = ["Interpreters", "Sandbox", "Uv", "explain"]

_MODULES = {
    "Interpreters": "interpreters",
    "Sandbox": "process",
    "Uv": "engine",
    "explain": "failures",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
