"""What `uv` says when it fails, as failures that people can act on.

It is told by phrases that uv has kept for years; `tests/adapters/uv/test_failures.py` asks the real
one for each. The whole of its text goes along, so nothing is lost where a phrase has changed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from element_jupyter.adapters.uv.process import without_credentials
from element_jupyter.core.environments.building import Failure, FailureCode, Rules
from element_jupyter.core.environments.definitions import (
    Definition,
    Origin,
    OriginKind,
    Requirement,
)

_LONGEST_OUTPUT: Final = 20_000

_IMPORTED_AS: Final = {
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "pil": "pillow",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Names that people write because they import them by it."""

_WELL_KNOWN: Final = frozenset(
    """
    altair beautifulsoup4 bokeh boto3 catboost cloudpickle cryptography cython dask duckdb fastapi
    fastparquet flask geopandas great-expectations h5py holoviews httpx humanize imbalanced-learn
    ipython ipywidgets jax jinja2 joblib jupyterlab keras lightgbm lxml matplotlib mlflow netcdf4
    networkx nltk numba numpy openpyxl opencv-python optuna pandas pillow plotly polars psycopg
    pyarrow pydantic pymongo pyspark pytest python-dateutil pytorch-lightning pyyaml requests rich
    scikit-image scikit-learn scipy seaborn shap shapely sqlalchemy statsmodels streamlit sympy
    tensorflow tokenizers torch torchvision tqdm transformers umap-learn xarray xgboost xlsxwriter
    """.split()  # noqa: SIM905 - a list of a hundred literals is not read by anybody
)

_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_UNKNOWN: Final = re.compile(
    rf"Because (?:there are no versions of )?(?P<first>{_NAME}) was not found"
    rf"|(?:and|because) (?P<next>{_NAME}) was not found"
)
_WHEELS_ELSEWHERE: Final = re.compile(
    rf"(?P<name>{_NAME})(?:==\S+)? has no (?:usable wheels|wheels with|source distribution)"
    rf"|Wheels are required for `(?P<required>{_NAME})`"
    rf"|Building source distributions for `(?P<disabled>{_NAME})` is disabled"
    rf"|[Bb]uilding source distributions is disabled.*?`?(?P<other>{_NAME})?`?"
)
_PYTHON: Final = re.compile(
    r"(?:current|requested) Python version \((?P<have>[^)]+)\) does not satisfy"
    rf" Python(?P<want>[^\s,]+)(?:.*? and (?P<name>{_NAME})(?:==\S+)? depends on Python)?",
    re.DOTALL,
)
_PROJECT_PYTHON: Final = re.compile(
    r"resolved to Python (?P<have>\S+), which is incompatible with the project's Python"
    r" requirement: `(?P<want>[^`]+)`"
)
_DEPENDS: Final = re.compile(
    rf"(?P<who>(?:all versions of )?{_NAME}(?:\[[\w,.-]+\])?"
    rf"(?:[<>=!~]+[^\s,]+(?:,[<>=!~]+[^\s,]+)*)?)"
    rf" depends? on (?P<what>{_NAME}(?:\[[\w,.-]+\])?(?:[<>=!~][^\s]*[^\s,.])?)"
)
_AVAILABLE: Final = re.compile(
    rf"only (?P<what>{_NAME}(?:[<>=!~][^\s]*)?) (?:is|are) available"
    rf"|(?:the following versions of|there is no version of) (?P<none>{_NAME}\S*)"
)
_URL: Final = re.compile(r"https?://[^\s)`'\"]+")
_NETWORK: Final = (
    "network was disabled",
    "error sending request",
    "Failed to fetch",
    "Request failed after",
    "HTTP status server error",
    "HTTP status client error",
    "dns error",
    "operation timed out",
    "error decoding response body",
    "error reading a body",
    "Git operation failed",
    "client error (Connect)",
    "Could not connect",
)


def explain(
    output: str,
    *,
    definition: Definition | None = None,
    rules: Rules | None = None,
    kernel: bool = False,
) -> Failure:
    """Return what went wrong from what `uv` has said; `kernel` while resolving the kernel's own."""
    said = _Said(
        without_credentials(output).strip()[-_LONGEST_OUTPUT:], definition, rules, kernel=kernel
    )
    for attempt in _ATTEMPTS:
        failure = attempt(said)
        if failure is not None:
            return failure
    return said.failure(
        FailureCode.INTERNAL,
        "uv has failed",
        f"uv has failed for a reason that is not known here: {said.first_line}",
        "What uv said is below.",
    )


