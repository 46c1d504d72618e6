"""What `environment.yml` asks for, as specifications that the solver understands.

Unknown keys have been refused when the definition was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from element_jupyter.adapters.rattler.channels import channel_url
from element_jupyter.adapters.rattler.failures import failed
from element_jupyter.core.environments.building import FailureCode, Rules
from element_jupyter.core.environments.definitions import Found


@dataclass(frozen=True)
class Asked:
    """What an environment is made of, before it is solved."""

    channels: tuple[str, ...]
    """URLs, the most important one first."""
    specs: tuple[str, ...]
    pip: tuple[str, ...]
    """Lines of the `pip:` section."""

    @property
    def pip_names(self) -> frozenset[str]:
        names = (re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", line) for line in self.pip)
        return frozenset(canonicalize_name(match[1]) for match in names if match)


def read_environment_file(found: Found, rules: Rules) -> Asked:
    """Read an `environment.yml`; without channels of its own it uses the deployment's.

    Raises:
        EnvironmentFailed: it cannot be read, or names something that cannot be verified.
    """
    entry = found.definition.entry
    try:
        document: Any = yaml.safe_load(found.contents[entry].decode("utf-8-sig"))
        dependencies = list((document or {}).get("dependencies") or ())
        named = [str(each) for each in (document or {}).get("channels") or ()]
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError) as error:
        raise failed(
            FailureCode.PARSE_ERROR,
            "The definition cannot be read",
            f"{found.definition.path} is no list of conda packages.",
            output=str(error),
        ) from error
    wanted = [each for each in named if each != "nodefaults"] or list(rules.channels)
    channels = [channel_url(each, rules) for each in wanted]
    specs = []
    for each in dependencies:
        if isinstance(each, str):
            spec, channel = _spec(each, found, rules)
            specs.append(spec)
            channels += [channel] if channel else []
    if not any(_name(spec) == "python" for spec in specs):
        specs.append(f"python {_conda_version(found.definition.python)}".strip())
    return Asked(tuple(dict.fromkeys(channels)), tuple(specs), tuple(_pip_lines(dependencies)))


def _pip_lines(dependencies: Iterable[Any]) -> Iterator[str]:
    for each in dependencies:
        if isinstance(each, dict):
            yield from (str(line) for line in each.get("pip") or ())


def _name(spec: str) -> str:
    found = re.match(r"[A-Za-z0-9_.-]+", spec.rpartition("::")[2].strip())
    return found[0].lower() if found else ""


def _spec(text: str, found: Found, rules: Rules) -> tuple[str, str | None]:
    """Return a specification, with its channel as a URL, and that channel."""
    before, colons, after = text.rpartition("::")
    if re.match(r"\s*(?:[a-z+]+://|[./~])", after) or re.search(r"\[.*\burl\s*=", after):
        raise failed(
            FailureCode.NOT_SUPPORTED,
            "A package is given by its address",
            f"{text.strip()} in {found.definition.path} is a file and not a name, so it has no"
            " channel that could be trusted.",
            "Name the package, and its channel under `channels:`.",
        )
    if not colons:
        return after.strip(), None
    # a platform may follow the channel: `conda-forge/linux-64::numpy`
    channel = channel_url(re.sub(r"/(?:noarch|[a-z]+-[0-9a-z]+)$", "", before.strip()), rules)
    return f"{channel}::{after.strip()}", channel


def _conda_version(specifiers: str) -> str:
    """Return PEP 440 specifiers as conda writes them; they agree but for `==3.11.*`."""
    parts = [str(each) for each in SpecifierSet(specifiers)]
    return ",".join(sorted(re.sub(r"^={2,3}(?=.*\*$)", "", part) for part in parts))
