"""What a notebook must look like, and what its parameters accept."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from element_jupyter.core.errors import Invalid, TooLarge
from element_jupyter.core.notebooks import (
    MAX_NOTEBOOK_BYTES,
    as_json,
    first_line,
    is_ordinary,
    language_of,
    parameters_of,
    parse_notebook,
    parse_parameter,
    python_source,
    resolve_parameters,
)
from element_jupyter.core.parameters import Kind, Parameter


def a_notebook(*cells, language="python", **metadata):
    kernelspec = {"name": "k", "display_name": "K", "language": language}
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": kernelspec, **metadata},
        "cells": list(cells),
    }


def a_cell(source, *tags, kind="code"):
    return {"cell_type": kind, "metadata": {"tags": list(tags)}, "source": source}


def with_parameters(source, language="python"):
    return a_notebook(a_cell(source, "parameters"), language=language)


def declared(source):
    (parameter,) = parameters_of(with_parameters(source))
    return parameter


# ------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "no JSON"),
        (b"hello", "no JSON"),
        (b'{"nbformat": 4, "cells": [', "no JSON"),
        (b"\xff\xfe\x00", "no UTF-8 text"),
        (b"[]", "no JSON object"),
        (b"7", "no JSON object"),
        (b"{}", "it does not say"),
        (b'{"nbformat": 2}', "says '2'"),
        (b'{"nbformat": true}', "says 'True'"),
        (b'{"nbformat": 4.0, "cells": []}', "says '4.0'"),
        (b'{"nbformat": 4}', "no list of cells"),
        (b'{"nbformat": 4, "cells": {}}', "no list of cells"),
        (b'{"nbformat": 4, "cells": [], "metadata": []}', "metadata is no object"),
        (b'{"nbformat": 4, "cells": [7]}', "cell 1 is of no known kind"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "x"}]}', "cell 1 is of no known kind"),
        (b'{"nbformat": 4, "cells": [{"cell_type": []}]}', "cell 1 is of no known kind"),
        (
            b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 7}]}',
            "source of cell 1 is no text",
        ),
        (
            b'{"nbformat": 4, "cells": [{"cell_type": "raw", "metadata": {"tags": 1}}]}',
            "tags of cell 1",
        ),
        (b'{"nbformat": 3, "worksheets": [{}]}', "worksheet"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "levels deep"),
        (b"[" * 100_000 + b"]" * 100_000, "deep"),
        (b'{"nbformat": ' + b"9" * 5000 + b"}", "no JSON"),
    ],
)
def test_what_is_no_notebook_is_refused_in_words(text, why):
    with pytest.raises(Invalid, match="not a notebook") as error:
        parse_notebook(text)

    assert why in error.value.message
    assert error.value.field == "notebook"


def test_a_notebook_over_the_limit_is_refused_before_it_is_parsed():
    with pytest.raises(TooLarge, match="64 MB"):
        parse_notebook(b" " * (MAX_NOTEBOOK_BYTES + 1))


def test_a_byte_order_mark_does_no_harm():
    text = b"\xef\xbb\xbf" + json.dumps(a_notebook(a_cell("1"))).encode()

    assert parse_notebook(text)["cells"][0]["source"] == "1"


def test_format_three_is_understood():
    cell = {
        "cell_type": "code",
        "input": ["n = 1\n", "m = 2"],
        "metadata": {"tags": ["parameters"]},
    }
    document = {"nbformat": 3, "metadata": {}, "worksheets": [{"cells": [cell]}]}

    parsed = parse_notebook(json.dumps(document).encode())

    assert [parameter.name for parameter in parameters_of(parsed)] == ["n", "m"]


@pytest.mark.parametrize(
    ("metadata", "language"),
    [
        ({}, "python"),
        ({"kernelspec": {"name": "python3"}}, "python"),
        ({"kernelspec": {"name": "ir"}}, "unknown"),
        ({"kernelspec": {"name": "x", "language": "R"}}, "r"),
        ({"language_info": {"name": "julia"}, "kernelspec": {"language": "python"}}, "julia"),
        ({"kernelspec": 7, "language_info": None}, "python"),
    ],
)
def test_the_language_is_what_the_notebook_says(metadata, language):
    assert language_of({"metadata": metadata}) == language


def test_the_first_line_is_the_first_that_says_something():
    assert first_line("\n\n  x = 1\ny = 2") == "x = 1"
    assert len(first_line("x" * 500)) == 120
    assert first_line("") == ""


# ------------------------------------------------------------------------------------ declarations


@pytest.mark.parametrize(
    ("source", "kind", "default"),
    [
        ("x = 3", Kind.INT, 3),
        ("x = -3", Kind.INT, -3),
        ("x = 3.5", Kind.FLOAT, 3.5),
        ("x = True", Kind.BOOL, True),
        ("x = 'a'", Kind.STR, "a"),
        ("x = '2024-10-12'", Kind.STR, "2024-10-12"),
        ("x = f'{a}'", Kind.STR, None),
        ("x = None", Kind.NONE, None),
        ("x = [1, 2]", Kind.LIST, [1, 2]),
        ("x = (1, 2)", Kind.LIST, [1, 2]),
        ("x = [a, 2]", Kind.LIST, None),
        ("x = {'a': 1}", Kind.DICT, {"a": 1}),
        ("x = 60 * 60", Kind.INT, None),
        ("x = 1 / 2", Kind.FLOAT, None),
        ("x = date(2024, 10, 12)", Kind.DATE, "2024-10-12"),
        ("x = datetime.date(2024, 10, 12)", Kind.DATE, "2024-10-12"),
        ("x = datetime.date.today()", Kind.DATE, None),
        ("x = date(2024, 99, 12)", Kind.DATE, None),
        ("x = dt.datetime(2024, 10, 12, 9)", Kind.DATETIME, "2024-10-12T09:00:00"),
        ("x = datetime.now()", Kind.DATETIME, None),
        ("x = pd.Timestamp('2024-10-12')", Kind.DATETIME, None),
        ("x = Path('a')", Kind.UNKNOWN, None),
        ("x: int", Kind.INT, None),
        ("x: float = 3", Kind.FLOAT, 3.0),
        ("x: 'float' = 3", Kind.FLOAT, 3.0),
        ("x: list[str] = []", Kind.LIST, []),
        ("x: typing.Dict[str, int] = {}", Kind.DICT, {}),
        ("x: datetime.date = '2024-10-12'", Kind.DATE, "2024-10-12"),
        ("x: Literal['a', 'b'] = 'a'", Kind.STR, "a"),
        ("x: int | float = 1", Kind.FLOAT, 1.0),
        ("x: int | str = 1", Kind.UNKNOWN, 1),
        ("x: Frame = None", Kind.UNKNOWN, None),
        ("x = None  # type: int how many", Kind.INT, None),
        ("%matplotlib inline\nx = 1", Kind.INT, 1),
        ("!ls\nx = 1\ny = = 2", Kind.INT, 1),
        ("x = 1\nx = 'later'", Kind.STR, "later"),
        ("import os\nx = 1\nif x:\n    y = 2", Kind.INT, 1),
    ],
)
def test_a_parameter_has_the_type_of_its_annotation_else_of_its_value(source, kind, default):
    parameter = declared(source)

    assert (parameter.name, parameter.kind, parameter.default) == ("x", kind, default)


@pytest.mark.parametrize(
    "annotation", ["Optional[int]", "int | None", "None | int", "Union[int, None]", "'int | None'"]
)
def test_an_optional_parameter_is_of_its_kind_or_none(annotation):
    parameter = declared(f"x: {annotation} = 5")

    assert (parameter.kind, parameter.optional) == (Kind.INT, True)


def test_the_comment_beside_a_parameter_is_its_help():
    assert declared("x = 1  # how many").help == "how many"
    assert declared("x = None  # type: int how many").help == "how many"
    assert declared("x = '# not this'").help == ""


def test_several_parameters_keep_their_order():
    found = parameters_of(with_parameters("b = 1\na, c = 2, 'x'\nd = e = []"))

    assert [(each.name, each.kind) for each in found] == [
        ("b", Kind.INT),
        ("a", Kind.INT),
        ("c", Kind.STR),
        ("d", Kind.LIST),
        ("e", Kind.LIST),
    ]


@pytest.mark.parametrize("source", ["", "(((", "def f(:\n  pass", "\x00", "x +="])
def test_a_cell_that_is_no_python_declares_nothing(source):
    assert parameters_of(with_parameters(source)) == ()


# ------------------------------------------------------------------------------------------ values


def checked(source, **given):
    return resolve_parameters(with_parameters(source), given)


@pytest.mark.parametrize(
    ("source", "given", "value"),
    [
        ("x = 1", 2, 2),
        ("x = 1.5", 2, 2.0),
        ("x = True", False, False),
        ("x = 'a'", "b", "b"),
        ("x = 'a'", "2024-10-12", "2024-10-12"),
        ("x = None", [1, {"a": None}], [1, {"a": None}]),
        ("x = Path('.')", "b", "b"),
        ("x = []", [1], [1]),
        ("x = {}", {"a": 1}, {"a": 1}),
        ("x: int | None = 1", None, None),
        ("x = date(2024, 1, 1)", "2024-10-12", date(2024, 10, 12)),
        (
            "x = datetime(2024, 1, 1)",
            "2024-10-12T09:30:00",
            datetime(2024, 10, 12, 9, 30),  # noqa: DTZ001 - naive is what the notebook declares
        ),
        (
            "x = datetime(2024, 1, 1)",
            "2024-10-12T09:30:00Z",
            datetime(2024, 10, 12, 9, 30, tzinfo=UTC),
        ),
    ],
)
def test_a_value_of_the_declared_type_is_taken(source, given, value):
    (taken,) = checked(source, x=given).values()

    assert taken == value
    assert type(taken) is type(value)


@pytest.mark.parametrize(
    ("source", "given", "sentence"),
    [
        ("x = 1", "2", "is a whole number, and '2' is not"),
        ("x = 1", 2.5, "is a whole number"),
        ("x = 1", True, "is a whole number, and 'true' is not"),
        ("x = 1", None, "is a whole number, and 'null' is not"),
        ("x = 1.0", True, "is a number"),
        ("x = True", 1, "is true or false"),
        ("x = 'a'", 1, "is a text"),
        ("x = []", {}, "is a list"),
        ("x = {}", [], "is a mapping"),
        ("x = date(2024, 1, 1)", "yesterday", "is a date"),
        ("x = date(2024, 1, 1)", "2024-10-12T09:30:00", "is a date"),
        ("x = date(2024, 1, 1)", 20241012, "is a date"),
        ("x = datetime(2024, 1, 1)", "noon", "is a time"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(source, given, sentence):
    with pytest.raises(Invalid) as error:
        checked(source, x=given)

    assert sentence in error.value.message
    assert error.value.field == "parameters.x"


def test_an_unknown_name_is_refused_with_the_nearest_known_one():
    with pytest.raises(Invalid, match="no parameter 'lerning_rate'") as error:
        checked("learning_rate = 0.1\nepochs = 3", lerning_rate=1)

    assert error.value.hint == "Did you mean 'learning_rate'?"
    assert error.value.field == "parameters.lerning_rate"


def test_a_notebook_without_a_parameters_cell_takes_none_unless_extra_ones_are_allowed():
    notebook = a_notebook(a_cell("x = 1"))

    with pytest.raises(Invalid, match="no parameter 'x'") as error:
        resolve_parameters(notebook, {"x": 1})
    assert "no cell tagged 'parameters'" in error.value.hint
    assert resolve_parameters(notebook, {"x": 1}, allow_extra=True) == {"x": 1}


def test_a_value_that_is_nested_too_deeply_is_refused():
    value: object = None
    for _ in range(300):
        value = [value]

    with pytest.raises(Invalid, match="nested too deeply"):
        checked("x = None", x=value)


def test_a_notebook_in_another_language_takes_any_name():
    notebook = with_parameters("n <- 5", language="R")

    assert [parameter.name for parameter in parameters_of(notebook)] == ["n"]
    assert resolve_parameters(notebook, {"n": 7, "m": "x"}) == {"n": 7, "m": "x"}


@pytest.mark.parametrize("name", ["a b", "1a", "a;b", "a\nb", "", "é", "class", "None", "a" * 300])
def test_what_cannot_be_a_variable_is_refused_even_when_extra_names_are_allowed(name):
    with pytest.raises(Invalid, match="cannot be the name"):
        resolve_parameters(a_notebook(), {name: 1}, allow_extra=True)


@pytest.mark.parametrize(
    ("source", "text", "value"),
    [
        ("x = 'a'", "5", "5"),
        ("x = 'a'", "None", "None"),
        ("x = '2024-01-01'", "2024-10-12", "2024-10-12"),
        ("x = date(2024, 1, 1)", "2024-10-12", "2024-10-12"),
        ("x: date | None = None", "None", None),
        ("x: str | None = None", "null", None),
        ("x = 1", "5", 5),
        ("x = 1.5", "5", 5),
        ("x = 1.5", "1e-3", 0.001),
        ("x = True", "no", False),
        ("x = True", "1", True),
        ("x = []", '["a"]', ["a"]),
        ("x = {}", '{"a": 1}', {"a": 1}),
        ("x: int | None = 1", "None", None),
        ("x = None", "2024-10-12", "2024-10-12"),
        ("x = None", "5", 5),
        ("x = None", "NaN", "NaN"),
        ("x = None", "True", True),
    ],
)
def test_what_is_typed_is_read_by_the_declared_type(source, text, value):
    read = parse_parameter(declared(source), text)

    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("source", "text"), [("x = 1", "five"), ("x = []", "a,b"), ("x = {}", "{")]
)
def test_what_is_typed_wrongly_is_refused(source, text):
    with pytest.raises(Invalid, match="Parameter 'x' is"):
        parse_parameter(declared(source), text)


def test_without_a_declaration_json_is_json_and_the_rest_is_text():
    assert parse_parameter(None, "5") == 5
    assert parse_parameter(None, "2024-10-12") == "2024-10-12"
    assert parse_parameter(None, "[" * 5000) == "[" * 5000


NASTY = ["", "'\"\\", "a\nb", "{x}", "\ud800", "'''", "é😀", "\x00", "__import__('os')"]


def test_injected_values_come_out_as_they_went_in():
    values = {
        "day": date(2024, 10, 12),
        "at": datetime(2024, 10, 12, 9, 30, tzinfo=UTC),
        "nested": {"a": [1, None, True, {"b": [2.5]}]},
        "huge": 10**30,
        "infinite": float("inf"),
        "texts": NASTY,
        **{f"text{number}": text for number, text in enumerate(NASTY)},
    }
    bound: dict[str, object] = {"datetime": "the notebook's own", "date": None}

    exec(python_source(values), bound)

    assert {name: bound[name] for name in values} == values
    assert bound["datetime"] == "the notebook's own"


def test_dates_are_text_in_json():
    assert as_json({"day": date(2024, 10, 12), "n": 1}) == {"day": "2024-10-12", "n": 1}


def test_a_parameter_is_plain_data():
    parameter = Parameter(name="x", kind=Kind.INT, default=1)

    assert Parameter.model_validate_json(parameter.model_dump_json()) == parameter


# ---------------------------------------------------------------------------- the ordinary kernel

VERSIONED = f"python3.{sys.version_info[1]}"
LAUNCHED = ("-m", "ipykernel_launcher", "-f", "{connection_file}")


@pytest.mark.parametrize(
    ("kernel", "argv", "ordinary"),
    [
        ("python3", ("python", *LAUNCHED), True),
        ("Python3", ("python", *LAUNCHED), True),
        ("python3", (sys.executable, *LAUNCHED), True),
        ("python3", (str(Path(sys.executable).with_name(VERSIONED)), *LAUNCHED), True),
        ("python3", (VERSIONED, *LAUNCHED), True),
        ("python3", ("python2", *LAUNCHED), False),
        ("python3", ("/opt/another/bin/python3", *LAUNCHED), False),
        ("python3", (str(Path(sys.executable).with_name("python3.5")), *LAUNCHED), False),
        ("python3", ("bin/python", *LAUNCHED), False),
        ("python3", ("python", "-Xfrozen_modules=off", *LAUNCHED), True),
        ("python3", ("python", "-m", "ipykernel", "-f", "{connection_file}"), True),
        ("python3", ("xpython", "-f", "{connection_file}"), False),
        ("python3", ("python", "-m", "my_kernel", "-f", "{connection_file}"), False),
        ("python3", ("python", "-m", "debugpy", *LAUNCHED), False),
        ("python3", ("python", "-m"), False),
        ("python3", ("ssh", "gpu", "python", *LAUNCHED), False),
        ("python3", (), False),
        ("ir", ("R", "--args", "{connection_file}"), False),
        ("research", ("/envs/research/bin/python", *LAUNCHED), False),
    ],
)
def test_only_ipythons_kernel_on_jupyters_own_python_is_the_ordinary_one(kernel, argv, ordinary):
    assert is_ordinary(kernel, argv) is ordinary
