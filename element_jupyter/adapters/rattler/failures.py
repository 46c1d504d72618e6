"""What py-rattler says when it fails, in words of ours.

Its errors are texts: a tree of who needs what, or a chain of causes, one per line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.environments.definitions import Found, Requirement

LONGEST_OUTPUT: Final = 20_000

_TOP: Final = re.compile(
    r"^(?:[├└]─ )?(?P<name>[^\s│├└]+) (?P<spec>.*?),? ?(?:can|cannot) be install"
)
_NEEDS: Final = re.compile(r"^[│\s]*[├└]─ (?P<who>\S+ \S+).* would require$")
_NEEDED: Final = re.compile(
    r"^[│\s]*[├└]─ (?P<need>[^,]+?)(?:, (?:which|for which)| can be| cannot be|$)"
)
_NONE: Final = re.compile(
    r"No candidates were found for (?P<name>\S+) (?P<spec>[^\n]*?)\.?$", re.MULTILINE
)
_MISSING: Final = re.compile(r"[├└]─ (?P<need>[^,\n]+), for which no candidates were found")

_REFUSED: Final = {
    "channel": (
        FailureCode.NEEDS_TRUST,
        "A package names a channel of its own",
        "A dependency in {1} is to come from {0}, which is not among the definition's channels.",
        "Name the channel under `channels:`.",
    ),
    "url": (
        FailureCode.NOT_SUPPORTED,
        "A package is given by its address",
        "{0} in {1} is a file and not a name, so it has no channel that could be trusted.",
        "Name the package, and its channel under `channels:`.",
    ),
    "environment": (
        FailureCode.PARSE_ERROR,
        "The lock has no such environment",
        "{1} has the environments {0}, and another one is asked for.",
        "Ask for one of these as the variant.",
    ),
    "platform": (
        FailureCode.NOT_SUPPORTED,
        "The lock is for other platforms",
        "{1} was made for {0}, and not for this machine.",
        "Add this platform to `platforms`, and lock anew.",
    ),
    "source": (
        FailureCode.NOT_SUPPORTED,
        "A conda package would have to be built",
        "{0} in {1} is source code, and conda packages are not built here.",
        "Take a built package from a channel.",
    ),
    "sha256": (
        FailureCode.NOT_SUPPORTED,
        "A package cannot be verified",
        "The channel tells no sha256 of {0}, so nobody can know whether it is the right file.",
        "Take another version of it, or another channel.",
    ),
    "offline": (
        FailureCode.OFFLINE,
        "Packages are missing, and there is no network",
        "Without a network, only packages that were used before can be had; {0} was not.",
        "Build it once with a network.",
    ),
}
"""What the worker does not use, by the kind that it tells: {0} is what it says, {1} the file."""


def failed(
    code: FailureCode, title: str, summary: str, *hints: str, output: str = "", **more: object
) -> EnvironmentFailed:
    """Return an error that says why there is no environment."""
    return EnvironmentFailed(
        Failure.model_validate(
            {
                "code": code,
                "title": title,
                "summary": summary,
                "hints": hints,
                "tool_output": without_credentials(output)[:LONGEST_OUTPUT],
                **more,
            }
        )
    )


def without_credentials(text: str) -> str:
    """Return a text with user names, passwords and tokens of URLs left out."""
    text = re.sub(r"(?<=://)[^/@\s]+@", "", text)
    return re.sub(r"(?<=/t/)[^/\s]+(?=/)", "…", text)


def explained(kind: str, message: str, found: Found | None) -> EnvironmentFailed:
    """Return what an error of the worker means; `kind` is the name of its class."""
    text = message.strip()
    if kind == "ModuleNotFoundError":
        return not_installed()
    if kind in _REFUSED:
        code, title, summary, hint = _REFUSED[kind]
        where = found.definition.lock_path or found.definition.path if found else "the lock"
        return failed(code, title, summary.format(text, where), hint)
    if kind == "SolverError":
        return _unsolvable(text, found)
    if "No space left on device" in text or "os error 28" in text:
        return failed(
            FailureCode.DISK_FULL,
            "The disk is full",
            "There is no space left for the packages of this environment.",
            "Free some, or run `element env prune`.",
            output=text,
            retryable=True,
        )
    if "hash mismatch" in text or kind == "HashMismatch":
        return _mismatch(text)
    if kind in {"InvalidMatchSpecError", "InvalidVersionSpecError", "InvalidPackageNameError"}:
        return failed(
            FailureCode.PARSE_ERROR,
            "A dependency cannot be read",
            f"Conda cannot read one of the dependencies: {text.splitlines()[0]}.",
            "Write it like `numpy`, `numpy=1.26` or `numpy >=1.26,<2`.",
            output=text,
            culprits=_culprits(found, re.findall(r"'([A-Za-z0-9_.-]+)", text)),
        )
    if (web := _unreachable(text)) is not None:
        return web
    return failed(
        FailureCode.INTERNAL,
        "The environment could not be made",
        f"Conda's tool failed: {text.splitlines()[0] if text else kind}.",
        "Try again; if it lasts, tell your administrator.",
        output=text,
        retryable=True,
    )


def not_installed() -> EnvironmentFailed:
    """Return the failure of a deployment that has no py-rattler."""
    return failed(
        FailureCode.NOT_SUPPORTED,
        "Conda environments are not set up here",
        "This definition needs conda packages, and this deployment has no py-rattler.",
        "Ask your administrator for `pip install 'element-jupyter[conda]'`, or write the packages"
        " into a requirements.txt.",
    )


def crashed(status: int, output: str) -> EnvironmentFailed:
    """Return the failure of a worker that ended without a word; negative is a signal's number."""
    how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return failed(
        FailureCode.INTERNAL,
        "Conda's tool crashed",
        f"The process that handles conda packages {how} before it was done.",
        "Try again; nothing half-built is used.",
        output=output,
        retryable=True,
    )


