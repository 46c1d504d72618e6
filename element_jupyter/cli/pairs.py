"""Options of two words (`-p NAME VALUE`), which typer cannot repeat.

On the way in, the two words become one, `NAME=VALUE`, which may be written too: a name never holds
`=`. For the command they become two again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, get_args, get_type_hints

import typer

from element_jupyter.core.errors import Invalid

PAIR_OPTIONS: Final = ("-p", "--parameter")
_PAIRS: Final = list[tuple[str, str]] | None


def joined(words: Sequence[str]) -> list[str]:
    """Join the two words after each such option."""
    found: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        found.append(word)
        if word == "--":
            return found + rest
        if word in PAIR_OPTIONS and rest and "=" not in rest[0]:
            name = rest.pop(0)
            if not rest:
                raise Invalid(
                    f"Option {word} '{name}' lacks the value.", f"Write {word} NAME VALUE."
                )
            found.append(f"{name}={rest.pop(0)}")
    return found


def adapted(code: Any) -> Any:
    """Return a command, or a group of them, that typer understands."""
    if isinstance(code, typer.Typer):
        for each in code.registered_commands:
            if each.callback is not None:
                each.callback = _adapted(each.callback)
        return code
    return _adapted(code)


def _adapted(command: Callable[..., None]) -> Callable[..., None]:
    hints = get_type_hints(command, include_extras=True)
    names = [name for name, hint in hints.items() if get_args(hint)[:1] == (_PAIRS,)]
    if not names:
        return command

    @functools.wraps(command)
    def call(**given: Any) -> None:
        for name in names:
            if given.get(name) is not None:
                given[name] = [_split(text) for text in given[name]]
        command(**given)

    for name in names:
        hints[name] = Annotated[list[str] | None, *get_args(hints[name])[1:]]
    signature = inspect.signature(command)
    call.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[
            parameter.replace(annotation=hints[parameter.name])
            for parameter in signature.parameters.values()
        ]
    )
    call.__annotations__ = hints
    return call


def _split(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise Invalid(f"Option -p '{name}' lacks the value.", "Write -p NAME VALUE.")
    return name, value
