"""Write the reference pages from what they describe: `python docs/generate.py`.

`tests/test_reference.py` fails while a page is not what this makes.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
REFERENCE = PROJECT / "docs" / "reference"
sys.path.insert(0, str(PROJECT))

Schema = dict[str, Any]

PREFACES = {
    "commands": """\
# The `element` command

Exit codes: 0 done; 1 the work failed; 2 wrong use; 3 not reachable; 130 interrupted. Errors are a
sentence and a hint on standard error, and with `--json` one document on standard output.
""",
    "configuration": """\
# Configuration

A setting comes from, in this order: the option of a command; `element_config.py` in the data
directory, as `c.Element.<name> = …`; the environment, as `ELEMENT_<NAME>` (a list is separated by
spaces there); the default.
""",
    "rest": """\
# REST interface

JSON, with `Authorization: Bearer <token>`; the token is in the file `token` of the data directory.
JupyterLab's server has the same under `/element/api/v1`, for whoever is signed in there. An error
is `{code, message, hint, field?, details}`. The whole document, for programs:
[openapi.json](openapi.json), or `GET /api/v1/openapi.json`. A required key must be in what is sent,
and always is in an answer.

Environments lie where the notebooks are, so JupyterLab's server alone answers what is about them,
under `/element/api/v1/environments`, and `/element/api/v1/notebooks/inspect`, which tells what
stands in the way of scheduling a notebook, and `POST /element/api/v1/snapshots`, which takes its
project along, and `POST /element/api/v1/platform`, which starts what runs notebooks where no
platform is: [environments-openapi.json](environments-openapi.json). What is under
`/element/api/v1/resources` tells what the server and its kernels use:
[resources-openapi.json](resources-openapi.json).
""",
    "job_file": """\
# job.yaml

