"""`python -m element_jupyter.platform.environments.schema [resources]`: print an OpenAPI document.

It has the routes that the Jupyter server answers itself, `environments/…`, `notebooks/…`,
`platform` and `snapshots`, or `resources/…`; the front end's types are made of it. They are
committed as `docs/reference/environments-openapi.json` and `resources-openapi.json`.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from http import HTTPStatus
from typing import Any, Literal

from pydantic import TypeAdapter

from element_jupyter.core.errors import Problem
from element_jupyter.server import environments, notebooks, platform, resources, snapshots
from element_jupyter.server.operations import Operation

OPERATIONS = (
    *environments.OPERATIONS,
    *notebooks.OPERATIONS,
    *platform.OPERATIONS,
    *snapshots.OPERATIONS,
)

_REFERENCE = "#/components/schemas/{model}"

_Mode = Literal["validation", "serialization"]


def document(
    operations: tuple[Operation, ...] = OPERATIONS,
    title: str = "Element: environments, notebooks and snapshots",
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    inputs: list[tuple[str, _Mode, TypeAdapter[Any]]] = [
        ("Problem", "serialization", TypeAdapter(Problem)),
    ]
    for operation in operations:
        if operation.answer is not None:
            inputs.append((operation.id, "serialization", TypeAdapter(operation.answer)))
        if operation.body is not None:
            inputs.append((operation.id, "validation", TypeAdapter(operation.body)))
    schemas, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REFERENCE)
    paths: dict[str, Any] = {}
    for operation in operations:
        verbs = paths.setdefault(f"/api/v1{operation.path}", {})
        verbs[operation.method] = _operation(operation, dict(schemas))
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": "1",
            "description": "What the Jupyter server answers itself, below `element`.",
        },
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {})},
    }
    return _renamed(whole)


def _operation(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    text = inspect.getdoc(operation.handler) or ""
    description: dict[str, Any] = {
        "operationId": operation.id,
        "summary": text.partition(": ")[2].rstrip("."),
    }
    parameters = [_in_path(name) for name in re.findall(r"{(\w+)}", operation.path)]
    parameters += [_in_query(name, kind) for name, kind in operation.query]
    if parameters:
        description["parameters"] = parameters
    if operation.body is not None:
        schema = schemas[operation.id, "validation"]
        description["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    answer: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer is not None:
        kind = "text/event-stream" if operation.streams else "application/json"
        answer["content"] = {kind: {"schema": schemas[operation.id, "serialization"]}}
    description["responses"] = {
        str(operation.status): answer,
        "default": {
            "description": "What went wrong, and what to do about it.",
            "content": {"application/json": {"schema": schemas["Problem", "serialization"]}},
        },
    }
    return description


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(name: str, kind: Any) -> dict[str, Any]:
    schema = TypeAdapter(kind).json_schema()
    required = not any(each.get("type") == "null" for each in schema.get("anyOf", ()))
    schema = schema if required else next(iter(schema["anyOf"]))
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _renamed(whole: dict[str, Any]) -> dict[str, Any]:
    """Call what is answered by its name, and what is taken, where it differs, `<name>Input`."""
    text = re.sub(
        r"\b(\w+)-(Input|Output)\b",
        lambda match: match[1] + ("Input" if match[2] == "Input" else ""),
        json.dumps(whole),
    )
    renamed: dict[str, Any] = json.loads(text)
    components = renamed["components"]["schemas"]
    renamed["components"]["schemas"] = {
        name: components[name] | {"title": name} for name in sorted(components)
    }
    return renamed


def main() -> None:
    """Print it as it is committed."""
    if sys.argv[1:] == ["resources"]:
        whole = document(resources.OPERATIONS, "Element: what a server and its kernels use")
    else:
        whole = document()
    sys.stdout.write(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
