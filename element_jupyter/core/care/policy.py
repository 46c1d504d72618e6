"""What `care.yaml` says: what is tidied up, after how long, and how long before people are told."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from element_jupyter.core.values import Name, Value, parse_seconds

_Seconds = Annotated[float, Field(gt=0, le=3650 * 86_400)]
Duration = Annotated[_Seconds, BeforeValidator(parse_seconds)]
"""Seconds."""
OrNever = Annotated[_Seconds | None, BeforeValidator(parse_seconds)]
"""Seconds; None is `never`."""


_MAY_BE_NEVER: Final = frozenset({"unreported", "max_age", "gpu_unused"})


class Editors(Value):
    """When editors, and the servers of teams, are stopped."""

    stop_idle: bool = True
    """Off: none is stopped for being idle."""
    idle: Duration = 2 * 3600
    """Since when nobody has typed or executed anything, and nothing has computed."""
    idle_with_gpu: Duration = 30 * 60
    """The same of one that holds a GPU, where nothing has used it either."""
    busy_without_work: Duration = 12 * 3600
    """The same while a kernel says that it is busy and uses no processor: it waits for an input,
    for another machine, or for ever."""
    unreported: OrNever = 24 * 3600
    """By what the Hub knows alone, of a server that does not say what it does."""
    max_age: OrNever = None
    """However busy it is."""
    warning: Duration = 10 * 60
    """How long before people are told."""
    keep: Duration = 3600
    """For how long they can keep it each time."""
    gpu_unused: OrNever = 30 * 60
    """After how long of a GPU not being used, whatever else is done, …"""
    gpu_unused_then: Literal["tell", "stop"] = "tell"
    """… and what is done then."""


class SomeEditors(Value):
    """What is different for the editors of a team."""

    stop_idle: bool | None = None
    idle: Duration | None = None
    idle_with_gpu: Duration | None = None
    busy_without_work: Duration | None = None
    unreported: OrNever = None
    max_age: OrNever = None
    warning: Duration | None = None
    keep: Duration | None = None
    gpu_unused: OrNever = None
    gpu_unused_then: Literal["tell", "stop"] | None = None


class RunOutputs(Value):
    """How long outputs of runs are kept; what happened is kept for ever."""

    keep: OrNever = None
    """Of runs that ended longer ago they are put into the trash."""
    keep_failed: OrNever = None
    """The same of those that did not succeed; `never` as for the others."""
    keep_successes: Annotated[int, Field(ge=0, le=10_000)] = 3
    """The last so many of each job, or of each notebook that its owner runs, are kept always."""
    trash: Duration = 14 * 86_400
    """How long they can be restored."""


class CarePolicy(Value):
    """What `care.yaml` says."""

    editors: Editors = Editors()
    teams: Annotated[dict[Name, SomeEditors], Field(max_length=10_000)] = Field(
        default_factory=dict
    )
    """What is different for the editors that are started for a team."""
    runs: RunOutputs = RunOutputs()
    report_every: Annotated[float, BeforeValidator(parse_seconds), Field(ge=0.2, le=600)] = 60
    """How often servers say what they do, and how often that is looked at."""

    @model_validator(mode="after")
    def _warns_in_time(self) -> CarePolicy:
        for name in ("", *self.teams):
            said = self.for_team(name)
            shortest = min(said.idle, said.idle_with_gpu, said.busy_without_work)
            if said.warning >= shortest:
                whose = f" of the team '{name}'" if name else ""
                raise ValueError(f"the warning{whose} must be shorter than what it warns of")
        return self

    def for_team(self, team: str) -> Editors:
        """Return what counts for the editors of a team."""
        other = self.teams.get(team)
        if other is None:
            return self.editors
        return self.editors.model_copy(
            update={
                name: value
                for name in other.model_fields_set
                if (value := getattr(other, name)) is not None or name in _MAY_BE_NEVER
            }
        )
