"""Which environment a notebook of a snapshot has, found out in a child process.

Reading definitions and locking them needs libraries and time that the control plane does not have:
a child does it, and answers with JSON. What it has answered for a snapshot is remembered for a
while, so that starting the same notebook again costs nothing.

A pin names a lock, and the lock is in the blob store from then on: neither the project nor the
store of environments is needed to make the same environment again.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from element_jupyter import config
from element_jupyter.adapters.kernelspecs import program_of
from element_jupyter.core.environments.building import EnvironmentFailed, Failure
from element_jupyter.core.environments.definitions import Found, Pointer
from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.errors import ElementError, Problem
from element_jupyter.core.notebooks import MAX_NOTEBOOK_BYTES, is_ordinary, parse_notebook
from element_jupyter.core.snapshots import Blobs, Manifest, load
from element_jupyter.core.values import Digest, Value
from element_jupyter.platform.children import start_child

REMEMBERED_SECONDS: Final = 600.0
"""How long an answer holds: a Python or an index may be another one later."""
REMEMBERED: Final = 1000
CHILDREN: Final = 4
"""Of many who ask at the same time, so many have a process; the others wait for theirs."""
_BOOT: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from element_jupyter.platform.environments.pins import main; main()"
)


class _Request(Value):
    data_dir: str
    snapshot_id: Digest
    notebooks: dict[str, Pin | None]
    pointer: Pointer | None
    who: str
    build: bool


class _Answer(Value):
    pin: Pin | None = None
    failure: Failure | None = None
    problem: Problem | None = None

    @property
    def result(self) -> Pin | ElementError:
        if self.pin is not None:
            return self.pin
        if self.failure is not None:
            return EnvironmentFailed(self.failure)
        return ElementError.from_problem(self.problem or Problem(code="failed", message=""))


_Signature = tuple[tuple[str, int, int], ...]


class _Answers(Value):
    notebooks: dict[str, _Answer]
    shared: str
    """Directory of the shared definitions, and what it was like."""
    signature: _Signature


@dataclass(frozen=True)
class _Remembered:
    pin: Pin
    at: float
    answers: _Answers

    @property
    def holds(self) -> bool:
        return (
            time.monotonic() - self.at < REMEMBERED_SECONDS
            and _signature(Path(self.answers.shared)) == self.answers.signature
        )


class EnvironmentPins:
    """`Pins` of a deployment; `variables` are those of the child."""

    def __init__(
        self, settings: config.Element, blobs: Blobs, variables: Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._blobs = blobs
        self._variables = variables
        self._known: OrderedDict[tuple[object, ...], _Remembered] = OrderedDict()
        self._children = asyncio.Semaphore(CHILDREN)

    def applies(self, kernel: str) -> bool:
        return is_ordinary(kernel, program_of(kernel) or [])

    async def pin(
        self,
        manifest: Manifest,
        notebooks: Mapping[str, Pin | None],
        pointer: Pointer | None,
        who: str,
        *,
        build: bool,
    ) -> Mapping[str, Pin | ElementError]:
        keys = {
            notebook: (manifest.snapshot_id, notebook, pointer, who, previous, build)
            for notebook, previous in notebooks.items()
        }
        known = await self._known_of(keys)
        if len(known) == len(keys):
            return known
        async with self._children:
            # whoever asked for the same meanwhile may have been answered
            known = await self._known_of(keys)
            unknown = {name: pin for name, pin in notebooks.items() if name not in known}
            if not unknown:
                return known
            answers = await self._ask(
                _Request(
                    data_dir=str(self._settings.data),
                    snapshot_id=manifest.snapshot_id,
                    notebooks=unknown,
                    pointer=pointer,
                    who=who,
                    build=build,
                )
            )
        for notebook, answer in answers.notebooks.items():
            if answer.pin is not None:
                self._remember(keys[notebook], answer.pin, answers)
        return {**known, **{name: each.result for name, each in answers.notebooks.items()}}

    async def _known_of(self, keys: Mapping[str, tuple[object, ...]]) -> dict[str, Pin]:
        """Return what was answered lately and still holds."""
        found = {
            notebook: known.pin
            for notebook, key in keys.items()
            if (known := self._known.get(key)) is not None and known.holds
        }
        locks = {pin.lock_id for pin in found.values()}
        gone = await asyncio.to_thread(self._blobs.missing, locks) if locks else set()
        return {name: pin for name, pin in found.items() if pin.lock_id not in gone}

    def _remember(self, key: tuple[object, ...], pin: Pin, answers: _Answers) -> None:
        others = answers.model_copy(update={"notebooks": {}})
        self._known[key] = _Remembered(pin, time.monotonic(), others)
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def _ask(self, request: _Request) -> _Answers:
        # -P: a module in the directory that we happen to be in is not ours to import
        child = await start_child(
            *(sys.executable, "-P", "-c", _BOOT, str(Path(__file__).parents[3])),
            variables=self._variables,
        )
        try:
            said, _ = await child.communicate(request.model_dump_json().encode())
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode != 0:
            raise ElementError(
                f"The process that locks environments ended with {child.returncode}.",
                "The control plane's log says why.",
            )
        return _Answers.model_validate_json(said)


def _signature(directory: Path) -> _Signature:
    """Return what tells that a shared definition has changed, without reading any."""
    return tuple(_files(directory))


def _files(directory: Path) -> Iterator[tuple[str, int, int]]:
    try:
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            status = entry.stat(follow_symlinks=False)
            yield entry.path, status.st_mtime_ns, status.st_size


# --------------------------------------------------------------------------------------- the child


def main() -> None:
    """Be the child: a request on standard input, the answers on standard output."""
    out = os.fdopen(os.dup(1), "wb")
    # what a library prints must not end up in our answer
    os.dup2(2, 1)
    request = _Request.model_validate_json(sys.stdin.buffer.read())
    out.write(_answers(request).model_dump_json().encode())
    out.flush()


def _answers(request: _Request) -> _Answers:
    from element_jupyter.adapters.blobs import FsspecBlobs
    from element_jupyter.platform.environments.composition import environments
    from element_jupyter.platform.environments.finding import shared_directory
    from element_jupyter.platform.environments.snapshot_files import SnapshotFiles

    settings = config.load(data_dir=request.data_dir)
    shared = shared_directory(settings)
    signature = _signature(shared)  # before it is read
    blobs = FsspecBlobs(settings.blob_url or settings.data / "blobs")
    made = environments(settings)
    assert made is not None  # noqa: S101 - nobody asks where they are switched off
    manifest = load(blobs, request.snapshot_id)
    files = SnapshotFiles(manifest, blobs)
    documents = {each.path: each.digest for each in manifest.entries if each.link is None}
    links = manifest.link_targets()

    def pin(notebook: str, previous: Pin | None) -> Pin:
        with blobs.open(documents[links.get(notebook, notebook)]) as file:
            document = parse_notebook(file.read(MAX_NOTEBOOK_BYTES + 1))
        found = made.find_in(files, notebook, document=document, pointer=request.pointer)
        if (
            previous is not None
            and made.state_of(found).lock_id is None
            and _still_says(previous, found, blobs)
        ):
            # the store has forgotten it; locking anew might take newer versions
            return previous
        locked, content = made.lock(found, _nobody, user=request.who)
        if blobs.missing({locked.lock_id}):
            blobs.put(locked.lock_id, content)
        if request.build and made.ready(found) is None:
            made.start_build(found)
        return Pin(
            environment_id=locked.environment_id,
            lock_id=locked.lock_id,
            definition=found.definition.title,
            python=made.state_of(found).python or "",
        )

    answers: dict[str, _Answer] = {}
    for notebook, previous in request.notebooks.items():
        try:
            answers[notebook] = _Answer(pin=pin(notebook, previous))
        except EnvironmentFailed as error:
            answers[notebook] = _Answer(failure=error.failure)
        except ElementError as error:
            answers[notebook] = _Answer(problem=error.problem)
    return _Answers(notebooks=answers, shared=str(shared), signature=signature)


def _nobody(*_: Any, **__: Any) -> None:
    """Be told how far a lock is, where nobody watches."""


def _still_says(pin: Pin, found: Found, blobs: Blobs) -> bool:
    """Tell whether a definition is the one that a lock was made of."""
    from element_jupyter.adapters.definitions.pylock import meaning_of_lock

    if pin.definition != found.definition.title or blobs.missing({pin.lock_id}):
        return False
    with blobs.open(pin.lock_id) as file:
        content = file.read()
    return meaning_of_lock(content) == found.definition.meaning
