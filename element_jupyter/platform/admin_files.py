"""Where the files are that an administrator edits: the configured place, else what comes along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from element_jupyter.adapters.admin_files import AdminFile
from element_jupyter.config import Element
from element_jupyter.core.care.policy import CarePolicy
from element_jupyter.core.ledger.prices import Prices
from element_jupyter.core.quotas.rules import Quotas
from element_jupyter.core.sizes import Sizes
from element_jupyter.core.values import Value

V = TypeVar("V", bound=Value)


def sizes(settings: Element) -> Callable[[], Sizes]:
    """Return what says the sizes that there are now.

    They are those of `Element.sizes_file`, else of `sizes.yaml` in the data directory once there
    is one, else those that come with Element. What is returned raises Invalid while none of what
    the file has said was right.
    """
    return _said(settings, settings.sizes_file, "sizes.yaml", Sizes)


def quotas(settings: Element) -> Callable[[], Quotas]:
    """Return what says the quotas that there are now; found, and raises, as the sizes."""
    return _said(settings, settings.quotas_file, "quotas.yaml", Quotas)


def prices(settings: Element) -> Callable[[], Prices]:
    """Return what says the prices that there are; found, and raises, as the sizes."""
    return _said(settings, settings.prices_file, "prices.yaml", Prices)


def care(settings: Element) -> Callable[[], CarePolicy]:
    """Return what says what is tidied up; found, and raises, as the sizes."""
    return _said(settings, settings.care_file, "care.yaml", CarePolicy)


def _said(settings: Element, elsewhere: str, name: str, kind: type[V]) -> Callable[[], V]:
    if elsewhere:
        chosen = AdminFile(Path(elsewhere), kind)
        return lambda: chosen.value
    own = AdminFile(settings.data / name, kind)
    ours = AdminFile(packaged(name), kind)
    return lambda: (own if own.path.exists() else ours).value


def packaged(name: str) -> Path:
    """Return a file of `hub_config/`, in what was installed or in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "hub_config" / name
    return installed if installed.is_file() else package.parent / "hub_config" / name
