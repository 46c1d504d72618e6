"""Corrections: what is added to an hour, or taken from it, beside what was counted."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from element_jupyter.core.ledger.counting import hour_of
from element_jupyter.core.quotas.allocations import AllocationId
from element_jupyter.core.values import UtcTime, Value

_Seconds = Annotated[float, Field(ge=-1e9, le=1e9)]


class _Amounts(Value):
    cpu_seconds: _Seconds = 0.0
    """More of it, or less where it is negative."""
    memory_byte_seconds: Annotated[int, Field(gt=-(1 << 62), lt=1 << 62)] = 0
    gpu_seconds: _Seconds = 0.0
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Correction(_Amounts):
    """What somebody corrects."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    """Of the writer's choice: the same one again changes nothing."""
    allocation_id: AllocationId
    hour: Annotated[UtcTime, AfterValidator(hour_of)]
    """Any moment in it."""

    @model_validator(mode="after")
    def _corrects(self) -> Correction:
        if not any(self.amounts.values()):
            raise ValueError("it must change something")
        return self

    @property
    def amounts(self) -> dict[str, int]:
        """What is added, in the ledger's own units."""
        return {
            "cpu_us": round(self.cpu_seconds * 1e6),
            "memory_kib_s": self.memory_byte_seconds // 1024,
            "gpu_us": round(self.gpu_seconds * 1e6),
        }


class Corrected(_Amounts):
    """A correction as it is on record."""

    id: str
    allocation_id: AllocationId
    hour: UtcTime
    given_seconds: float
    person: str
    """Who made it; empty where Element did, since an end was told late."""
    at: UtcTime