class _Said:
    """What uv said, about which definition."""

    def __init__(
        self, text: str, definition: Definition | None, rules: Rules | None, *, kernel: bool
    ) -> None:
        self.text = text
        # the reasoning is wrapped into lines that say nothing, and has markers inside of versions
        self.flat = re.sub(r"(?<=\w)\{[^}]*\}", "", re.sub(r"\s+", " ", text))
        self.definition, self.rules, self.kernel = definition, rules, kernel

    @property
    def first_line(self) -> str:
        lines = [each for each in self.text.splitlines() if each.startswith(("error:", "  cause:"))]
        lines = lines or self.text.splitlines()[-1:] or ["it said nothing"]
        return lines[0].removeprefix("error:").strip().rstrip(".") + "."

    def culprits(self, names: Iterable[str]) -> tuple[Requirement, ...]:
        wanted = {canonicalize_name(each) for each in names}
        known = self.definition.requirements if self.definition else ()
        return tuple(each for each in known if each.name in wanted)

    def where(self, names: Iterable[str]) -> str:
        """Return ` (requirements.txt, line 3)` for the first of the names that a person wrote."""
        for each in self.culprits(names):
            return f" ({_place(each)})"
        return ""

    def failure(
        self,
        code: FailureCode,
        title: str,
        summary: str,
        *hints: str,
        about: Iterable[str] = (),
        origins: Iterable[Origin] = (),
        retryable: bool = False,
    ) -> Failure:
        return Failure(
            origins=tuple(origins),
            code=code,
            title=title,
            summary=summary,
            hints=tuple(each for each in hints if each),
            culprits=self.culprits(about),
            tool_output=self.text,
            retryable=retryable,
        )


def _place(requirement: Requirement) -> str:
    line = f", line {requirement.line}" if requirement.line else ""
    return f"{requirement.file}{line}"


def _disk_full(said: _Said) -> Failure | None:
    if not re.search(r"No space left|os error 28\b|Disk quota exceeded|os error 122\b", said.text):
        return None
    return said.failure(
        FailureCode.DISK_FULL,
        "The disk is full",
        "There is no space left to write the packages to, and nothing half-written is kept.",
        "Remove environments that nobody uses: `element env prune`.",
        "Or have the administrator give the environment store more room.",
        retryable=True,
    )


def _bad_hash(said: _Said) -> Failure | None:
    mismatch = re.search(r"(?:Hash|Size) mismatch for `", said.text)
    broken = re.search(r"Invalid zip|ZIP structure|Bad CRC|Failed to extract archive", said.text)
    if mismatch is None and broken is None:
        return None
    named = re.search(rf"`(?P<name>{_NAME})(?:==(?P<version>[^`]+))?`", said.text)
    name = named["name"] if named else "A package"
    what = f"{name} {named['version'] or ''}".strip() if named else name
    return said.failure(
        FailureCode.HASH_MISMATCH,
        "A package is not what its hash says",
        f"The file of {what} that was downloaded is damaged, or is another one than the lock says;"
        " it was not installed.",
        "Try again: it may have been damaged on the way.",
        "If it happens again, the index offers a changed file: ask who runs it, and do not"
        " install it elsewhere either.",
        about=[name],
        retryable=True,
    )


def _sign_in(said: _Said) -> Failure | None:
    if not re.search(r"\b(?:401 Unauthorized|403 Forbidden)\b|valid authentication", said.text):
        return None
    refused = re.search(
        r"An index URL \((?P<url>[^)]+)\)|(?:for url|fetch:?) \(?(?P<file>https?://[^\s)]+)",
        said.text,
    )
    url = (
        (refused["url"] or refused["file"]) if refused else next(iter(_URL.findall(said.text)), "")
    )
    index = _index_of(url, said.rules)
    host = urlsplit(index).hostname or index
    forbidden = "403 Forbidden" in said.text and "401" not in said.text
    return said.failure(
        FailureCode.AUTH_REQUIRED,
        "An index wants to know who asks",
        f"The index {index} {'refuses this' if forbidden else 'asks for a sign-in'}, and Element"
        " has no credentials for it that are enough.",
        f"Put `machine {host} login … password …` into ~/.netrc of the account that builds.",
        "Or set UV_INDEX_<NAME>_USERNAME and …_PASSWORD, for an index that has a name.",
    )


def _index_of(url: str, rules: Rules | None) -> str:
    """Return the index that a URL belongs to, or its server."""
    for entry in rules.index_urls if rules else ():
        index = entry[entry.find("http") :]
        if urlsplit(index).netloc == urlsplit(url).netloc:
            return index
    return url


