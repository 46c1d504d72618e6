"""The store of built environments: a directory that many processes of one machine share.

    envs/<environment id>/     an environment, read-only: only the byte-code pool adds to it
    index/<definition key>     what a definition has become
    locks/<lock id>            locks, by the sha256 of their bytes
    building/<name>.lock       held by who builds; the kernel lets go of it when that dies
    builds/<build id>/         what a build was asked for and what it tells
    tmp/  trash/               half-built, and on its way out
    pyc/<tag>-<magic>/         byte-code, once for all environments
    held/  used/  sizes/       who uses an environment, when it was used last, what it weighs
    uv-cache/  rattler-cache/  what environments' files are hard links of

An environment is built in `tmp/`, checked, made read-only, and shown by one rename. So whatever is
in `envs/` is whole, whoever dies when, and readers need no lock.
"""

from element_jupyter.adapters.environment_store.build_log import BuildLog
from element_jupyter.adapters.environment_store.holding import alive, started_ticks
from element_jupyter.adapters.environment_store.layout import Layout
from element_jupyter.adapters.environment_store.pruning import Kept
from element_jupyter.adapters.environment_store.remembering import Indexed
from element_jupyter.adapters.environment_store.store import EnvironmentStore

__all__ = [
    "BuildLog",
    "EnvironmentStore",
    "Indexed",
    "Kept",
    "Layout",
    "alive",
    "started_ticks",
]
