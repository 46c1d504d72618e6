"""Who may do what in Airflow, by level and by the team that a DAG's id begins with: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.types import MenuItem

from element_jupyter.core.teams import Level

_SEPARATOR: Final = "--"
"""Between team and job in a DAG's id; no team's name has it."""
_CHANGED_BY_MEMBERS: Final = frozenset(
    {None, DagAccessEntity.RUN, DagAccessEntity.TASK_INSTANCE, DagAccessEntity.HITL_DETAIL}
)
_DELETED_BY_LEADS: Final = frozenset({DagAccessEntity.RUN, DagAccessEntity.TASK_INSTANCE})

MENU: Final = frozenset({MenuItem.DAGS, MenuItem.DOCS, MenuItem.REQUIRED_ACTIONS, MenuItem.XCOMS})
"""What everybody's menu has; the rest is for administrators."""


@dataclass(frozen=True)
class HubUser(BaseUser):
    """Somebody who has signed in, with what the Hub says of them."""

    name: str
    levels: Mapping[str, Level] = field(default_factory=dict)
    admin: bool = False
    sealed: str = ""
    """The Hub's token that they came with, encrypted."""

    def get_id(self) -> str:
        return self.name

    def get_name(self) -> str:
        return self.name

    @property
    def is_suspended(self) -> bool:
        """Whether even the team of their own has been taken from them."""
        return not self.admin and self.name not in self.levels


def team_of(dag_id: str) -> str | None:
    """Return the team that a DAG, a job's, belongs to; None: it is the administrators' own."""
    team, separator, name = dag_id.partition(_SEPARATOR)
    return team if separator and name else None


def may(user: HubUser, method: str, entity: DagAccessEntity | None, dag_id: str | None) -> bool:
    """Tell whether the user may do this to a DAG, or with None to what a list has of any."""
    if user.admin:
        return True
    if user.is_suspended:
        return False
    if dag_id is None:
        # what is listed is filtered by `may_read`; a log also has lines that belong to no DAG
        return method == "GET" and entity is not DagAccessEntity.AUDIT_LOG
    needed = _needed(method, entity)
    return needed is not None and may_as(user, needed, team_of(dag_id))


def may_as(user: HubUser, needed: Level, team: str | None) -> bool:
    """Tell whether the user has at least this level in the team; None is nobody's team."""
    if user.admin:
        return True
    held = user.levels.get(team) if team is not None else None
    return not user.is_suspended and held is not None and held.covers(needed)


def _needed(method: str, entity: DagAccessEntity | None) -> Level | None:
    """Return the level that an action needs; None: only administrators may."""
    if method == "GET":
        return Level.VIEWER
    if method in {"POST", "PUT"} and entity in _CHANGED_BY_MEMBERS:
        return Level.MEMBER
    if method == "DELETE" and entity in _DELETED_BY_LEADS:
        return Level.LEAD
    return None