A job is a file. `element apply -f job.yaml` saves it, `--dry-run` shows what would change, and
`element schema job` prints the JSON Schema, for editors that check as you type. An unknown key is
an error that names the nearest known one. For `element apply`, a file may say `project: DIR` in
place of `snapshot_id`. See [how to apply jobs from files](../how-to/jobs-from-files.md).
""",
}

KINDS = {
    "Bool": "True or False",
    "Float": "A number",
    "Int": "A whole number",
    "List": "A list of texts",
    "Unicode": "A text",
}


def commands() -> str:
    """The page of the `element` command: every command with its arguments and options."""
    import typer.main

    from element_jupyter.cli.main import COMMANDS, build

    lines = [PREFACES["commands"]]
    for name in COMMANDS:
        group: Any = typer.main.get_command(build([name]))
        lines += _command(group.commands[name], f"element {name}")
    return _page(lines)


def _command(command: Any, path: str) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _command(inner, f"{path} {name}")
        return
    arguments = [p.display_name_raw.upper() for p in command.params if _is_argument(p)]
    yield from ("", f"## `{' '.join([path, *arguments])}`", "")
    yield inspect.cleandoc(command.help or "").strip()
    rows = [_option(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        yield from ("", "| Option | Meaning |", "|---|---|", *rows)


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _option(parameter: Any) -> str:
    if _is_argument(parameter):
        name = f"`{parameter.display_name_raw.upper()}`"
    else:
        name = ", ".join(f"`{option}`" for option in parameter.opts)
        if not parameter.is_flag:
            name += f" `{parameter.metavar or parameter.name.upper()}`"
    text = parameter.help or ""
    default = getattr(parameter.default, "value", parameter.default)
    if default not in (None, False, (), []) and not callable(default):
        text += f" Default: `{default}`."
    return f"| {_cell(name)} | {_cell(text)} |"


def configuration() -> str:
    """The page of the settings: every trait with its type, default and help."""
    from element_jupyter.config import Element

    lines = [PREFACES["configuration"]]
    for name, trait in sorted(Element.class_traits(config=True).items()):
        lines += ["", f"## `{name}`", "", KINDS[type(trait).__name__]]
        value = trait.default()
        computed = hasattr(Element, f"_{name}") or value in ("", 0, [])
        lines[-1] += "." if computed else f"; default `{value!r}`."
        lines += ["", inspect.cleandoc(trait.help)]
    return _page(lines)


def rest() -> str:
    """The page of the REST interface, from its OpenAPI document."""
    document = json.loads((REFERENCE / "openapi.json").read_text())
    lines = [PREFACES["rest"]]
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            lines += ["", f"## `{verb.upper()} {path}`", "", f"{operation['summary']}."]
            rows = [
                f"| `{p['name']}` | {p['in']} | {_type(p['schema'], document)} "
                f"| {_cell(p.get('description', ''))} |"
                for p in operation.get("parameters", ())
            ]
            if rows:
                lines += ["", "| Parameter | In | Type | |", "|---|---|---|---|", *rows]
            body = operation.get("requestBody", {}).get("content", {})
            lines += _content("Body", body, document)
            for status, answer in operation["responses"].items():
                if status != "default":
                    lines += _content(f"{status}", answer.get("content", {}), document)
    lines += ["", "# Types"]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += ["", f'<a id="{name.lower()}"></a>', "", f"## {name}", ""]
        lines += _schema(schema, document)
    return _page(lines)


def _content(title: str, content: Schema, document: Schema) -> list[str]:
    lines = []
    for kind, media in content.items():
        shown = _type(media["schema"], document) if "schema" in media else "bytes"
        lines += ["", f"{title}: {shown} ({kind})"]
    return lines


def job_file() -> str:
    """The page of `job.yaml`, from its JSON Schema."""
    from element_jupyter.core.job_files import job_schema

    schema = job_schema()
    lines = [PREFACES["job_file"], "## Job", "", *_schema(schema, schema)]
    for name, inner in schema["$defs"].items():
        lines += ["", f'<a id="{name.lower()}"></a>', "", f"## {name}", "", *_schema(inner, schema)]
    return _page(lines)


def _schema(schema: Schema, document: Schema) -> list[str]:
    lines = [schema.get("description", "")]
    if "enum" in schema:
        lines += ["", "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + "."]
    properties = schema.get("properties", {})
    if properties:
        lines += ["", "| Key | Type | Meaning |", "|---|---|---|"]
    for name, inner in properties.items():
        needed = " **required**" if name in schema.get("required", ()) else ""
        default = inner.get("default")
        text = inner.get("description", "")
        if default not in (None, "", [], {}):
            text += f" Default: `{json.dumps(default)}`."
        lines.append(f"| `{name}`{needed} | {_type(inner, document)} | {_cell(text)} |")
    return lines


def _type(schema: Schema, document: Schema) -> str:
    match schema:
        case {"$ref": reference}:
            name = str(reference).rpartition("/")[2]
            return f"[{name}](#{name.lower()})"
        case {"anyOf": [*inner]} | {"oneOf": [*inner]}:
            kinds = [_type(one, document) for one in inner if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
        case {"const": value}:
            return f"`{json.dumps(value)}`"
        case {"enum": values}:
            return " or ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": inner}:
            return f"list of {_type(inner, document)}"
        case {"type": "object"}:
            return "names and values"
        case {"format": "date-time"}:
            return "time"
        case {"type": str(kind)}:
            return {"string": "text", "boolean": "true or false"}.get(kind, kind)
    return "any"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _page(lines: list[str]) -> str:
    text = "\n".join(["<!-- Written by docs/generate.py -->", "", *lines])
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def links(text: str) -> list[str]:
    """The links of a page that lead to other files of the project, or inside the page."""
    targets = re.findall(
        r"\]\(([^)\s]+)\)", re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    )
    return [target for target in targets if "://" not in target]


PAGES = {
    "commands.md": commands,
    "configuration.md": configuration,
    "rest.md": rest,
    "job-file.md": job_file,
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