def _unreachable(said: _Said) -> Failure | None:
    phrase = next((each for each in _NETWORK if each in said.text), None)
    if phrase is None:
        return None
    if "network was disabled" in said.text:
        missing = re.findall(rf"(?:Because|and) ({_NAME}) was not found in the cache", said.flat)
        return said.failure(
            FailureCode.OFFLINE,
            "It is not in the cache, and Element is offline",
            f"{', '.join(missing) or 'A package'} has not been downloaded before, and Element is"
            " told never to ask an index (Element.offline).",
            "Build it once while online, or put its wheel where Element.find_links looks.",
            about=missing,
        )
    url = next(iter(_URL.findall(said.text)), "")
    server = urlsplit(url).netloc or "the index"
    how = _how_unreachable(said.text)
    return said.failure(
        FailureCode.OFFLINE,
        "A package index does not answer as it should",
        f"{server} {how}.",
        "Try again in a moment.",
        f"If it lasts, ask who runs {server}, or have the administrator set another index.",
        retryable=True,
    )


def _how_unreachable(text: str) -> str:
    if status := re.search(r"HTTP status (?:server|client) error \((?P<status>[^)]+)\)", text):
        return f"answers {status['status']}"
    if "dns error" in text or "Could not resolve host" in text:
        return "is not known: its name cannot be looked up"
    if "timed out" in text:
        return "is too slow to answer"
    if "Connection refused" in text:
        return "refuses connections"
    if "decoding response body" in text or "reading a body" in text:
        return "breaks off in the middle of a file"
    return "cannot be reached"


def _project_python(said: _Said) -> Failure | None:
    match = _PROJECT_PYTHON.search(said.flat)
    if match is None:
        return None
    return said.failure(
        FailureCode.PYTHON_MISMATCH,
        "The project is for another Python",
        f"The project needs Python {match['want']}, and {match['have']} is what there is.",
        f"Let requires-python include {match['have']}, or have Python {match['want']} installed.",
    )


def _inconsistent(said: _Said) -> Failure | None:
    wants = re.findall(rf"The package `({_NAME})` requires `([^`]+)`, but ([^\n]+)", said.text)
    if not wants:
        return None
    told = "; ".join(f"`{who}` requires `{what}`, but {why}" for who, what, why in wants[:3])
    return said.failure(
        FailureCode.NO_SOLUTION,
        "The packages of the lock do not go together",
        f"{told.rstrip('.')}.",
        "Make the lock anew with a tool that resolves, such as `uv lock` or `uv pip compile`.",
        about=[name for who, what, _ in wants for name in (who, what)],
    )


def _cannot_be_read(said: _Said) -> Failure | None:
    if not re.search(
        r"Couldn't parse|Error parsing|TOML parse error|Failed to parse|Unsupported requirement"
        r"|failed to read from file|Distribution not found at|Failed to read|Unexpected '",
        said.text,
    ):
        return None
    path = said.definition.path if said.definition else "The definition"
    causes = re.findall(r"^\s*cause: (.+)$", said.text, re.MULTILINE)
    why = ": ".join([said.first_line.rstrip("."), *causes[:1]])
    why = re.sub(r"(?:file://)?/\S*/", "", why)  # of the scratch copy
    return said.failure(
        FailureCode.PARSE_ERROR,
        "The definition cannot be read",
        f"{path} cannot be read: {why}.",
        "Mend that line.",
    )


def _unknown(said: _Said) -> Failure | None:
    if "was not found in the" not in said.flat:
        return None
    names = re.findall(rf"({_NAME}) was not found in the", said.flat)
    if not names:
        return None
    name = names[0]
    hints = [f"Write {near}{said.where([name])}." for near in _near(name)]
    hints.append(f"Look {name} up: it may be spelt otherwise, or be on an index that is not asked.")
    return said.failure(
        FailureCode.UNKNOWN_PACKAGE,
        "A package does not exist",
        f"No index that is asked has a package {name}{said.where([name])}.",
        *hints,
        about=names,
    )


def _near(name: str) -> list[str]:
    normal = canonicalize_name(name)
    if normal in _IMPORTED_AS:
        return [_IMPORTED_AS[normal]]
    return difflib.get_close_matches(normal, sorted(_WELL_KNOWN), n=1, cutoff=0.75)


def _python(said: _Said) -> Failure | None:
    match = _PYTHON.search(said.flat)
    if match is None:
        return None
    name = match["name"] or "A package"
    needs = match["want"].rstrip(",.")
    return said.failure(
        FailureCode.PYTHON_MISMATCH,
        "A package needs another Python",
        f"{name}{said.where([name])} needs Python {needs}, and this environment has"
        f" {match['have']}.",
        f"Ask for Python {needs} in the definition, if it is installed here.",
        f"Or ask for a version of {name} that runs on Python {match['have']}.",
        about=[name],
    )


