"""Jobs as files: whole whatever dies, people's edits taken in, strangers' YAML held off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from element_jupyter.adapters.job_files.job_yaml import JobYaml, read_yaml
from element_jupyter.adapters.job_files.store import FileJobs
from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.errors import Conflict, Invalid, Unavailable
from element_jupyter.core.job_files import FileInvalid, Metadata
from element_jupyter.core.jobs import Job, StoredJob
from element_jupyter.core.schedules import Cron

NOW = datetime(2026, 11, 20, 6, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


def a_job(name: str = "sales", **said) -> Job:
    return Job.model_validate(
        {
            "team": "ada",
            "name": name,
            "owner": "ada",
            "snapshot_id": "0" * 64,
            "tasks": [{"notebook": "sales.ipynb"}],
        }
        | said
    )


def opened(root: Path, **options) -> FileJobs:
    jobs = FileJobs(root, JobYaml(), **options)
    jobs.load()
    return jobs


def sales(jobs: FileJobs, version: int | None = None) -> StoredJob:
    stored = jobs.get("ada", "sales", version)
    assert stored is not None
    return stored


async def put(jobs: FileJobs, job: Job, **options):
    return await jobs.put(job, saved_by="ada", now=options.pop("now", NOW), **options)


@asynccontextmanager
async def watched(jobs: FileJobs):
    task = asyncio.create_task(jobs.watch())
    await asyncio.sleep(0.5)  # until the watch is set; a change before that is found by the rescan
    yield
    task.cancel()
    await asyncio.wait([task])


# --------------------------------------------------------------------------------------- the store


async def test_a_store_that_is_opened_again_knows_all_and_tells_the_same_sequence(tmp_path):
    jobs = opened(tmp_path)
    for number in range(5):
        await put(jobs, a_job(f"job-{number}"))
    await put(jobs, a_job("job-1", title="x"))
    await jobs.delete("ada", "job-2")
    before = await jobs.changes(0)
    again = opened(tmp_path)
    assert await again.changes(0) == before
    assert [change.sequence for change in before] == [1, 4, 5, 6, 7]
    assert again.ids() == jobs.ids() == ("ada/job-0", "ada/job-1", "ada/job-3", "ada/job-4")
    assert again.stored() == jobs.stored()
    assert await again.versions("ada", "job-1") == await jobs.versions("ada", "job-1")


async def test_sequences_only_grow_and_a_reader_from_the_future_is_told_all_anew(tmp_path):
    jobs = opened(tmp_path)
    await put(jobs, a_job())
    (tmp_path / ".changes.jsonl").unlink()
    again = opened(tmp_path)
    assert [change.sequence for change in await again.changes(50)] == [1]
    await put(again, a_job(title="x"))
    assert [change.sequence for change in await again.changes(1)] == [2]


async def test_half_a_line_in_the_feed_is_mended(tmp_path):
    jobs = opened(tmp_path)
    await put(jobs, a_job())
    with (tmp_path / ".changes.jsonl").open("a") as file:
        file.write('{"sequence":2,"jo')
    again = opened(tmp_path)
    await put(again, a_job("other"))
    assert await opened(tmp_path).changes(0) == await again.changes(0)


async def test_a_feed_of_many_past_changes_is_written_anew_with_the_same_numbers(tmp_path):
    jobs = opened(tmp_path)
    await put(jobs, a_job())
    lines = (tmp_path / ".changes.jsonl").read_text()
    (tmp_path / ".changes.jsonl").write_text(lines * 2000)
    await put(jobs, a_job("other"))
    again = opened(tmp_path)
    assert [change.sequence for change in await again.changes(0)] == [1, 2]
    assert len((tmp_path / ".changes.jsonl").read_text().splitlines()) == 2


async def test_files_are_private_and_names_cannot_lead_out(tmp_path):
    jobs = opened(tmp_path)
    await put(jobs, a_job())
    for path in tmp_path.rglob("*.yaml"):
        assert path.stat().st_mode & 0o077 == 0
    for team, name in (("..", "x"), ("a", "../b"), ("a/b", "c"), ("", "")):
        with pytest.raises(Invalid):
            await jobs.delete(team, name)
        assert jobs.get(team, name, 3) is None


async def test_a_disk_that_cannot_be_written_is_told_and_the_old_job_stays(tmp_path):
    jobs = opened(tmp_path)
    await put(jobs, a_job())
    versions = tmp_path / "ada/sales/versions"
    versions.rename(tmp_path / "aside")
    versions.write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be written"):
        await put(jobs, a_job(title="x"))
    assert sales(jobs).job.title == ""
    versions.unlink()
    assert (await put(jobs, a_job(title="x"))).stored.version == 2


def test_a_kill_at_any_moment_loses_no_job_and_leaves_no_half_file(tmp_path):
    root, told = tmp_path / "jobs", tmp_path / "told"
    killer = subprocess.Popen(
        [sys.executable, __file__, str(root), str(told)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert killer.stdin is not None
    assert killer.stdout is not None
    for _ in range(20):
        assert killer.stdout.readline() == "killed\n"
        _check_whole(root, told)
        killer.stdin.write("go on\n")
        killer.stdin.flush()
    killer.communicate()
    assert len(told.read_text().splitlines()) > 20


def _check_whole(root: Path, told: Path) -> None:
    jobs = opened(root)
    assert jobs.errors() == []
    assert not list(root.rglob(".element-*"))
    for line in told.read_text().splitlines():
        name, version = line.split()
        stored = jobs.get("ada", name)
        assert stored is not None
        assert stored.version >= int(version)
        assert stored.saved_by == "ada"
        assert jobs.get("ada", name, int(version)) is not None
    changes = asyncio.run(jobs.changes(0))
    assert {change.name for change in changes} == {job.partition("/")[2] for job in jobs.ids()}
    assert len({change.sequence for change in changes}) == len(changes)


# ------------------------------------------------------------------------------------ people's edits


async def test_what_was_edited_while_nobody_looked_is_a_version_when_somebody_does(tmp_path):
    jobs = opened(tmp_path)
    await put(jobs, a_job(schedule={"kind": "cron", "expression": "daily"}))
    path = tmp_path / "ada/sales/job.yaml"
    path.write_text(path.read_text().replace("daily", "weekly"))
    later = NOW + timedelta(days=1)
    again = opened(tmp_path, now=lambda: later)
    stored = sales(again)
    assert (stored.version, stored.saved_by, stored.scheduled_since) == (2, "edited by hand", later)
    assert sales(again, 1).job.schedule == Cron(expression="daily")
    assert sales(opened(tmp_path)) == stored


async def test_a_file_that_was_put_back_is_a_new_version_not_an_old_one(tmp_path):
    jobs = opened(tmp_path)
    await put(jobs, a_job())
    path = tmp_path / "ada/sales/job.yaml"
    old = path.read_text()
    await put(jobs, a_job(title="x"))
    path.write_text(old)
    stored = sales(opened(tmp_path))
    assert (stored.version, stored.job.title) == (3, "")


async def test_only_a_comment_is_no_version_and_is_kept(tmp_path):
    jobs = opened(tmp_path)
    await put(jobs, a_job())
    path = tmp_path / "ada/sales/job.yaml"
    path.write_text("# why\n" + path.read_text())
    again = opened(tmp_path)
    assert sales(again).version == 1
    assert [change.sequence for change in await again.changes(0)] == [1]
    path.write_text(path.read_text().replace("owner: ada", "owner: bob  # new"))
    assert sales(opened(tmp_path)).version == 2
    assert "# why" in path.read_text()
    assert "owner: bob  # new" in path.read_text()


async def test_a_save_does_not_wipe_out_an_edit_that_it_has_not_seen(tmp_path):
    jobs = opened(tmp_path)
    await put(jobs, a_job())
    path = tmp_path / "ada/sales/job.yaml"
    path.write_text(path.read_text() + "description: by hand\n")
    with pytest.raises(Conflict):
        await put(jobs, a_job(title="x"), expected_version=1)
    assert sales(jobs).job.description == "by hand"
    assert (await put(jobs, a_job(title="x"))).stored.version == 3
    assert sales(jobs, 2).job.description == "by hand"


async def test_jobs_come_and_go_with_their_directories(tmp_path):
    jobs = opened(tmp_path)
    await put(jobs, a_job())
    async with watched(jobs):
        directory = tmp_path / "ops/nightly"
        directory.mkdir(parents=True)
        text = JobYaml().write(a_job("nightly", team="ops"))
        (directory / "job.yaml").write_text(text)
        (change,) = await jobs.changes(1, wait_seconds=5)
        assert change.stored is not None
        assert (change.team, change.stored.version) == ("ops", 1)
        (directory / "job.yaml").unlink()
        (change,) = await jobs.changes(2, wait_seconds=5)
        assert (change.name, change.stored, change.error) == ("nightly", None, None)


async def test_a_schedule_that_never_fires_is_refused_from_a_file_too(tmp_path):
    def check(job: Job) -> None:
        if job.schedule is not None:
            raise Invalid("The schedule never fires.", field="schedule.expression")

    jobs = opened(tmp_path, check=check)
    await put(jobs, a_job())
    path = tmp_path / "ada/sales/job.yaml"
    path.write_text(path.read_text() + "schedule: {kind: cron, expression: 0 0 30 2 *}\n")
    jobs.rescan()
    (error,) = jobs.errors()
    assert error.message == "The schedule never fires."
    assert sales(jobs).job.schedule is None


@pytest.mark.parametrize(
    "kind", ["link", "directory", "pipe", "large", "misplaced", "unreadable bytes"]
)
async def test_what_is_no_job_file_is_an_error_of_that_job_alone(tmp_path, kind):
    jobs = opened(tmp_path / "jobs")
    await put(jobs, a_job("good"))
    path = tmp_path / "jobs/ada/sales/job.yaml"
    path.parent.mkdir()
    match kind:
        case "link":
            (tmp_path / "secret").write_text("password: 1")
            path.symlink_to(tmp_path / "secret")
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "large":
            path.write_text("#" * 1_000_001)
        case "misplaced":
            path.write_text(JobYaml().write(a_job("other")))
        case "unreadable bytes":
            path.write_bytes(b"\xff\xfe\x00")
    jobs.rescan()
    (error,) = jobs.errors()
    assert (error.team, error.name) == ("ada", "sales")
    assert "password" not in error.message
    assert jobs.ids() == ("ada/good",)
    assert opened(tmp_path / "jobs").errors() == [error]


async def test_a_directory_with_an_impossible_name_is_told_but_not_passed_on(tmp_path):
    (tmp_path / "ada" / "My\nJob").mkdir(parents=True)
    (tmp_path / "ada" / ".git").mkdir()
    jobs = opened(tmp_path)
    (error,) = jobs.errors()
    assert error.name == "My\\nJob"
    assert await jobs.changes(0) == []


async def test_every_snapshot_that_a_file_names_is_in_use(tmp_path):
    jobs = opened(tmp_path)
    for digit in "abc":
        await put(jobs, a_job(snapshot_id=digit * 64))
    path = tmp_path / "ada/sales/job.yaml"
    path.write_text(f"broken: [\nsnapshot_id: {'d' * 64}\n")
    assert jobs.snapshots() == {digit * 64 for digit in "abcd"}


def a_pin(digit: str = "1") -> Pin:
    return Pin(environment_id=f"py-{digit * 32}", lock_id=digit * 64, definition="r.txt")


async def test_pins_are_kept_in_files_and_versions_and_come_back(tmp_path):
    jobs = opened(tmp_path)
    await put(jobs, a_job(), pins={"main": a_pin()})
    await put(jobs, a_job(title="Sales"))
    assert sales(opened(tmp_path)).pins == {"main": a_pin()}
    again = await put(jobs, a_job(title="Sales"), pins={"main": a_pin("2")})
    assert (again.stored.version, again.stored.pins) == (3, {"main": a_pin("2")})
    assert sales(opened(tmp_path), 1).pins == {"main": a_pin()}


@pytest.mark.parametrize(
    "said",
    [
        {"snapshot_id": "1" * 64},
        {"environment": "gpu"},
        {"tasks": [{"notebook": "other.ipynb"}]},
        {"tasks": [{"notebook": "sales.ipynb", "kernel": "r"}]},
        {"tasks": [{"name": "other", "notebook": "sales.ipynb"}]},
    ],
)
async def test_a_pin_goes_when_what_it_was_locked_for_has_changed(tmp_path, said):
    jobs = opened(tmp_path)
    await put(jobs, a_job(), pins={"main": a_pin()})
    assert (await put(jobs, a_job(**said))).stored.pins == {}


async def test_a_file_without_pins_is_read_as_before(tmp_path):
    jobs = opened(tmp_path)
    await put(jobs, a_job())
    text = (tmp_path / "ada/sales/job.yaml").read_text()
    assert "pins" not in text
    assert sales(opened(tmp_path)).pins == {}


async def test_every_lock_that_a_file_names_is_in_use_and_is_no_snapshot(tmp_path):
    jobs = opened(tmp_path)
    await put(jobs, a_job(snapshot_id="a" * 64), pins={"main": a_pin()})
    path = tmp_path / "ada/sales/versions/7.yaml"
    path.write_text(f"broken: [\nsnapshot_id: {'d' * 64}\n lock_id: '{'2' * 64}'\n")
    assert jobs.locks() == {"1" * 64, "2" * 64}
    assert jobs.snapshots() == {"a" * 64, "d" * 64}


# --------------------------------------------------------------------------------------- their YAML

GOOD = JobYaml().write(a_job())


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: &x [1]\nb: *x\n", 2, "Aliases"),
        ("a: !!python/object:os.system x\n", 1, "Tags"),
        ("a: 1\nb: 2\na: 3\n", 3, "there twice"),
        ("a:\n\tb: 1\n", 2, "tab"),
        ("a: [1\n", 2, "not YAML"),
        ("a: b: c\n", 1, "not YAML"),
        ("a: 1\n---\nb: 1\n", 2, "one job"),
        ("[" * 51 + "]" * 51, 1, "nested"),
        ("a: [" + "1," * 50_001 + "]", 1, "more than"),
        ("? [a]\n: b\n", 1, "key must be"),
        ("a: .nan\n", 1, "not a number"),
        ("a: 1\nb: \x07\n", 2, "character"),
        ("", None, "keys and values"),
        ("- a\n", None, "keys and values"),
        (GOOD.replace("owner: ada", "owner: [ada]"), 5, "owner"),
        (GOOD.replace("notebook:", "notebok:"), 9, "notebok"),
        (GOOD + "metadata:\n  version: x\n", 11, "metadata"),
        (GOOD.replace("element/v1", "element/v2"), 1, "element/v1"),
    ],
)  # fmt: skip
def test_yaml_that_is_no_job_is_refused_with_its_line(text, line, words):
    with pytest.raises(FileInvalid) as caught:
        JobYaml().read(text.encode())
    assert caught.value.line == line
    assert words in caught.value.message
    assert len(caught.value.message) < 500


def test_an_alias_bomb_and_deep_nesting_cost_nothing():
    bomb = "a: &a [x,x]\n" + "".join(
        f"b{n}: &b{n} [*{'a' if n == 0 else f'b{n - 1}'},*a]\n" for n in range(90)
    )
    for text in (bomb, "[" * 400_000, "{a: " * 200_000, "- " * 400_000, "a" * 900_000):
        began = time.process_time()
        with pytest.raises(FileInvalid):
            JobYaml().read(text.encode())
        assert time.process_time() - began < 2


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(
    parameters=st.dictionaries(
        st.from_regex(r"[A-Za-z_]\w{0,5}", fullmatch=True).filter(str.isascii), _JSON, max_size=4
    ),
    description=_TEXT,
)
@settings(max_examples=200, deadline=None)
def test_whatever_a_job_says_is_read_back_from_its_file(parameters, description):
    job = a_job(
        description=description,
        tasks=[{"notebook": "a b/é.ipynb", "parameters": parameters}],
        schedule={"kind": "once", "at": "2030-01-01T00:00:00Z"},
    )
    metadata = Metadata(version=3, saved_at=NOW, saved_by="ada", scheduled_since=NOW)
    text = JobYaml().write(job, metadata)
    read = JobYaml().read(text.encode())
    assert (read.job, read.metadata) == (job, metadata)
    stamped = JobYaml().stamp(text, metadata.model_copy(update={"version": 4}))
    read = JobYaml().read(stamped.encode())
    assert (read.job, read.metadata) == (job, metadata.model_copy(update={"version": 4}))


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(content):
    with contextlib.suppress(FileInvalid):
        data, _ = read_yaml(content)
        json.dumps(data, allow_nan=False)


def test_scalars_mean_what_yaml_1_2_says():
    text = "a: no\nb: 012\nc: 1:30\nd: 2026-01-01\ne: 1e3\nf: 0o17\ng: ~\nh: '1'\ni: TRUE\n"
    data, lines = read_yaml(text.encode())
    assert data == {"a": "no", "b": 12, "c": "1:30", "d": "2026-01-01", "e": 1000.0,
                    "f": 15, "g": None, "h": "1", "i": True}  # fmt: skip
    assert lines["c"] == 3


def _kill_again_and_again(root: Path, told: Path) -> None:
    """Fork a process that saves jobs, and kill it; the one who started this looks at the files."""
    generator = random.Random(7)
    told.touch()
    while True:
        size_bytes = told.stat().st_size
        child = os.fork()
        if child == 0:
            asyncio.run(_save_for_ever(root, told))
        while told.stat().st_size == size_bytes:
            time.sleep(0.001)
        time.sleep(generator.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print("killed", flush=True)
        if not sys.stdin.readline():
            return


async def _save_for_ever(root: Path, told: Path) -> None:
    jobs = opened(root)
    for number in range(100_000):
        job = a_job(f"job-{random.randrange(6)}", title=f"{os.getpid()} {number}")
        saved = await put(jobs, job)
        with told.open("a") as file:
            file.write(f"{job.name} {saved.stored.version}\n")


if __name__ == "__main__":
    _kill_again_and_again(Path(sys.argv[1]), Path(sys.argv[2]))
