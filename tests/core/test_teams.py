"""Who belongs to which team, by what `teams.yaml` and a directory say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from element_jupyter.core.teams import Level, Membership, TeamRules, person_name, teams_of_groups
from element_jupyter.core.values import Name

NAME = TypeAdapter(Name)

RULES = TeamRules.model_validate(
    {
        "admins": {"groups": ["it"]},
        "from_groups": ["element-(?P<team>[a-z]+)(-(?P<level>[a-z]+))?"],
        "teams": {
            "ml": {"lead": {"people": ["ada"]}, "member": {"groups": ["ml", "science"]}},
            "ops": {"viewer": {"groups": ["science"]}},
        },
    }
)


def test_people_get_the_highest_level_that_their_name_or_a_group_of_theirs_grants():
    assert RULES.membership("bob", ["science"]).teams == {
        "bob": Level.LEAD,
        "ml": Level.MEMBER,
        "ops": Level.VIEWER,
    }
    assert RULES.membership("ada", ["science"]).teams["ml"] is Level.LEAD


def test_a_directory_s_groups_are_teams_where_a_pattern_says_so():
    found = RULES.membership("eve", ["element-sales-viewer", "element-sales", "element-x-boss"])

    assert found.teams == {"eve": Level.LEAD, "sales": Level.MEMBER}


def test_administrators_are_named_by_person_or_group():
    assert RULES.membership("root", ["it"]).admin
    assert not RULES.membership("root", ["it-support"]).admin


def test_somebody_in_no_team_may_not_sign_in_unless_everyone_may():
    assert not RULES.admits("eve", ["element-x-boss"])
    assert RULES.admits("eve", ["it"])
    assert RULES.admits("ada")
    assert RULES.model_copy(update={"everyone": True}).admits("eve")


def test_a_team_s_name_is_taken_for_people():
    assert RULES.takes("ml")
    assert not RULES.takes("ada")


def test_the_hub_s_groups_say_the_same_as_the_membership():
    held = Membership(teams={"ada": Level.LEAD, "a.lead": Level.VIEWER})

    assert held.groups == ["a.lead:viewer", "ada:lead"]
    assert teams_of_groups([*held.groups, "users", "x:boss", "A:lead", ":lead"]) == held.teams
    assert teams_of_groups(["ml:viewer", "ml:lead", "ml:member"]) == {"ml": Level.LEAD}


def test_a_plain_user_name_stays_as_it_is():
    assert person_name("ada") == "ada"
    assert person_name("Ada.L@example.org").startswith("ada.l-example.org-")
    assert person_name("ada") != person_name("Ada")


@given(st.text(max_size=80))
def test_every_identity_has_a_name_of_thirty_characters_that_stays_in_its_kind(identity):
    name = person_name(identity)

    NAME.validate_python(name)
    assert len(name) <= 30
    if name != identity:
        # nobody can bring along the name that was made up for somebody else
        assert person_name(name) != name


@pytest.mark.parametrize("pattern", ["x(", "no-team"])
def test_a_pattern_that_names_no_team_is_refused(pattern):
    with pytest.raises(ValidationError):
        TeamRules(from_groups=(pattern,))
