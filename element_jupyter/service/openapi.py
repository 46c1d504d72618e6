"""The OpenAPI document, made of what the routes' functions are annotated with."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import TypeAdapter

from element_jupyter.core.errors import Problem
from element_jupyter.core.runs import Event
from element_jupyter.core.schedules import Schedule
from element_jupyter.service.http import (
    Answer,
    BlobAnswer,
    Download,
    EventStream,
    FileAnswer,
    Route,
    TextAnswer,
)

_Mode = Literal["validation", "serialization"]

_UNIONS: dict[str, tuple[_Mode, Any]] = {
    "Event": ("serialization", Event),
    "EventInput": ("validation", Event),
    "Schedule": ("serialization", Schedule),
    "ScheduleInput": ("validation", Schedule),
}
"""Unions that readers want to call by name; pydantic writes them out."""

_REFERENCE = "#/components/schemas/{model}"

_Key = tuple[str, str]
_Input = tuple[_Key, _Mode, TypeAdapter[Any]]


def document(routes: Iterable[Route], prefix: str = "/api/v1") -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the routes."""
    ordered = sorted(routes, key=lambda route: (route.path, route.method))
    schemas, definitions = TypeAdapter.json_schemas(
        [
            *_inputs(ordered),
            (("", "Problem"), "serialization", TypeAdapter(Problem)),
            *((("", name), mode, TypeAdapter(kind)) for name, (mode, kind) in _UNIONS.items()),
        ],
        ref_template=_REFERENCE,
    )
    found = {key: schema for (key, _), schema in schemas.items()}
    components = definitions.get("$defs", {})
    paths: dict[str, dict[str, Any]] = {}
    for route in ordered:
        path = re.sub(r"\{(\w+):path\}", r"{\1}", route.path)
        path = path if route.at_root else prefix + path
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, found)
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "Element",
            "version": "1",
            "description": "The control plane of Element: jobs, runs, snapshots and schedules.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }
    for name in _UNIONS:
        union = dict(found["", name])
        whole = _named(whole, name, union)
        whole["components"]["schemas"][name] = union
    return _renamed(whole)


def _named(node: Any, name: str, union: dict[str, Any]) -> Any:
    """Refer to a union by its name wherever it is written out."""
    if isinstance(node, list):
        return [_named(each, name, union) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("oneOf") == union["oneOf"]:
        kept = {key: value for key, value in node.items() if key not in {*union, "title"}}
        return {"$ref": _REFERENCE.format(model=name), **kept}
    return {key: _named(value, name, union) for key, value in node.items()}


def _renamed(whole: dict[str, Any]) -> dict[str, Any]:
    """Give components names for people: `RunPage` for a page of runs, `Job` for what is answered.

    Where what is answered differs from what is taken, the latter is called `JobInput`.
    """
    components = whole["components"]["schemas"]
    names = {name: name.replace("-Output", "").replace("-Input", "Input") for name in components}
    for name, schema in components.items():
        if name.startswith("Page_"):
            item = schema["properties"]["items"]["items"]["$ref"].rsplit("/", 1)[-1]
            names[name] = f"{names[item]}Page"
    text = re.sub(
        r'"#/components/schemas/([^"]+)"',
        lambda match: json.dumps(_REFERENCE.format(model=names[match[1]])),
        json.dumps(whole),
    )
    renamed: dict[str, Any] = json.loads(text)
    components = renamed["components"]["schemas"]
    renamed["components"]["schemas"] = {
        new: components[old] | {"title": new}
        for old, new in sorted(names.items(), key=lambda item: item[1])
    }
    return renamed


def _inputs(routes: Iterable[Route]) -> Iterator[_Input]:
    for route in routes:
        for name, kind in route.parameter_kinds.items():
            yield (_name(route), f"parameter {name}"), "validation", TypeAdapter(kind)
        if route.body is not None:
            yield (_name(route), "body"), "validation", route.body
        for number, kind in enumerate(_kinds(route.answer)):
            value = _value(kind)
            if value is not None:
                yield (_name(route), f"answer {number}"), "serialization", TypeAdapter(value)


def _name(route: Route) -> str:
    return f"{route.method} {route.path}"


def _kinds(answer: Any) -> tuple[Any, ...]:
    """Return the alternatives of what a function answers."""
    return get_args(answer) if get_origin(answer) in {Union, UnionType} else (answer,)


def _value(kind: Any) -> Any:
    """Return the type of the JSON in an answer; None when there is none."""
    if get_origin(kind) in {Answer, EventStream}:
        return get_args(kind)[0]
    return (
        None if kind in {FileAnswer, BlobAnswer, Download, TextAnswer, type(None), None} else kind
    )


def _operation(route: Route, schemas: dict[_Key, Any]) -> dict[str, Any]:
    text = inspect.getdoc(route.function) or ""
    summary, _, description = text.partition("\n")
    operation: dict[str, Any] = {
        "operationId": route.function.__name__,
        "summary": summary.rstrip("."),
        "tags": [route.path.strip("/").split("/")[0]],
    }
    if description.strip():
        operation["description"] = description.strip()
    if parameters := list(_parameters(route, schemas)):
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": schemas[_name(route), "body"]}}
        operation["requestBody"] = {"required": "body" not in route.defaults, "content": content}
    elif route.takes_upload:
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    operation["responses"] = {
        str(route.status): _answers(route, schemas),
        "default": {
            "description": "What went wrong, and what to do about it.",
            "content": {"application/json": {"schema": schemas["", "Problem"]}},
        },
    }
    if route.access.action is None:
        operation["security"] = []
    return operation


def _parameters(route: Route, schemas: dict[_Key, Any]) -> Iterator[dict[str, Any]]:
    for name in route.parameter_kinds:
        schema = dict(schemas[_name(route), f"parameter {name}"])
        description = schema.pop("description", None)
        header = route.headers.get(name)
        place = "header" if header else "path" if name in route.path_names else "query"
        default = route.defaults.get(name)
        if default is not None:
            schema["default"] = TypeAdapter(Any).dump_python(default, mode="json")
        parameter = {
            "name": header or name,
            "in": place,
            "required": name not in route.defaults,
            "schema": schema,
        }
        yield parameter | ({"description": description} if description else {})


def _answers(route: Route, schemas: dict[_Key, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    content: dict[str, Any] = {}
    for number, kind in enumerate(_kinds(route.answer)):
        schema = schemas.get((_name(route), f"answer {number}"))
        if get_origin(kind) is EventStream:
            content["text/event-stream"] = {"schema": schema}
        elif kind in {FileAnswer, BlobAnswer, Download}:
            content["application/octet-stream"] = {}
        elif kind is TextAnswer:
            content["text/plain"] = {"schema": {"type": "string"}}
        elif schema is not None:
            content["application/json"] = {"schema": schema}
    if content:
        answer["content"] = content
    return answer
