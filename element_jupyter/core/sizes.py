"""Sizes: named amounts of CPU, memory and GPU, as `sizes.yaml` lists them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from element_jupyter.core.errors import NotFound
from element_jupyter.core.values import Name, Value

_UNITS = {
    "": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}i": 1024**power for power, letter in enumerate("KMGT", 1)},
    **{letter: 1024**power for power, letter in enumerate("KMGT", 1)},
}


def parse_bytes(text: Any) -> Any:
    """Read an amount of memory: `4 GiB`, `500MB`, a number of bytes.

    `4G` is 4 GiB, as in the Hub's own settings.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = match and next((size for name, size in _UNITS.items() if name == match[2]), None)
    if match is None or unit is None:
        raise ValueError("it must be an amount of memory, such as '4 GiB' or '500 MB'")
    return int(Decimal(match[1]) * unit)


Bytes = Annotated[int, BeforeValidator(parse_bytes), Field(ge=16 << 20)]


class Size(Value):
    """What a server or a run may use, what it is for, and what an hour of it costs."""

    name: Name
    title: Annotated[str, StringConstraints(max_length=60)] = ""
    description: Annotated[str, StringConstraints(max_length=500)] = ""
    cpu: Annotated[float, Field(gt=0, le=1024)]
    """Cores."""
    memory_bytes: Bytes
    gpu: Annotated[int, Field(ge=0, le=64)] = 0
    price_per_hour: Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6)] | None = None
    """In the currency of `sizes.yaml`; None where nobody pays."""

    @property
    def called(self) -> str:
        return self.title or self.name


class Free(Value):
    """What of a machine nobody uses now."""

    cpu: float
    """Cores."""
    memory_bytes: int
    gpu: int
    """Devices that no process uses."""


class Sizes(Value):
    """What `sizes.yaml` says; never empty."""

    default: Name
    currency: Annotated[str, StringConstraints(min_length=1, max_length=10)] = "USD"
    sizes: Annotated[tuple[Size, ...], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _fit_together(self) -> Sizes:
        names = [size.name for size in self.sizes]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two sizes are called '{twice}'")
        if self.default not in names:
            raise ValueError(f"the default '{self.default}' is not among the sizes")
        return self

    def get(self, name: str | None) -> Size:
        """Return a size by its name; None is the default.

        Raises:
            NotFound: there is none; the hint names those there are.
        """
        wanted = name or self.default
        for size in self.sizes:
            if size.name == wanted:
                return size
        names = ", ".join(size.name for size in self.sizes)
        raise NotFound(f"There is no size '{wanted}'.", f"There are: {names}.", field="size")

    def smallest_for(self, memory_bytes: int, cpu: float = 0.0, gpu: int = 0) -> Size | None:
        """Return the cheapest size that has so much, the one with the least memory among equals."""
        fitting = [
            size
            for size in self.sizes
            if size.memory_bytes >= memory_bytes and size.cpu >= cpu and size.gpu >= gpu
        ]
        return min(
            fitting,
            key=lambda size: (size.gpu, size.price_per_hour or 0, size.memory_bytes, size.cpu),
            default=None,
        )
