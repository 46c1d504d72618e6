"""Notebooks: what a document must look like, and the values that its parameters take.

A notebook is a plain dict here, as `json.loads` gives it; reading files is the runner's business.
A parameter is a top-level assignment in the cell tagged `parameters`; its type is that of the
annotation, else of the value. A cell in another language than Python is not understood: its
notebook takes any parameter.
"""

from __future__ import annotations

import difflib
import json
import keyword
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import dropwhile
from pathlib import PurePath
from typing import Any, Final

from pydantic import JsonValue

from element_jupyter.core.errors import Invalid, TooLarge
from element_jupyter.core.parameters import Kind, Parameter, read_python

MAX_NOTEBOOK_BYTES: Final = 64_000_000
MAX_DEPTH: Final = 100
"""Lists and objects inside one another; real documents stay below 30."""

ORDINARY_KERNEL: Final = "python3"
"""The kernel that Jupyter has without any set-up, and that of Python notebooks that name none."""

PARAMETERS_TAG: Final = "parameters"
INJECTED_TAG: Final = "injected-parameters"
"""Papermill's tags."""

_IPYTHON_KERNELS: Final = (["ipykernel_launcher"], ["ipykernel"])
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)


# ------------------------------------------------------------------------------------- documents


def parse_notebook(text: bytes) -> dict[str, Any]:
    """Parse and check a document.

    Raises:
        TooLarge: it is larger than `MAX_NOTEBOOK_BYTES`.
        Invalid: it is no JSON, or not a notebook of format 3 or 4.
    """
    if len(text) > MAX_NOTEBOOK_BYTES:
        raise TooLarge(
            f"The notebook has {len(text) / 1e6:.0f} MB; at most {MAX_NOTEBOOK_BYTES / 1e6:.0f} MB"
            " are accepted.",
            "Clear its outputs, or load the data from a file.",
            field="notebook",
        )
    try:
        document = json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _not_a_notebook(f"it is no UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise _not_a_notebook(f"it is no JSON (line {error.lineno}: {error.msg})") from error
    except RecursionError as error:
        raise _not_a_notebook("it is nested too deeply") from error
    except ValueError as error:  # a number of more digits than Python converts
        raise _not_a_notebook(f"it is no JSON ({error})") from error
    check_notebook(document)
    return document  # type: ignore[no-any-return]


def check_notebook(document: object) -> None:
    """Refuse what cannot be run: anything but cells of a known kind with a text each.

    Raises:
        Invalid: naming what is wrong, and with which cell.
    """
    if _too_deep(document):
        raise _not_a_notebook(f"it is nested more than {MAX_DEPTH} levels deep")
    if not isinstance(document, dict):
        raise _not_a_notebook("it is no JSON object")
    major = document.get("nbformat")
    if type(major) is not int or major not in {3, 4}:
        said = "it does not say" if major is None else f"it says {str(major)[:20]!r}"
        raise _not_a_notebook(f"its format must be 3 or 4, and {said}")
    if not isinstance(document.get("metadata", {}), dict):
        raise _not_a_notebook("its metadata is no object")
    if not isinstance(document.get("nbformat_minor", 0), int):
        raise _not_a_notebook("its minor format is no whole number")
    for number, cell in enumerate(cells_of(document), start=1):
        _check_cell(cell, number, major)


def cells_of(document: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the cells of a document of either format.

    Raises:
        Invalid: it has no list of them.
    """
    if document.get("nbformat") == 4:
        cells = document.get("cells")
        if not isinstance(cells, list):
            raise _not_a_notebook("it has no list of cells")
        yield from cells
        return
    sheets = document.get("worksheets", [])
    if not isinstance(sheets, list):
        raise _not_a_notebook("it has no list of worksheets")
    for sheet in sheets:
        if not isinstance(sheet, dict) or not isinstance(sheet.get("cells"), list):
            raise _not_a_notebook("a worksheet has no list of cells")
        yield from sheet["cells"]


def _check_cell(cell: Any, number: int, major: int) -> None:
    known = {"code", "markdown", "raw"} | ({"html", "heading"} if major == 3 else set())
    if not isinstance(cell, dict) or cell.get("cell_type") not in tuple(known):
        raise _not_a_notebook(f"cell {number} is of no known kind")
    key = "input" if major == 3 and cell["cell_type"] == "code" else "source"
    source = cell.get(key, "")
    if not isinstance(source, str) and not (
        isinstance(source, list) and all(isinstance(line, str) for line in source)
    ):
        raise _not_a_notebook(f"the source of cell {number} is no text")
    metadata = cell.get("metadata", {})
    if not isinstance(metadata, dict):
        raise _not_a_notebook(f"the metadata of cell {number} is no object")
    tags = metadata.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise _not_a_notebook(f"the tags of cell {number} are no list of texts")


def _too_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return True


def _children(item: object) -> Iterable[object]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def _not_a_notebook(why: str) -> Invalid:
    return Invalid(
        f"This is not a notebook that can be run: {why}.",
        "Open it in JupyterLab and save it again.",
        field="notebook",
    )


def source_of(cell: Mapping[str, Any]) -> str:
    """Return the text of a cell of either format."""
    source = cell.get("source", cell.get("input", ""))
    return source if isinstance(source, str) else "".join(source)


def tags_of(cell: Mapping[str, Any]) -> list[str]:
    """Return the tags of a cell; none when it has no metadata."""
    return list(cell.get("metadata", {}).get("tags", []))


def first_line(source: str) -> str:
    """Return the first line that says something, shortened: how people recognise a cell."""
    line = next((line.strip() for line in source.splitlines() if line.strip()), "")
    return line if len(line) <= 120 else line[:119] + "…"


def language_of(notebook: Mapping[str, Any]) -> str:
    """Return the language in lower case; a notebook that does not say is taken for Python."""
    metadata = notebook.get("metadata", {})
    for where, key in (("language_info", "name"), ("kernelspec", "language")):
        found = metadata.get(where)
        if isinstance(found, dict) and isinstance(found.get(key), str) and found[key]:
            return str(found[key]).lower()
    name = kernel_of(notebook) or "python3"
    return "python" if re.match(r"(i?python|conda|py)", name.lower()) else "unknown"


def kernel_of(notebook: Mapping[str, Any]) -> str | None:
    """Return the name of the kernel that the notebook was last saved with."""
    spec = notebook.get("metadata", {}).get("kernelspec")
    name = spec.get("name") if isinstance(spec, dict) else None
    return name if isinstance(name, str) and name else None


def is_ordinary(kernel: str, argv: Sequence[str]) -> bool:
    """Tell whether a kernel is IPython's on Jupyter's own Python: environments take its place.

    A kernel of that name which somebody has made something else of is left as it is, in editors
    and in runs; so is one that names another Python by its whole path.
    """
    if kernel.lower() != ORDINARY_KERNEL or not argv:
        return False
    program, version = PurePath(argv[0]), sys.version_info
    names = {"python", f"python{version[0]}", f"python{version[0]}.{version[1]}"}
    # Jupyter takes a bare name for its own Python, which has several names in its directory
    is_here = argv[0] == program.name or program.parent == PurePath(sys.executable).parent
    is_own = argv[0] == sys.executable or (is_here and program.name in names)
    launched = [*dropwhile(lambda word: re.fullmatch(r"-X\S+", word), argv[1:])]
    return is_own and launched[:1] == ["-m"] and launched[1:2] in _IPYTHON_KERNELS


# ------------------------------------------------------------------------------------ parameters


def names_are_checked(notebook: Mapping[str, Any]) -> bool:
    """Tell whether the notebook's parameters can be known: only in Python."""
    return language_of(notebook) in {"python", "ipython"}


def parameters_of(notebook: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """Return what the cell tagged `parameters` declares, in its order; none without such a cell."""
    tagged = (cell for cell in cells_of(notebook) if PARAMETERS_TAG in tags_of(cell))
    cell = next(tagged, None)
    if cell is None:
        return ()
    source = source_of(cell)
    if not names_are_checked(notebook):
        names = re.findall(r"^\s*([A-Za-z_]\w*)\s*(?:=(?!=)|<-|:=)", source, re.MULTILINE)
        return tuple(Parameter(name=name, kind=Kind.UNKNOWN) for name in dict.fromkeys(names))
    return read_python(source)


def resolve_parameters(
    notebook: Mapping[str, Any], given: Mapping[str, JsonValue], *, allow_extra: bool = False
) -> dict[str, Any]:
    """Check the values given for a notebook; see `check_parameters`."""
    extra = allow_extra or not names_are_checked(notebook)
    return check_parameters(parameters_of(notebook), given, allow_extra=extra)


def check_parameters(
    parameters: Sequence[Parameter],
    given: Mapping[str, JsonValue],
    allow_extra: bool = False,  # noqa: FBT001, FBT002 - the third thing said, and it says itself
) -> dict[str, Any]:
    """Return the values as the notebook wants them: dates as dates, whole numbers as floats.

    Raises:
        Invalid: a name that the notebook does not have, or a value of another type; the field is
            `parameters.<name>`.
    """
    known = {parameter.name: parameter for parameter in parameters}
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if not _NAME.fullmatch(name) or keyword.iskeyword(name):
            raise Invalid(
                f"'{name[:80]}' cannot be the name of a parameter.",
                "Use letters, digits and underscores, as for a variable.",
                field=f"parameters.{name[:80]}",
            )
        if _too_deep(value):
            raise Invalid(f"Parameter '{name}' is nested too deeply.", field=f"parameters.{name}")
        if name in known:
            checked[name] = _checked(known[name], value)
        elif allow_extra:
            checked[name] = value
        else:
            raise _unknown(name, list(known))
    return checked


def parse_parameter(parameter: Parameter | None, text: str) -> JsonValue:
    """Read a value as typed on a command line, by the declared type; `check_parameters` is next.

    Without a declared type, JSON is taken as such and anything else as text.

    Raises:
        Invalid: the text is no value of that type.
    """
    kind = parameter.kind if parameter else Kind.UNKNOWN
    if kind in {Kind.STR, Kind.DATE, Kind.DATETIME}:
        if parameter and parameter.optional and text in {"None", "null"}:
            return None
        return text
    if kind is Kind.BOOL and text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text in {"None", "True", "False"}:
        return {"None": None, "True": True, "False": False}[text]
    try:
        value: JsonValue = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        if kind in {Kind.UNKNOWN, Kind.NONE}:
            return text
        raise _mismatch(parameter, text) from error
    return value


_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def _no_constant(word: str) -> float:
    raise ValueError(word)


def python_source(parameters: Mapping[str, Any]) -> str:
    """Return the Python cell that assigns checked parameters.

    A date is made without importing a name, since the notebook may have bound `date` or `datetime`
    to something of its own.
    """
    lines = [f"{name} = {_literal(value)}" for name, value in parameters.items()]
    return "\n".join(["# Parameters", *lines]) + "\n"


def _literal(value: Any) -> str:
    match value:
        case datetime():
            return f'__import__("datetime").datetime.fromisoformat("{value.isoformat()}")'
        case date():
            return f'__import__("datetime").date.fromisoformat("{value.isoformat()}")'
        case float() if not math.isfinite(value):
            return f'float("{value}")'
        case list():
            return f"[{', '.join(map(_literal, value))}]"
        case dict():
            return f"{{{', '.join(f'{key!r}: {_literal(item)}' for key, item in value.items())}}}"
        case _:
            return repr(value)


def as_json(parameters: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Return checked parameters as JSON, dates as ISO 8601 text."""
    return {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in parameters.items()
    }


def _unknown(name: str, known: list[str]) -> Invalid:
    near = difflib.get_close_matches(name, known, 1)
    if near:
        hint = f"Did you mean '{near[0]}'?"
    elif known:
        hint = f"It has {', '.join(known[:20])}. Extra names can be allowed explicitly."
    else:
        hint = "It has no cell tagged 'parameters'; tag one, or allow extra names explicitly."
    return Invalid(f"The notebook has no parameter '{name}'.", hint, field=f"parameters.{name}")


def _mismatch(parameter: Parameter | None, value: object) -> Invalid:
    name = parameter.name if parameter else "value"
    shown = value if isinstance(value, str) else json.dumps(value, default=str)
    kind = parameter.kind if parameter else Kind.UNKNOWN
    return Invalid(
        f"Parameter '{name}' is {_PHRASES[kind]}, and {str(shown)[:80]!r} is not.",
        f"The notebook declares {name} = {parameter.default_source[:80]}."
        if parameter and parameter.default_source
        else "",
        field=f"parameters.{name}",
    )


_PHRASES: Final = {
    Kind.INT: "a whole number",
    Kind.FLOAT: "a number",
    Kind.BOOL: "true or false",
    Kind.STR: "a text",
    Kind.LIST: "a list",
    Kind.DICT: "a mapping",
    Kind.DATE: "a date (2024-10-31)",
    Kind.DATETIME: "a time (2024-10-31T09:00:00)",
    Kind.NONE: "anything",
    Kind.UNKNOWN: "a JSON value or a text",
}


def _checked(parameter: Parameter, value: Any) -> Any:
    kind = parameter.kind
    if kind in {Kind.NONE, Kind.UNKNOWN} or (value is None and parameter.optional):
        return value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is Kind.FLOAT and number:
        return float(value)
    if kind is Kind.INT and number and isinstance(value, int):
        return value
    plain = {Kind.BOOL: bool, Kind.STR: str, Kind.LIST: list, Kind.DICT: dict}.get(kind)
    if plain is not None and isinstance(value, plain):
        return value
    if kind in {Kind.DATE, Kind.DATETIME} and isinstance(value, str):
        try:
            return (date if kind is Kind.DATE else datetime).fromisoformat(value)
        except ValueError as error:
            raise _mismatch(parameter, value) from error
    raise _mismatch(parameter, value)
