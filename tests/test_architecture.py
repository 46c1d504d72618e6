"""What may import what, and where things are: docs/explanation/architecture.md, as a test.

Each rule is a function from a source tree to the sentences that it has to say about it. The real
tree must have none; the trees planted in the second half of this module must have exactly theirs.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).resolve().parents[1]
OURS = "element_jupyter"

FACES = {
    "server": {
        *("jupyter_server", "jupyter_client", "prometheus_client", "tornado"),
        *("jupyter_server_ydoc", "pycrdt"),
    },
    "hub": {
        *("jupyterhub", "tornado", "jupyterhub_traefik_proxy", "bcrypt", "argon2", "jinja2"),
        *("oauthenticator", "ldapauthenticator", "ldap3", "batchspawner", "kubespawner"),
        *("aiohttp", "cryptography", "sqlalchemy"),  # the Hub's own
    },
    "service": {"tornado", "sqlalchemy", "prometheus_client", "jinja2", "markupsafe"},
    "runner": {"papermill", "nbclient", "nbformat", "jupyter_client", "zmq"},
    "provider": {"airflow", "attrs", "fastapi", "pendulum", "structlog"},
}
"""The faces, and the frameworks that each may import."""

IN_KERNEL_LIBRARIES = {"IPython", "ipykernel", "packaging", "traitlets"}
"""What the code that runs inside a kernel may import: what ipykernel brings along."""

PLAIN_LIBRARIES = {"httpx", "psutil", "pydantic", "setproctitle", "traitlets", "yaml"}
"""What any face may import: libraries that bring no framework along."""

CORE_LIBRARIES = {"pydantic", "pydantic_core"}
PYDANTIC_BRINGS = {"annotated_types", "typing_extensions", "typing_inspection"}

INSIDE = {
    "core": {"core"},
    "adapters": {"core"},  # and its own module or package, never another adapter
    "cli": {"core", "platform", "config", "cli"},
    "config": {"core"},
    "recording": {"core"},
    "in_kernel": set(),  # it runs where Element is not installed
    **{face: {"core", face} for face in FACES},
}
"""Which parts of the package each part may import; what is not listed here may import all."""

LONGEST_MODULE_LINES = 500
VAGUE_NAMES = {"utils", "util", "helpers", "common", "misc", "base"}
SHADOWING_NAMES = {"airflow", "jupyterhub", "papermill"}
READS_ENVIRONMENT = {"config", "platform"}
"""`config` reads settings; an entry module of `platform` what its parent process hands it."""

TOP_LEVEL = {
    *(".ci", ".git", ".gitignore", ".pre-commit-config.yaml", ".yarnrc.yml"),
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"),
    *("package.json", "pyproject.toml", "uv.lock", "yarn.lock"),
    *("dags", "docs", "element_jupyter", "examples", "hub_config", "labextension", "tests"),
}


class Module(NamedTuple):
    path: Path
    parts: tuple[str, ...]
    """Of the dotted name, without the package's own: ("core", "runs")."""
    tree: ast.Module
    lines: int

    @property
    def name(self) -> str:
        return ".".join((OURS, *self.parts))

    def imports(self) -> Iterator[tuple[str, int]]:
        """The dotted names that are imported anywhere in the module, with their lines."""
        package = self.parts if self.path.name == "__init__.py" else self.parts[:-1]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = (OURS, *package)[: len(package) + 2 - node.level] if node.level else ()
                base = ".".join((*above, *([node.module] if node.module else [])))
                # `from element_jupyter.platform import up` may name a module or what is in one
                yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def modules(root: Path) -> list[Module]:
    found = []
    for path in sorted((root / OURS).rglob("*.py")):
        if "labextension" in path.relative_to(root).parts:
            continue
        parts = path.relative_to(root / OURS).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        source = path.read_text(encoding="utf-8")
        found.append(Module(path, parts, ast.parse(source), len(source.splitlines())))
    return found


def imports_out_of_bounds(root: Path) -> list[str]:
    faults = []
    for module in modules(root):
        part = module.parts[0] if module.parts else ""
        for name, line in module.imports():
            top, _, rest = name.partition(".")
            if top == OURS:
                allowed = _may_import_inside(module, rest)
            elif top in sys.stdlib_module_names:
                allowed = True
            elif part == "core":
                allowed = top in CORE_LIBRARIES
            elif part == "in_kernel":
                allowed = top in IN_KERNEL_LIBRARIES
            elif part in FACES:
                allowed = top in FACES[part] | PLAIN_LIBRARIES
            else:
                allowed = True
            if not allowed:
                faults.append(f"{module.name}:{line} must not import {name}")
    return faults