def _mismatch(text: str) -> EnvironmentFailed:
    package = re.search(r"failed to fetch (\S+)|extracting (\S+)", text)
    name = (
        next((each for each in package.groups() if each), "a package") if package else "a package"
    )
    return failed(
        FailureCode.HASH_MISMATCH,
        "A package is not what the lock says",
        f"The sha256 of {name} differs from the one that it was locked with, so it is not used.",
        "If the channel has replaced the file, lock anew; if not, tell your administrator.",
        output=text,
    )


def _unreachable(text: str) -> EnvironmentFailed | None:
    url = re.search(r"url \((\S+)\)|channel '(\S+)'|repodata cache for (\S+)", text)
    where = without_credentials(next(filter(None, url.groups())) if url else "The channel")
    if re.search(r"\b(401|403|407)\b [A-Z]", text):
        return failed(
            FailureCode.AUTH_REQUIRED,
            "A channel wants to know who asks",
            f"{where} is not open to this user.",
            "Put the credentials into ~/.netrc or rattler's keyring, never into the definition.",
            output=text,
        )
    if "could not find subdir" in text:
        return failed(
            FailureCode.OFFLINE,
            "There is no such channel",
            f"{where} has no packages for this platform.",
            "Look at the channel's name in the definition.",
            output=text,
        )
    if re.search(
        r"HTTP status|error sending request|[Cc]onnect|dns|timed out|repodata cache", text
    ):
        return failed(
            FailureCode.OFFLINE,
            "A channel cannot be reached",
            f"{where} cannot be reached, or answers with an error.",
            "Look at the network, then try again.",
            output=text,
            retryable=True,
        )
    if "failed to fetch" in text:
        file = re.search(r"failed to fetch (\S+)", text)
        return failed(
            FailureCode.OFFLINE,
            "A package cannot be downloaded",
            f"{file[1] if file else 'A package'} could not be downloaded whole, or is damaged.",
            "Try again; if it lasts, the channel's file is damaged.",
            output=text,
            retryable=True,
        )
    return None


# ------------------------------------------------------------------------------------- no solution


