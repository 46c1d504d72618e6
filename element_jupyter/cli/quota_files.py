"""`quotas.yaml` as text: read with what is wrong in it, and written as people write it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from element_jupyter.core.errors import Invalid, NotFound
from element_jupyter.core.quotas.policies import plain
from element_jupyter.core.quotas.rules import Quotas
from element_jupyter.core.validation import explain

_BYTES: Final = {"memory_bytes", "storage_bytes"}


def read(path: Path) -> Quotas:
    """Read what a file says; `-` is standard input.

    Raises:
        NotFound: there is no such file.
        Invalid: it is no `quotas.yaml`; names the field.
    """
    name = str(path)
    try:
        content = sys.stdin.buffer.read() if name == "-" else path.read_bytes()
        said = yaml.safe_load(content)
    except FileNotFoundError:
        raise NotFound(f"There is no file '{name}'.", "Check the path.") from None
    except OSError as error:
        raise Invalid(f"'{name}' cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"{name} is not readable as YAML: {error}") from error
    try:
        return Quotas.model_validate({} if said is None else said)
    except ValidationError as error:
        found = explain(error, said, Quotas.model_json_schema())
        raise Invalid(f"{name}: {found.message}", found.hint, field=found.field) from None


def written(quotas: Quotas) -> str:
    """Return the quotas as the text of a file, which means the same when it is read."""
    text: str = yaml.safe_dump(
        _shortened(plain(quotas)),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=100,
    )
    return text


def _shortened(said: Any, name: str = "") -> Any:
    match said:
        case dict():
            return {key: _shortened(value, key) for key, value in said.items()}
        case list():
            return [_shortened(each) for each in said]
        case int() if name in _BYTES and said:
            for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20)):
                if said % size == 0:
                    return f"{said // size} {unit}"
            return said
        case float() if said.is_integer():
            return int(said)
        case _:
            return said