def _may_import_inside(module: Module, target: str) -> bool:
    part = module.parts[0] if module.parts else ""
    first = target.partition(".")[0]
    if part not in INSIDE or first in INSIDE[part]:
        return True
    if part == "in_kernel":
        return False
    if part == "adapters" and first == "adapters":
        return len(module.parts) < 2 or target.split(".")[1:2] == [module.parts[1]]
    return first == part and len(module.parts) == 1


def modules_too_long(root: Path) -> list[str]:
    return [
        f"{module.name} has {module.lines} lines, more than {LONGEST_MODULE_LINES}"
        for module in modules(root)
        if module.lines > LONGEST_MODULE_LINES
    ]


def names_that_say_nothing(root: Path) -> list[str]:
    return [
        f"{module.name}: '{part}' says nothing about what is in it"
        for module in modules(root)
        for part in module.parts
        if part.strip("_") in VAGUE_NAMES
    ]


def names_that_shadow(root: Path) -> list[str]:
    packages = [path for path in root.glob("*") if path.name in SHADOWING_NAMES]
    packages += [
        path for path in (root / OURS).rglob("*") if path.is_dir() and path.name in SHADOWING_NAMES
    ]
    return [f"{path.relative_to(root)} shadows the real {path.name}" for path in sorted(packages)]


def environment_read_elsewhere(root: Path) -> list[str]:
    faults = []
    for module in modules(root):
        if module.parts and module.parts[0] in READS_ENVIRONMENT:
            continue
        for node in ast.walk(module.tree):
            if _reads_environment(node):
                line = getattr(node, "lineno", 0)
                faults.append(f"{module.name}:{line} reads the environment; a setting is a trait")
    return faults


def _reads_environment(node: ast.AST) -> bool:
    """Whether a variable is looked up; handing the whole environment to a child is not that."""
    match node:
        case ast.ImportFrom(module="os", names=names):
            return any(alias.name in {"environ", "environb", "getenv"} for alias in names)
        case ast.Attribute(value=ast.Name(id="os"), attr="getenv"):
            return True
        case ast.Subscript(value=value, ctx=ast.Load()):
            return _is_environ(value)
        case ast.Call(func=ast.Attribute(value=value, attr="get")):
            return _is_environ(value)
        case ast.Compare(comparators=[value]):
            return _is_environ(value)
    return False


def _is_environ(node: ast.expr) -> bool:
    return ast.unparse(node) in {"os.environ", "os.environb"}


def modules_without_a_docstring(root: Path) -> list[str]:
    return [
        f"{module.name} does not say what it is"
        for module in modules(root)
        if not ast.get_docstring(module.tree)
    ]


def top_level_out_of_place(root: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
        text=True,
    )
    there = {name.partition("/")[0] for name in listed.stdout.split("\0") if name}
    return [f"{name} is not in the layout" for name in sorted(there - TOP_LEVEL)]