def _unsolvable(text: str, found: Found | None) -> EnvironmentFailed:
    tree = text.removeprefix("Cannot solve the request because of:").strip()
    if (nothing := _NONE.search(tree)) is not None and "─" not in tree:
        return _nothing_matches(nothing["name"], nothing["spec"], tree, found)
    tops = [match for line in tree.splitlines() if (match := _TOP.match(line))]
    names = list(dict.fromkeys(match["name"] for match in tops))
    asked = [f"{match['name']} {match['spec']}".removesuffix(" *").strip() for match in tops]
    missing = [match["need"].strip() for match in _MISSING.finditer(tree)]
    lacking = next((need for need in missing if need.startswith("__")), None)
    if lacking is not None:
        return _machine_lacks(lacking, tree, _culprits(found, names))
    # rattler leaves out what a requirement of the definition forbids, and does not say so
    contrary = _culprits(found, [need.split()[0] for need in missing])
    contrary = tuple(each for each in contrary if each.name not in names)
    culprits = (*_culprits(found, names), *contrary)
    python = next((need for need in missing if need.split()[0] == "python"), None)
    if python is not None and len(names) <= 1:
        said = next((each.spec for each in contrary if each.name == "python"), None)
        but = f"{contrary[0].file} asks for {said}" if said else "the channels have no such Python"
        return failed(
            FailureCode.PYTHON_MISMATCH,
            "A package does not exist for this Python",
            f"{asked[0] if asked else 'A package'} needs {python}, and {but}.",
            "Ask for another version of the package, or of Python.",
            output=tree,
            culprits=culprits,
        )
    reasons = [*_wants(tree), *(f"{each.file} asks for {each.spec}" for each in contrary)]
    together = " together" if len(asked) > 1 else ""
    involved = [*names, *(each.name for each in contrary)]
    return failed(
        FailureCode.NO_SOLUTION,
        "Two requirements contradict each other" if len(involved) > 1 else "There is no solution",
        f"{_listed(asked) or 'What is asked for'} cannot be installed{together}"
        + (f": {'; '.join(reasons)}." if reasons else "."),
        *([f"Ask for other versions of {_listed(involved)}, or leave one out."] if names else []),
        output=tree,
        culprits=culprits,
    )


def _machine_lacks(
    need: str, tree: str, culprits: tuple[Requirement, ...] = ()
) -> EnvironmentFailed:
    what = {"__cuda": "an NVIDIA driver for CUDA", "__glibc": "glibc"}.get(
        need.partition(" ")[0], ""
    )
    called = f" ({what})" if what else ""
    return failed(
        FailureCode.NOT_SUPPORTED,
        "This machine lacks what a package needs",
        f"A package needs {need}{called}, which the machine that locks it does not have.",
        "Ask for a version of the package that does without.",
        output=tree,
        culprits=culprits,
    )


def _nothing_matches(name: str, spec: str, tree: str, found: Found | None) -> EnvironmentFailed:
    culprits = _culprits(found, [name])
    if name == "python":
        return failed(
            FailureCode.PYTHON_MISMATCH,
            "There is no such Python",
            f"The channels have no Python {spec}.",
            "Ask for another version of Python.",
            output=tree,
            culprits=culprits,
        )
    if name.startswith("__"):
        return _machine_lacks(f"{name} {spec}", tree)
    if spec.strip() in {"", "*"}:
        return failed(
            FailureCode.UNKNOWN_PACKAGE,
            "A package does not exist",
            f"The channels have no package {name} for this platform.",
            "Look at its spelling; a package that is on PyPI only belongs into the `pip:` section.",
            output=tree,
            culprits=culprits,
        )
    return failed(
        FailureCode.NO_SOLUTION,
        "No version fits",
        f"The channels have no {name} that is {spec}.",
        f"Ask for another version of {name}.",
        output=tree,
        culprits=culprits,
    )


def _wants(tree: str) -> list[str]:
    """Return `gadget 1.0 needs toolbox 2.*` of pairs of lines that say so; one of each two names.

    The newest version of a package comes first.
    """
    lines = tree.splitlines()
    said: dict[tuple[str, str], str] = {}
    for line, following in pairwise(lines):
        if (who := _NEEDS.match(line)) and (what := _NEEDED.match(following)):
            need = what["need"].strip()
            names = (who["who"].split()[0], need.split()[0])
            said.setdefault(names, f"{who['who']} needs {need}")
    return list(said.values())[:4]


def _listed(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


def _culprits(found: Found | None, names: Iterable[str]) -> tuple[Requirement, ...]:
    wanted = {re.sub(r"[-_.]+", "-", name).lower() for name in names}
    known = found.definition.requirements if found else ()
    return tuple(each for each in known if each.name in wanted)
