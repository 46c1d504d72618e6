"""Errors as they travel between processes."""

import pytest

from element_jupyter.core import errors
from element_jupyter.core.errors import ElementError, Problem

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ElementError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_the_way_over_rest(kind):
    error = kind("It does not work.", "Mend it.", field="a.b")
    again = ElementError.from_problem(Problem.model_validate_json(error.problem.model_dump_json()))
    assert type(again) is kind
    assert (again.message, again.hint, again.field) == ("It does not work.", "Mend it.", "a.b")
    assert str(again) == "It does not work."


def test_codes_are_unique_and_what_is_unknown_is_a_plain_failure():
    assert len({kind.code for kind in KINDS}) == len(KINDS)
    assert type(ElementError.from_problem(Problem(code="new", message="x"))) is ElementError


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_line_in_the_tree_with_its_codes(kind):
    (line,) = [line for line in errors.__doc__.splitlines() if f" {kind.__name__} " in f" {line} "]
    assert f"exit {kind.exit_code}" in line
    assert f"HTTP {kind.status}" in line


def test_an_error_of_its_own_making_arrives_as_its_kind():
    class Other(errors.Invalid):
        def __init__(self, verb: str) -> None:
            super().__init__(f"{verb} is not possible.")

    assert type(ElementError.from_problem(Other("PUT").problem)) is errors.Invalid