def _no_wheel(said: _Said) -> Failure | None:
    match = _WHEELS_ELSEWHERE.search(said.flat)
    if match is None:
        return None
    name = next((each for each in match.groups() if each), None) or "A package"
    on = re.search(r"Wheels are available for .*? on the following platforms?: (.+)", said.text)
    tags = re.search(r"we only found wheels for .*", said.text)
    pythons = _pythons(tags[0]) if tags else []
    if on or tags:
        return said.failure(
            FailureCode.NO_WHEEL,
            "A package has no wheel for this machine",
            f"{name}{said.where([name])} has no wheel for this machine: {_wheels(on, tags)}.",
            f"Ask for a version of {name} that has a wheel for this Python and platform.",
            *([f"Or ask for Python {pythons[-1]} in the definition."] if pythons else []),
            about=[name],
        )
    return said.failure(
        FailureCode.NO_WHEEL,
        "A package has no wheel",
        f"{name}{said.where([name])} exists as source only, and building it would run its code.",
        f"Ask for a version of {name} that has a wheel, or for a package that takes its place.",
        f"Or have the administrator add {name} to Element.allowed_builds.",
        about=[name],
        origins=[Origin(kind=OriginKind.SDIST, location=canonicalize_name(name))],
    )


def _wheels(on: re.Match[str] | None, tags: re.Match[str] | None) -> str:
    if on is not None:
        return f"there are wheels for {on[1].rstrip('.')} only"
    said = tags[0].rstrip(".") if tags else ""
    pythons = _pythons(said)
    return f"there are wheels for Python {', '.join(pythons)} only" if pythons else said


def _pythons(tags: str) -> list[str]:
    """Return the versions of Python that wheel tags are for, oldest first."""
    minors = sorted({int(each) for each in re.findall(r"`cp3(\d+)m?`", tags)})
    return [f"3.{minor}" for minor in minors]


def _contradiction(said: _Said) -> Failure | None:
    if "No solution found" not in said.text:
        return None
    wants = [
        (match["who"], match["what"].rstrip(".,"))
        for match in _DEPENDS.finditer(said.flat)
        if not match["who"].endswith("project")
    ]
    # what is named and was written by a person is what can be changed
    named = {canonicalize_name(each) for each in re.findall(_NAME, said.flat)}
    written = [
        each
        for each in (said.definition.requirements if said.definition else ())
        if each.name in named
    ]
    available = _AVAILABLE.search(said.flat)
    parts = [
        f"{who} {'need' if who.startswith('all ') else 'needs'} {what}"
        for who, what in dict.fromkeys(wants)
    ][:3]
    theirs = [f"{each.spec} ({_place(each)})" for each in written]
    if not wants and available is not None and available["what"]:
        summary = (
            f"There is no such version{': ' + ' and '.join(theirs) if theirs else ''}, since only"
            f" {available['what']} is available."
        )
        return said.failure(
            FailureCode.NO_SOLUTION,
            "A version does not exist",
            summary,
            f"Ask for {available['what']}, which exists.",
            about=[each.name for each in written],
        )
    summary = ", ".join(parts) or said.first_line.rstrip(".")
    summary = re.sub(r"^all versions", "All versions", summary)
    if not parts and len(theirs) > 1:
        summary = f"{' and '.join(theirs)} exclude one another"
    elif theirs:
        summary += f"; and the definition asks for {' and '.join(theirs)}"
    hints = []
    for who, what in dict.fromkeys(wants):
        name = canonicalize_name(re.match(_NAME, what)[0])  # type: ignore[index]
        by = re.sub(r"^all versions of ", "", who)
        for each in written:
            if each.name == name and each.spec != what:
                hints.append(
                    f"Change '{each.spec}' in {_place(each)} so that it allows {what}, which {by}"
                    " needs."
                )
                hints.append(f"Or ask for another version of {re.match(_NAME, by)[0]}.")  # type: ignore[index]
    if said.kernel:
        return said.failure(
            FailureCode.NO_SOLUTION,
            "No notebook kernel goes with these packages",
            f"A notebook needs ipykernel, and none fits beside what the definition asks for:"
            f" {summary}.",
            *(hints[:2] or ["Loosen the versions of what ipykernel needs too."]),
            about=[each.name for each in written],
        )
    return said.failure(
        FailureCode.NO_SOLUTION,
        "Requirements contradict each other",
        f"{summary}.",
        *(list(dict.fromkeys(hints))[:4] or ["Loosen one of the versions that are asked for."]),
        about=[each.name for each in written],
    )


_ATTEMPTS: Final[tuple[Callable[[_Said], Failure | None], ...]] = (
    _disk_full,
    _bad_hash,
    _sign_in,
    _unreachable,
    _project_python,
    _unknown,
    _python,
    _no_wheel,
    _contradiction,
    _inconsistent,
    _cannot_be_read,
)
"""In this order: a network that fails looks like packages that do not exist."""
