"""`%pip` in an environment that never changes: it changes the definition, and builds another.

`%pip install X` adds X to the file that names the notebook's packages and has the environment of
that built, by an `element` command of its own; a restart of the kernel then takes it. `%uv`,
`%conda` and the like do the same. `!pip install X` would end up in some other Python: it is not
run, and what to do instead is printed. What is there already is never a reason to stop.
"""

from __future__ import annotations

import ast
import importlib.metadata as packages
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESTART_TYPE = "application/vnd.element.restart+json"
"""Of a display that a front end can show as a button."""

TOOLS = ("pip", "uv", "conda", "mamba", "micromamba")
INSTALLS = {"install", "add", "update", "upgrade", "sync"}
REMOVES = {"uninstall", "remove"}

_COMMAND = re.compile(
    r"(?:^|[;&|(\n])\s*(?:sudo\s+(?:-\S+\s+)*)?(?:\w+=\S*\s+)*"
    r"(?:(?:\S*python[\d.]*\S*|[\"']?\{[^}]*\}[\"']?|\$\w+)\s+(?:-\w+\s+)*?-m\s+|[\w./~-]*/)?"
    r"(?P<tool>pip[\d.]*|uv|conda|mamba|micromamba)\s+(?P<rest>[^;&|\n)]*)"
)
_TAKES_VALUE = {
    *("-c", "--constraint", "-e", "--editable", "-f", "--find-links", "-i", "--index-url"),
    *("--extra-index-url", "--index", "-n", "--name", "-p", "--prefix", "-r"),
    *("--requirement", "-t", "--target", "--upgrade-strategy"),
}


class NotDone(Exception):
    """The cell fails with a sentence, and without a traceback of ours."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


# ----------------------------------------------------------------------------- what was asked for


class Request:
    """A command line of a package tool: what it wants, and of which packages."""

    def __init__(self, tool: str, line: str) -> None:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            words = line.split()
        self.tool = re.sub(r"[\d.]+$", "", tool)
        if self.tool == "uv" and words[:1] == ["pip"]:
            words = words[1:]
        while words and words[0].startswith("-"):
            words = words[1:]
        self.verb = words[0] if words else ""
        self.names: list[str] = []
        self.options: list[str] = []
        self.takes: list[str] = []
        rest = iter(words[1:])
        for word in rest:
            if not word.startswith("-"):
                self.names.append(word)
                continue
            self.options.append(word)
            if self.tool not in {"pip", "uv"} and word in {"-c", "--channel"}:
                next(rest, "")  # channels are those that the definition names
            elif word in _TAKES_VALUE:
                self.takes.append(f"{word} {next(rest, '')}".strip())
            elif word.partition("=")[0] in _TAKES_VALUE:
                self.takes.append(word)

    def has(self, *options: str) -> bool:
        return any(option in self.options for option in options)

    @property
    def changes(self) -> bool:
        """Whether it would change what is installed."""
        return self.verb in INSTALLS | REMOVES


def request_in(command: str) -> Request | None:
    """Return what a line for the shell asks a package tool for, if it does."""
    for match in _COMMAND.finditer(command):
        request = Request(match["tool"], match["rest"])
        own = Path(sys.prefix, "bin", match["tool"]).exists()
        if request.changes or (request.verb in {"list", "freeze", "show", "check"} and not own):
            return request
    return None


def missing_from(requirements: Iterable[str]) -> list[str]:
    """Return those that this environment does not have."""
    # ipykernel brings it along, so that every environment has it
    from packaging.requirements import InvalidRequirement, Requirement

    missing = []
    for text in requirements:
        try:
            wanted = Requirement(re.sub(r"(?<![<>=!~])=(?!=)", "==", text))
            there = wanted.url is None and packages.version(wanted.name) in wanted.specifier
        except (InvalidRequirement, packages.PackageNotFoundError):
            there = False
        if not there:
            missing.append(text)
    return missing


def versions_of(requirements: Iterable[str]) -> str:
    """Return names and versions of what is there, as a sentence's subject."""
    names = [re.split(r"[\s<>=!~;\[@]", text, maxsplit=1)[0] for text in requirements]
    found = [f"{name} {packages.version(name)}" for name in names]
    return f"{', '.join(found)} {'is' if len(found) == 1 else 'are'}"


# ----------------------------------------------------------------------------------- the magics