RULES = [
    imports_out_of_bounds,
    modules_too_long,
    names_that_say_nothing,
    names_that_shadow,
    environment_read_elsewhere,
    modules_without_a_docstring,
    top_level_out_of_place,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_follows(rule):
    assert rule(PROJECT) == []


def _brought_in(*names: str) -> set[str]:
    """The libraries that importing these brings into a fresh interpreter."""
    program = (
        "import importlib, sys; before = set(sys.modules)\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return {
        name
        for name in done.stdout.split()
        if name not in sys.stdlib_module_names and not name.startswith("_sysconfigdata")
    }


def test_importing_the_core_brings_in_no_library_but_pydantic():
    names = [module.name for module in modules(PROJECT) if module.parts[:1] == ("core",)]

    foreign = _brought_in(OURS, *names) - {OURS}

    assert foreign <= CORE_LIBRARIES | PYDANTIC_BRINGS


def test_recording_in_a_kernel_brings_in_no_framework():
    brought = _brought_in(f"{OURS}.recording")

    assert not brought & set().union(*FACES.values(), {"sqlalchemy", "httpx", "traitlets"})


PLANTED = [
    ("core/a.py", "import tornado.web", "core.a:2 must not import tornado.web"),
    ("core/a.py", "def f():\n    import httpx", "core.a:3 must not import httpx"),
    ("core/a.py", "from element_jupyter import config", "core.a:2 must not import {}.config"),
    ("core/a.py", "from ..service import app", "core.a:2 must not import {}.service.app"),
    ("core/a.py", "from .. import runner", "core.a:2 must not import {}.runner"),
    ("server/a.py", "import sqlalchemy", "server.a:2 must not import sqlalchemy"),
    ("server/a.py", "from element_jupyter.hub.x import y", "must not import {}.hub.x.y"),
    ("service/a.py", "from element_jupyter.adapters import x", "must not import {}.adapters.x"),
    ("service/a.py", "from element_jupyter.platform.x import y", "must not import {}.platform.x.y"),
    ("provider/a.py", "import papermill", "provider.a:2 must not import papermill"),
    ("runner/a.py", "from airflow.sdk import DAG", "must not import airflow.sdk.DAG"),
    ("hub/a.py", "import airflow", "hub.a:2 must not import airflow"),
    (
        "adapters/a.py",
        "from element_jupyter.adapters.b import c",
        "must not import {}.adapters.b.c",
    ),
    ("adapters/a.py", "from element_jupyter.adapters import b", "must not import {}.adapters.b"),
    ("adapters/a.py", "from . import b", "adapters.a:2 must not import {}.adapters.b"),
    ("adapters/a.py", "import element_jupyter.service.x", "must not import {}.service.x"),
    ("adapters/p/q.py", "from element_jupyter.adapters.a import b", "must not import"),
    ("cli/a.py", "from element_jupyter.adapters.b import c", "must not import {}.adapters.b.c"),
    ("config.py", "from element_jupyter.service import x", "config:2 must not import"),
    ("in_kernel/a.py", "import pydantic", "in_kernel.a:2 must not import pydantic"),
    ("in_kernel/a.py", "from element_jupyter.core import x", "must not import {}.core.x"),
    ("core/long.py", "a = 1\n" * 499 + "a = 1", "core.long has 501 lines, more than 500"),
    ("core/utils.py", "a = 1", "core.utils: 'utils' says nothing about what is in it"),
    ("service/common/x.py", "a = 1", "service.common.x: 'common' says nothing"),
    ("service/_helpers.py", "a = 1", "'_helpers' says nothing"),
    ("provider/airflow/x.py", "a = 1", "element_jupyter/provider/airflow shadows the real airflow"),
    ("../papermill/x.py", "a = 1", "papermill shadows the real papermill"),
    ("../things/x.py", "a = 1", "things is not in the layout"),
    ("core/a.py", "import os\nx = os.environ['X']", "core.a:3 reads the environment"),
    ("service/a.py", "import os\nx = os.environ.get('X')", "service.a:3 reads the environment"),
    ("runner/a.py", "import os\nx = os.getenv('X')", "runner.a:3 reads the environment"),
    ("cli/a.py", "from os import environ", "cli.a:2 reads the environment"),
    ("adapters/a.py", "import os\nx = 'X' in os.environ", "adapters.a:3 reads the environment"),
]


def _plant(root: Path, file: str, source: str) -> None:
    path = root / OURS / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'"""Planted."""\n{source}\n', encoding="utf-8")


def _faults(root: Path) -> list[str]:
    subprocess.run(["git", "init", "-q", root], check=True)
    return [fault for rule in RULES for fault in rule(root)]


@pytest.mark.parametrize(("file", "source", "sentence"), PLANTED)
def test_a_planted_violation_is_found(tmp_path, file, source, sentence):
    _plant(tmp_path, file, source)

    assert any(sentence.format(OURS) in fault for fault in _faults(tmp_path))


def test_a_module_without_a_docstring_is_found(tmp_path):
    (tmp_path / OURS).mkdir()
    (tmp_path / OURS / "config.py").write_text("a = 1\n")

    assert _faults(tmp_path) == [f"{OURS}.config does not say what it is"]


ALLOWED = [
    ("core/a.py", "import json\nfrom pydantic import BaseModel\nfrom .b import c"),
    (
        "server/a.py",
        "import httpx, jupyter_server\nfrom element_jupyter.core.errors import Invalid",
    ),
    ("service/a.py", "import tornado\nfrom element_jupyter.service.b import c"),
    ("adapters/a.py", "import sqlalchemy\nfrom element_jupyter.core import jobs"),
    ("adapters/sql/a.py", "from element_jupyter.adapters.sql.b import c\nfrom . import d"),
    ("adapters/a.py", "import os\nx = {**os.environ}\nos.environ['X'] = '1'"),
    ("cli/a.py", "import typer\nfrom element_jupyter.platform import up"),
    ("platform/a.py", "import airflow\nfrom element_jupyter.adapters import b\nimport os"),
    ("platform/a.py", "import os\nx = os.environ['ELEMENT_RUN']"),
    ("config.py", "import os\nx = os.environ.get('ELEMENT_PORT')"),
    ("provider/a.py", "from airflow.sdk import DAG\nimport httpx"),
]


@pytest.mark.parametrize(("file", "source"), ALLOWED)
def test_what_the_rules_allow_is_not_found_fault_with(tmp_path, file, source):
    _plant(tmp_path, file, source)

    assert _faults(tmp_path) == []
