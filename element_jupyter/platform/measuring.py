"""`python -m element_jupyter.platform.measuring --data DIR`: measure what is kept, once, as root.

The control plane says what is wanted and takes what is found; it may not look into people's homes
itself. `keep_measuring` is how `element up` has it done again and again, by a process of its own
that gives way to all others.
"""

from __future__ import annotations

import argparse
import asyncio
import grp
import logging
import pwd
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import httpx
from pydantic import ValidationError

from element_jupyter import config
from element_jupyter.adapters.accounts import account_name
from element_jupyter.adapters.disk_usage import disk_usage, give_way
from element_jupyter.core.storage import Kept, KeptByRun, Measured, Place, ToMeasure
from element_jupyter.core.team_servers import account_of
from element_jupyter.core.values import slug
from element_jupyter.platform.data import Data
from element_jupyter.platform.hub.setup import Secret, read_setup
from element_jupyter.platform.processes import execute

log = logging.getLogger("element.storage")

LOOK_SECONDS: Final = 60.0
"""How often the control plane is asked what is wanted."""
_TOLD_TOGETHER: Final = 500
_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)


class _Target(NamedTuple):
    """A directory to measure, and whose it is."""

    path: Path
    place: Place
    person: str | None = None
    team: str | None = None
    run_id: str | None = None


async def keep_measuring(data: Data, http: httpx.AsyncClient, service_url: str) -> None:
    """Have what is wanted be measured, again and again; ends what measures when it is cancelled."""
    url = f"{service_url}/api/v1/storage/to-measure"
    headers = {"Authorization": f"Bearer {Secret.HUB.of(data)}"}
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            answer = await http.get(url, headers=headers)
            answer.raise_for_status()
            wanted = ToMeasure.model_validate_json(answer.content)
        except (httpx.HTTPError, ValidationError) as error:
            log.warning("what is to be measured cannot be asked: %s", error)
            continue
        if wanted == ToMeasure(everybody=False):
            continue
        process = execute(data, "storage", __name__, ["--data", str(data.root)], {})
        try:
            await process.wait()
        finally:
            process.signal(signal.SIGKILL)


def measure(settings: config.Element, http: httpx.Client) -> int:
    """Measure what the control plane wants measured, and tell it; returns how many directories.

    Raises:
        httpx.HTTPError: it does not answer, or refuses.
    """
    answer = http.get("/storage/to-measure").raise_for_status()
    wanted = ToMeasure.model_validate_json(answer.content)
    targets = list(_targets(settings, wanted))
    if not targets and not wanted.everybody and not wanted.persons and not wanted.teams:
        return 0
    log.info("%d directories are measured", len(targets))
    began_at = datetime.now(UTC)
    done = 0

    def tell(found: Sequence[tuple[_Target, Kept | KeptByRun]], *, ended: bool = False) -> None:
        part = Measured(
            began_at=began_at,
            whole=wanted.everybody,
            persons=wanted.persons,
            teams=wanted.teams,
            done=done,
            of=len(targets),
            kept=tuple(each for _, each in found if isinstance(each, Kept)),
            runs=tuple(each for _, each in found if isinstance(each, KeptByRun)),
            ended=ended,
        )
        body = part.model_dump_json()
        headers = {"Content-Type": "application/json"}
        http.post("/storage/measured", content=body, headers=headers).raise_for_status()

    tell(())
    for first in range(0, len(targets), _TOLD_TOGETHER):
        several = targets[first : first + _TOLD_TOGETHER]
        found = [(each, kept) for each in several if (kept := _measured(each)) is not None]
        done += len(several)
        tell(found)
    tell((), ended=True)
    return done


def _measured(target: _Target) -> Kept | KeptByRun | None:
    try:
        used_bytes, files, left_out = disk_usage(target.path)
    except OSError as error:
        log.info("%s is not measured: %s", target.path, error.strerror)
        if target.place is Place.SHARED:  # elsewhere than on this machine
            return Kept(place=target.place, used_bytes=0, files=0)
        return None
    if left_out:
        log.warning("%s: %d directories in it cannot be measured", target.path, left_out)
    if target.run_id is not None:
        return KeptByRun(run_id=target.run_id, used_bytes=used_bytes, files=files)
    return Kept(
        place=target.place,
        person=target.person,
        team=target.team,
        used_bytes=used_bytes,
        files=files,
    )


def _targets(settings: config.Element, wanted: ToMeasure) -> Iterator[_Target]:
    """Yield what is to be measured; what is nobody's own comes last, and says that all is done."""
    data = Data(settings.data)
    everybody = wanted.everybody
    for account in _people(settings.accounts_group):
        name = account.pw_name
        if slug(name, "") == name and (everybody or name in wanted.persons):
            yield _Target(Path(account.pw_dir), Place.HOME, person=name, team=name)
    for team in _names(Path(settings.teams_dir)):
        if everybody or team in wanted.teams:
            yield _Target(Path(settings.teams_dir) / team, Place.TEAM, team=team)
            with suppress(KeyError):
                home = pwd.getpwnam(account_name(account_of(team))).pw_dir
                yield _Target(Path(home), Place.HOME, team=team)
    runs = settings.data / "runs"
    for run_id in _names(runs) if everybody else wanted.runs:
        if slug(run_id, "") == run_id:
            yield _Target(runs / run_id, Place.RUNS, run_id=run_id)
    blobs = data.root / "blobs"
    if everybody:
        yield _Target(blobs, Place.SHARED)


def _people(group: str) -> Iterator[pwd.struct_passwd]:
    """Yield the accounts of people, without those of teams."""
    try:
        found = grp.getgrnam(group)
    except KeyError:
        return
    teams = account_of("")
    for account in pwd.getpwall():
        belongs = account.pw_name in found.gr_mem or account.pw_gid == found.gr_gid
        if belongs and not account.pw_name.startswith(teams):
            yield account


def _names(directory: Path) -> list[str]:
    try:
        return sorted(each.name for each in directory.iterdir() if slug(each.name, "") == each.name)
    except OSError:
        return []


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is wanted, and end; returns the exit code."""
    parser = argparse.ArgumentParser(prog="element-storage", description="Measure what is kept.")
    parser.add_argument("--data", required=True, help="the data directory")
    given = parser.parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = config.load(data_dir=given.data)
    data = Data(settings.data)
    url = f"{read_setup(data).service_url}/api/v1"
    headers = {"Authorization": f"Bearer {Secret.HUB.of(data)}"}
    give_way()
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT, trust_env=False) as http:
            measure(settings, http)
    except httpx.HTTPError as error:
        log.warning("what is kept was not measured: %s", error)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
