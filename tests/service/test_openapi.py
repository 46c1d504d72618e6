"""The OpenAPI document: current, complete, and true to what is answered."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from element_jupyter.service.app import ROUTES, openapi_document

ROOT = Path(__file__).parents[2]


def test_the_committed_document_is_what_the_routes_say():
    command = [sys.executable, "-m", "element_jupyter.platform.openapi"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    committed = (ROOT / "docs/reference/openapi.json").read_text()
    assert printed == committed, f"run: {' '.join(command[1:])} > docs/reference/openapi.json"


def test_every_route_is_described_and_every_reference_leads_somewhere():
    document = openapi_document()
    operations = [each for verbs in document["paths"].values() for each in verbs.values()]
    assert len(operations) == len(ROUTES)
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all(operation["summary"] for operation in operations)
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert references <= set(document["components"]["schemas"])
    assert all(name.isidentifier() for name in document["components"]["schemas"])


def test_only_health_is_open_to_everybody():
    open_paths = [route.path for route in ROUTES if route.access.action is None]
    assert open_paths == ["/health"]


async def test_answers_are_what_the_document_says(plane):
    await plane.saved()
    document = openapi_document()
    for path in (
        "/jobs",
        "/jobs/ada/sales",
        "/job-changes",
        "/jobs/ada/sales/versions",
        "/status",
        "/runs",
    ):
        schema = _answer_schema(document, path)
        answer = (await plane.client.get(path)).json()
        jsonschema.validate(answer, {**schema, "components": document["components"]})
    problem = (await plane.client.get("/jobs/ada/none")).json()
    reference = {"$ref": "#/components/schemas/Problem", "components": document["components"]}
    jsonschema.validate(problem, reference)
    assert (await plane.client.get("/openapi.json")).json() == document


def _answer_schema(document: dict[str, Any], path: str) -> dict[str, Any]:
    known = document["paths"]
    path = f"/api/v1{path}"
    template = next(each for each in known if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), path))
    content = known[template]["get"]["responses"]["200"]["content"]
    return dict(content["application/json"]["schema"])
