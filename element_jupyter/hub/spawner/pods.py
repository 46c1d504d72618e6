"""Servers as pods, by `kubespawner`: a size is what its container asks for and may not exceed.

The size comes after the profile that a person may choose, which KubeSpawner applies at the very
beginning of its start: a profile says which image, never how much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from traitlets import Unicode
from traitlets.config import LoggingConfigurable

from element_jupyter.core.sizes import Size

_LABELS: Final = "element.jupyter.org"

if TYPE_CHECKING:
    from element_jupyter.hub.spawner.enforcing import EnforcingMixin as Beneath
else:
    Beneath = LoggingConfigurable  # what has traits must be made for it


class PodMixin(Beneath):
    """Over `EnforcingMixin` and `KubeSpawner`."""

    gpu_resource = Unicode(
        "nvidia.com/gpu", config=True, help="The name by which the cluster counts GPUs."
    )

    extra_resource_limits: dict[str, str]
    extra_resource_guarantees: dict[str, str]
    extra_labels: dict[str, str]

    def give(self, size: Size) -> None:
        super().give(size)
        self.mem_guarantee = size.memory_bytes
        self.cpu_guarantee = size.cpu
        others = {k: v for k, v in self.extra_resource_limits.items() if k != self.gpu_resource}
        promised = {
            k: v for k, v in self.extra_resource_guarantees.items() if k != self.gpu_resource
        }
        gpus = {self.gpu_resource: str(size.gpu)} if size.gpu else {}
        self.extra_resource_limits = others | gpus
        self.extra_resource_guarantees = promised | gpus

    async def load_user_options(self) -> None:
        """Apply the profile, then the size, which a profile must not change."""
        await super().load_user_options()
        held = self.given
        self.give(held.size)
        labels = {"size": held.size.name, "team": held.team}
        if held.run_id is not None:
            labels["run"] = held.run_id
        self.extra_labels = self.extra_labels | {
            f"{_LABELS}/{name}": value for name, value in labels.items()
        }

    def keeps(self, option: str) -> bool:
        return super().keeps(option) or option == "profile" or option.startswith("profile-option-")
