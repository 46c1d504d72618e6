"""Making environments: lock, select, install, check, publish. In the process that does it."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from element_jupyter import config
from element_jupyter.core.environments.building import (
    EnvironmentFailed,
    Locked,
    Phase,
    Rules,
    Tell,
)
from element_jupyter.core.environments.definitions import Found
from element_jupyter.core.environments.identity import (
    Artefact,
    Backend,
    Interpreter,
    environment_id,
    lock_id,
)
from element_jupyter.core.environments.keeping import Manifest, Pin
from element_jupyter.platform.data import write_private
from element_jupyter.platform.environments.engines import (
    backend_of,
    cache,
    conda_platform,
    engine,
    smoke,
)
from element_jupyter.platform.environments.lookup import Lookup, Target, writing
from element_jupyter.platform.environments.refusals import (
    HAS_CREDENTIALS,
    another_lock,
    another_platform,
    vanished,
)
from element_jupyter.platform.environments.rules import may_use, rules

_CREDENTIALS: Final = re.compile(rb"://(?!git@)[^/\s\"'@]*@")
"""A user in a URL; `git+ssh://git@…` names nobody."""


class Maker:
    """Locks definitions and makes environments, with the tools and the rules of a deployment."""

    def __init__(self, settings: config.Element, variables: Mapping[str, str]) -> None:
        self._settings = settings
        self._variables = variables
        self.lookup = Lookup(settings)

    # -------------------------------------------------------------------------------------- locking

    def lock(self, found: Found, tell: Tell, *, upgrade: bool = False) -> tuple[Locked, bytes]:
        """Lock a definition, or remember how it was locked before.

        Raises:
            EnvironmentFailed: it cannot be locked, and why.
        """
        target = self.lookup.target(found.definition, self._variables)
        remembered = None if upgrade else self._remembered(target, found)
        if remembered is not None:
            return remembered
        store = self.lookup.store
        with (
            writing(self._settings.store),
            store.building(target.key, lambda: tell(Phase.WAITING)),
        ):
            remembered = None if upgrade else self._remembered(target, found)
            if remembered is not None:
                return remembered
            previous = self._previous(found, target)
            kept = previous.read_text() if previous.exists() else ""
            content = self.resolve(
                found,
                tell,
                previous=store.lock_content(kept) if kept else None,
                upgrade=upgrade,
            )
            kept = store.keep_lock(content)
            artefacts = engine(target.backend).artefacts(content, target.interpreter)
            made = environment_id(target.backend, target.platform, artefacts, target.interpreter)
            store.remember(target.key, made, kept)
            write_private(previous, kept)
        return Locked(definition=found.definition, environment_id=made, lock_id=kept), content

    def _remembered(self, target: Target, found: Found) -> tuple[Locked, bytes] | None:
        indexed = self.lookup.store.indexed(target.key)
        content = self.lookup.store.lock_content(indexed.lock_id) if indexed else None
        if indexed is None or content is None:
            return None
        try:
            artefacts = engine(target.backend).artefacts(content, target.interpreter)
        except EnvironmentFailed:
            return None  # of an earlier version of Element
        if not may_use(self._settings, found, artefacts):
            return None
        locked = Locked(
            definition=found.definition,
            environment_id=indexed.environment_id,
            lock_id=indexed.lock_id,
        )
        return locked, content

    def resolve(
        self,
        found: Found,
        tell: Tell,
        *,
        previous: bytes | None,
        upgrade: bool = False,
        scratch: Path | None = None,
    ) -> bytes:
        """Lock a definition now, whatever is remembered; remember nothing.

        What the locker has worked with is left in `scratch`, if given.

        Raises:
            EnvironmentFailed: it cannot be locked, and why.
        """
        target = self.lookup.target(found.definition, self._variables)
        with self.lookup.store.workspace() as workspace:
            lock = engine(target.backend).lock(
                found,
                target.interpreter,
                self.rules(found),
                tell,
                previous=previous,
                upgrade=upgrade,
                scratch=scratch or workspace,
            )
        if _CREDENTIALS.search(lock.content):
            raise EnvironmentFailed(HAS_CREDENTIALS)
        return lock.content

    def _previous(self, found: Found, target: Target) -> Path:
        """Return where the last lock of this definition, whatever it said then, is remembered."""
        definition = found.definition
        place = [str(found.root or ""), definition.path, definition.variant, target.platform]
        directory = self._settings.store / "previous"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return directory / hashlib.sha256(json.dumps(place).encode()).hexdigest()

    # --------------------------------------------------------------------------------------- making

    def make(
        self,
        found: Found,
        tell: Tell,
        *,
        upgrade: bool = False,
        resolved: Callable[[str, str], None] = lambda *_: None,
    ) -> Manifest:
        """Return the environment of a definition, made if it is not there.

        `resolved` is told its id and the lock's as soon as they are known.

        Raises:
            EnvironmentFailed: it cannot be made, and why.
        """
        locked, content = self.lock(found, tell, upgrade=upgrade)
        resolved(locked.environment_id, locked.lock_id)
        target = self.lookup.target(found.definition, self._variables)
        return self._install(
            Pin(
                environment_id=locked.environment_id,
                lock_id=locked.lock_id,
                definition=found.definition.title,
            ),
            content,
            target.interpreter,
            self.rules(found),
            tell,
        )

    def make_locked(self, pin: Pin, content: bytes, tell: Tell) -> Manifest:
        """Return the environment of a pin, made from its lock if it is not there.

        Raises:
            EnvironmentFailed: it cannot be made, or the lock gives another environment here.
        """
        store = self.lookup.store
        if (kept := store.get(pin.environment_id)) is not None:
            return kept[0]
        check_lock(pin, content)
        interpreter = self._interpreter(pin, content)
        allowed = rules(self._settings, self._variables)
        return self._install(pin, content, interpreter, allowed, tell)

    def rules(self, found: Found) -> Rules:
        return rules(self._settings, self._variables, project=found.root)

    def _interpreter(self, pin: Pin, content: bytes) -> Interpreter | None:
        """Return the interpreter with which a lock makes the environment of its pin."""
        backend = backend_of(pin)
        tool = engine(backend)
        if backend is Backend.RATTLER:
            platform = conda_platform()
            if environment_id(backend, platform, tool.artefacts(content, None), None) == (
                pin.environment_id
            ):
                return None
            raise EnvironmentFailed(another_platform(pin, f"this machine is {platform}"))
        interpreters = self.lookup.interpreters(self._variables)
        wanted = f"=={pin.python}" if pin.python else ""
        chosen = interpreters.choose(wanted, self._settings.python)
        # the usual one first: the others need not be looked for then
        for each in itertools.chain((chosen,), _lazily(interpreters.known)):
            if pin.python and each.version != pin.python:
                continue
            artefacts = tool.artefacts(content, each)
            if environment_id(backend, each.platform, artefacts, each) == pin.environment_id:
                return each
        here = f"Python {chosen.version} here is another build, or for {chosen.platform}"
        raise EnvironmentFailed(another_platform(pin, here))

    def _install(
        self,
        pin: Pin,
        content: bytes,
        interpreter: Interpreter | None,
        allowed: Rules,
        tell: Tell,
    ) -> Manifest:
        store = self.lookup.store
        backend = backend_of(pin)
        tool = engine(backend)
        began = time.monotonic()
        with store.building(pin.environment_id, lambda: tell(Phase.WAITING)):
            if (kept := store.get(pin.environment_id)) is not None:
                return kept[0]
            artefacts = tool.artefacts(content, interpreter)

            def install(prefix: Path, final: Path) -> None:
                tool.install(
                    content,
                    interpreter,
                    allowed,
                    tell,
                    prefix=prefix,
                    final=final,
                    cache=cache(self._settings.store, backend),
                )

            def check(prefix: Path) -> None:
                tell(Phase.CHECKING, len(artefacts), len(artefacts))
                where = {"prefix": prefix, "cache": cache(self._settings.store, backend)}
                with ThreadPoolExecutor(1) as beside:
                    checking = beside.submit(tool.check, content, interpreter, allowed, **where)
                    smoke(prefix, self._variables)
                    checking.result()
                # only now is known how long it took
                took = {"build_seconds": time.monotonic() - began, "built_at": datetime.now(UTC)}
                written = manifest.model_copy(update=took).model_dump_json()
                write_private(prefix / ".element" / "manifest.json", written)

            python = interpreter.version if interpreter else _python_among(artefacts)
            manifest = Manifest(
                environment_id=pin.environment_id,
                backend=backend,
                lock_id=pin.lock_id,
                definition=pin.definition,
                python=python,
                platform=interpreter.platform if interpreter else conda_platform(),
                interpreter=interpreter,
                packages=artefacts,
                built_at=datetime.now(UTC),
                build_seconds=0,
            )
            store.publish(manifest, content, install, check)
            kept = store.get(pin.environment_id)
        if kept is None:
            raise EnvironmentFailed(vanished(pin))
        return kept[0]


def _lazily(known: Callable[[], Iterable[Interpreter]]) -> Iterator[Interpreter]:
    yield from known()


def check_lock(pin: Pin, content: bytes) -> None:
    """Return when this is the lock of a pin.

    Raises:
        EnvironmentFailed: it is another, or damaged.
    """
    if lock_id(content) != pin.lock_id:
        raise EnvironmentFailed(another_lock(pin))


def _python_among(artefacts: tuple[Artefact, ...]) -> str:
    return next((each.version for each in artefacts if each.name == "python"), "")
