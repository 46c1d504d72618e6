"""Where the files are that an administrator edits: the configured place, else what comes along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from element_jupyter.adapters.admin_files import AdminFile
from element_jupyter.config import Element
from element_jupyter.core.sizes import Sizes


def sizes(settings: Element) -> Callable[[], Sizes]:
    """Return what says the sizes that there are now.

    They are those of `Element.sizes_file`, else of `sizes.yaml` in the data directory once there
    is one, else those that come with Element. What is returned raises Invalid while none of what
    the file has said was right.
    """
    if settings.sizes_file:
        chosen = AdminFile(Path(settings.sizes_file), Sizes)
        return lambda: chosen.value
    own = AdminFile(settings.data / "sizes.yaml", Sizes)
    ours = AdminFile(packaged("sizes.yaml"), Sizes)
    return lambda: (own if own.path.exists() else ours).value


def packaged(name: str) -> Path:
    """Return a file of `hub_config/`, in what was installed or in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "hub_config" / name
    return installed if installed.is_file() else package.parent / "hub_config" / name