class Packages:
    """What `%pip` and its like do in this kernel."""

    def __init__(self, settings: Mapping[str, Any], *, batch: bool) -> None:
        self._command: Sequence[str] = settings.get("command", ())
        self._variables: Mapping[str, str] = settings.get("variables", {})
        self._notebook = str(settings.get("notebook", ""))
        self._file = str(settings.get("definition") or "the file that names its packages")
        self._adds_to = str(settings.get("adds_to") or self._file)
        self._path = Path(str(settings.get("file", "")))
        self._is_inline = settings.get("kind") == "inline"
        self._batch = batch

    def run(self, tool: str, line: str) -> None:
        """Do what `%pip LINE`, `%uv LINE` and the like ask for."""
        request = Request(tool, line)
        if request.verb in INSTALLS:
            self._install(request)
        elif request.verb in REMOVES:
            raise NotDone(
                f"This environment never changes. Remove {' '.join(request.names) or 'it'} from"
                f" {self._file}, and restart the kernel."
            )
        elif request.verb in {"list", "freeze"}:
            _list(request)
        elif request.verb == "show":
            _show(request.names)
        else:
            said = f"%{tool} {request.verb}".strip()
            _say(
                f"{said} does nothing here. There are %{tool} install NAME, which adds to"
                f" {self._adds_to}, and %pip list, freeze and show."
            )

    def explain(self, command: str) -> None:
        """Print why a line for the shell was not run, and what to do."""
        request = request_in(command)
        if request is None:
            return
        shown = f"{request.tool} {request.verb}"
        names = " ".join(shlex.quote(name) for name in request.names)
        if self._is_the_definition(request):
            said = f"This environment is made of {self._file} already: {shown} was not run."
        elif request.verb in INSTALLS and request.names and not missing_from(request.names):
            said = f"{versions_of(request.names)} in this environment already: {shown} was not run."
        elif not request.changes:
            said = (
                f"Not run: !{shown} would tell of another Python than this kernel's.\n"
                f"→ %pip {request.verb} {names}".rstrip()
            )
        else:
            instead = f"%pip install {names or 'NAME'} adds to {self._adds_to}"
            if request.verb in REMOVES:
                instead = f"Remove {names or 'it'} from {self._file}, and restart the kernel"
            said = (
                f"Not run: !{shown} would change another Python than this kernel's, whose"
                f" environment never changes.\n→ {instead}."
            )
        _say(said)

    def _install(self, request: Request) -> None:
        if self._is_the_definition(request):
            _say(f"This environment is made of {self._file} already.")
            return
        self._refuse_what_cannot_be(request)
        missing = missing_from(request.names)
        upgrade = request.has("-U", "--upgrade", "--force-reinstall") and not self._batch
        if not missing and not upgrade:
            _say(f"{versions_of(request.names)} in this environment already.")
            return
        if self._batch:
            raise NotDone(
                f"A run cannot install {_and(missing)}: its environment is the one that was saved"
                f" with the job. Add to {self._adds_to}, and save the job again."
            )
        if not self._command or not self._notebook:
            raise NotDone(
                f"Nothing was installed: this kernel does not know its notebook. Add"
                f" {_and(missing or request.names)} to {self._adds_to}, and restart the kernel."
            )
        if self._is_inline:
            # the editor has the notebook open, and would write over what is changed in its file
            lines = "\n".join(f"#     {json.dumps(name)}," for name in missing or request.names)
            raise NotDone(
                "This notebook names its packages itself. Add to the dependencies in the cell that"
                f" begins with # /// script, save, and restart the kernel:\n{lines}"
            )
        question = (
            f"Add {_and(missing)} to {self._adds_to}?"
            if missing
            else f"Take the newest versions that {self._file} allows?"
        )
        if request.has("-y", "--yes", "-qy", "-yq") or self._agrees(question, request):
            self._add(missing, upgrade=upgrade)

    def _is_the_definition(self, request: Request) -> bool:
        """Tell whether all that is wanted is what the environment is made of anyhow."""
        files = [each.split()[-1] for each in request.takes if re.match(r"-r|--requirement", each)]
        return (
            not request.names
            and len(files) == len(request.takes) == 1
            and Path(files[0]).name == Path(self._file).name
        )

    def _refuse_what_cannot_be(self, request: Request) -> None:
        for taken in request.takes:
            if taken.startswith(("-e", "--editable")):
                raise NotDone("Modules of your project can be imported as they are.")
            raise NotDone(
                f"{taken} cannot be followed here. Write into {self._adds_to} what you need, and"
                " restart the kernel."
            )
        if not request.names:
            raise NotDone(f"Say which package: %{request.tool} {request.verb} NAME.")
        for name in request.names:
            if name.startswith((".", "/", "~")) or name.endswith((".whl", ".tar.gz")):
                raise NotDone(
                    f"{name} is a file here, and an environment takes packages from indexes."
                    " Modules of your project can be imported as they are."
                )

    def _agrees(self, question: str, request: Request) -> bool:
        from IPython.core.error import StdinNotImplementedError

        try:
            answer = input(f"{question} [Y/n] ")
        except StdinNotImplementedError:
            names = " ".join([*request.options, *map(shlex.quote, request.names)])
            raise NotDone(
                f"Nobody can be asked here. %{request.tool} {request.verb} -y {names} does it"
                " without asking."
            ) from None
        agreed = answer.strip().lower() in {"", "y", "yes"}
        if not agreed:
            _say("Nothing was changed.")
        return agreed

    def _add(self, wanted: Sequence[str], *, upgrade: bool) -> None:
        before = self._content()
        # `--` keeps a name from being taken for an option
        add = ("env", "add", "--notebook", self._notebook, "--", *wanted)
        if wanted and self._element(*add):
            raise NotDone(f"{_and(wanted)} could not be added; the lines above say why.")
        added = self._content()
        newer = ("--upgrade",) if upgrade else ()
        if self._element("env", "build", *newer, self._notebook):
            name = self._path.name
            restored = f" {name} is as it was." if self._restore(before, added) else ""
            raise NotDone(
                f"There is no such environment, as the lines above say.{restored} This kernel goes"
                " on with the one that it has."
            )
        self._ask_for_restart(wanted)

    def _content(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except OSError:
            return None

    def _restore(self, before: bytes | None, added: bytes | None) -> bool:
        """Take back what was added, unless somebody has changed the file since."""
        if added is None or added == before or self._content() != added:
            return False
        if before is None:
            self._path.unlink()
            return True
        with tempfile.NamedTemporaryFile(dir=self._path.parent, delete=False) as written:
            written.write(before)
            written.flush()
            os.fsync(written.fileno())
        shutil.copymode(self._path, written.name)
        Path(written.name).replace(self._path)
        return True

    def _element(self, *arguments: str) -> int:
        """Run an `element` command, showing what it prints; return its exit code."""
        with subprocess.Popen(
            [*self._command, *arguments],
            env=dict(self._variables),
            cwd=Path(self._notebook).parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as child:
            try:
                for line in child.stdout or ():
                    _say(line.rstrip("\n"))
            except KeyboardInterrupt:
                child.terminate()
                raise
        return child.returncode

    def _ask_for_restart(self, wanted: Sequence[str]) -> None:
        from IPython.display import display

        said = f"Restart the kernel to use {_and(wanted) if wanted else 'them'}."
        display({RESTART_TYPE: {"message": said}, "text/plain": said}, raw=True)  # type: ignore[no-untyped-call]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _list(request: Request) -> None:
    found = sorted(
        {(each.metadata["Name"], each.version) for each in packages.distributions()},
        key=lambda each: each[0].lower(),
    )
    if request.verb == "freeze" or request.has("--format=freeze"):
        lines = [f"{name}=={version}" for name, version in found]
    else:
        width = max([7, *(len(name) for name, _ in found)])
        lines = [f"{name:{width}} {version}" for name, version in [("Package", "Version"), *found]]
    _say("\n".join(lines))


def _show(names: Sequence[str]) -> None:
    for name in names:
        try:
            found = packages.distribution(name)
        except packages.PackageNotFoundError:
            raise NotDone(f"{name} is not in this environment.") from None
        said = {
            "Name": found.metadata["Name"],
            "Version": found.version,
            "Summary": found.metadata["Summary"] or "",
            "Location": str(found.locate_file("")),
            "Requires": ", ".join(found.requires or ()),
        }
        _say("\n".join(f"{key}: {value}" for key, value in said.items()))


# -------------------------------------------------------------------------------- lines for a shell


class ShellLines(ast.NodeTransformer):
    """Puts an explanation in the place of what would install into another Python.

    It sees a cell when IPython has made Python of `!…`, `%%bash` and the like; wrapping the method
    that they end up in would hide a function's own variables from `!pip install {name}`.
    """

    LINES = ("sx", "system", "sc", "!")
    SCRIPTS = ("bash", "sh", "script", *LINES)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called = node.func
        if not (
            isinstance(called, ast.Attribute)
            and isinstance(called.value, ast.Call)
            and isinstance(called.value.func, ast.Name)
            and called.value.func.id == "get_ipython"
        ):
            return node
        texts = [
            each.value
            for each in node.args
            if isinstance(each, ast.Constant) and isinstance(each.value, str)
        ]
        if not self._is_for_a_shell(called.attr, texts) or request_in(texts[-1]) is None:
            return node
        said = ast.Attribute(called.value, "element_explains", ast.Load())
        call = ast.Call(said, [ast.Constant(texts[-1])], [])
        return ast.fix_missing_locations(ast.copy_location(call, node))

    def _is_for_a_shell(self, method: str, texts: Sequence[str]) -> bool:
        if method in {"system", "getoutput"}:
            return bool(texts)
        magics = {"run_line_magic": self.LINES, "run_cell_magic": self.SCRIPTS}
        return len(texts) > 1 and texts[0] in magics.get(method, ())


def register(shell: Any, settings: Mapping[str, Any], *, batch: bool) -> None:
    """Replace what a shell knows of package tools; `settings` are those of `start.py`."""
    here = Packages(settings, batch=batch)
    for tool in TOOLS:

        def magic(line: str, tool: str = tool) -> None:
            here.run(tool, line)

        magic.__doc__ = f"%{tool} install NAME adds to {settings.get('definition') or 'the file'}."
        shell.register_magic_function(magic, "line", tool)
    shell.element_explains = here.explain
    shell.ast_transformers.append(ShellLines())
