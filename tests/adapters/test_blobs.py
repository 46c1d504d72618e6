"""Storing, restoring and collecting snapshots, with processes that race and are killed."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from element_jupyter.adapters.blobs import FsspecBlobs, collect, keep, load, restore, save
from element_jupyter.core.errors import Conflict, ElementError, Invalid, NotFound, Unavailable
from element_jupyter.core.snapshots import Entry, Manifest
from tests.adapters.blobs_worker import a_project, named
from tests.malicious_manifests import MALICIOUS

CHECKOUT = Path(__file__).parents[2]
DAY = 86_400.0


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


HELLO = digest_of(b"hello")


@pytest.fixture(params=["directory", "memory"])
def blobs(request, tmp_path):
    if request.param == "directory":
        return FsspecBlobs(tmp_path / "store")
    return FsspecBlobs(f"memory://{uuid.uuid4()}")


@pytest.fixture
def store(tmp_path):
    return FsspecBlobs(tmp_path / "store")


def some_files(directory: Path, count: int, size_bytes: int = 100) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    source = random.Random(count)
    files = [directory / f"f{i:04}" for i in range(count)]
    for file in files:
        file.write_bytes(source.randbytes(size_bytes))
    return files


def stored(directory: Path) -> dict[str, Path]:
    return {path.name: path for path in directory.glob("??/*")}


def backdate(directory: Path) -> None:
    for path in stored(directory).values():
        os.utime(path, (time.time() - DAY,) * 2)


def assert_intact(directory: Path) -> None:
    for digest, path in stored(directory).items():
        assert digest_of(path.read_bytes()) == digest


def test_what_is_put_is_read_back_and_no_longer_missing(blobs):
    assert blobs.missing([HELLO]) == {HELLO}
    blobs.put(HELLO, b"hello")
    blobs.put(HELLO, io.BytesIO(b"hello"))
    with blobs.open(HELLO) as file:
        assert file.read() == b"hello"
    assert blobs.size(HELLO) == 5
    assert blobs.missing([HELLO, digest_of(b"")]) == {digest_of(b"")}
    assert blobs.digests().keys() == {HELLO}


def test_data_of_another_digest_is_refused_and_leaves_nothing(blobs):
    with pytest.raises(Conflict, match=HELLO):
        blobs.put(HELLO, b"hullo")
    assert blobs.digests() == {}
    assert blobs.discard_abandoned(0) == 0


def test_a_blob_that_is_not_there_is_not_found(blobs):
    with pytest.raises(NotFound, match=HELLO):
        blobs.open(HELLO)
    with pytest.raises(NotFound, match=HELLO):
        blobs.size(HELLO)
    assert blobs.delete(HELLO) is None


@pytest.mark.parametrize(
    "digest", ["", "..", "../" * 20 + "x", HELLO.upper(), HELLO + "\n", "a/" * 32]
)
def test_nothing_but_a_digest_becomes_a_path(blobs, digest):
    for use in (
        blobs.open,
        blobs.size,
        blobs.delete,
        lambda d: blobs.put(d, b""),
        lambda d: blobs.missing([d]),
    ):
        with pytest.raises(Invalid, match="sha256"):
            use(digest)


def test_deleting_spares_what_was_used_since(blobs):
    blobs.put(HELLO, b"hello")
    assert blobs.delete(HELLO, unused_seconds=60) is None
    assert blobs.delete(HELLO) == 5
    assert blobs.missing([HELLO]) == {HELLO}


def test_asking_for_a_blob_makes_it_new_again(store, tmp_path):
    store.put(HELLO, b"hello")
    backdate(tmp_path / "store")
    assert store.digests()[HELLO] > DAY - 60
    assert store.missing([HELLO]) == set()
    assert store.digests()[HELLO] < 60


def test_on_an_object_store_an_old_blob_counts_as_missing_and_is_sent_again(tmp_path):
    url = f"memory://{uuid.uuid4()}"
    project = a_project(*some_files(tmp_path / "files", 3))
    snapshot_id = save(FsspecBlobs(url), project)
    assert FsspecBlobs(url).missing([snapshot_id]) == set()
    assert FsspecBlobs(url, refresh_seconds=0).missing([snapshot_id]) == {snapshot_id}


def test_a_store_that_cannot_be_written_is_unavailable(tmp_path):
    (tmp_path / "store").write_text("a file")
    blobs = FsspecBlobs(tmp_path / "store")
    with pytest.raises(Unavailable, match="blob store"):
        blobs.missing([HELLO])
    with pytest.raises(Unavailable, match="blob store"):
        blobs.put(HELLO, b"hello")


def test_blobs_are_private_to_their_owner(store, tmp_path):
    store.put(HELLO, b"hello")
    for path in (tmp_path / "store").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (tmp_path / "store").stat().st_mode & 0o077 == 0


def test_many_may_put_the_same_blob_at_once(blobs):
    data = os.urandom(300_000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: blobs.put(digest_of(data), data), range(40)))
    with blobs.open(digest_of(data)) as file:
        assert file.read() == data
    assert blobs.discard_abandoned(0) == 0


# Saving and restoring


def test_a_project_comes_back_as_it_was(blobs, tmp_path):
    [run, text, same] = some_files(tmp_path / "files", 3)
    same.write_bytes(text.read_bytes())
    project = a_project(run, text, same)
    entries = [
        e.model_copy(update={"executable": e.path == run.name}) for e in project.manifest.entries
    ]
    entries = [
        e.model_copy(update={"path": f"a/b/{e.path}"}) if e.path == same.name else e
        for e in entries
    ]
    manifest = Manifest(entries=(*entries, Entry.of_link("a/link", "../" + text.name)))

    snapshot_id = save(blobs, project._replace(manifest=manifest))

    assert snapshot_id == manifest.snapshot_id
    assert load(blobs, snapshot_id) == keep(blobs, snapshot_id) == manifest
    out = tmp_path / "runs" / "1" / "code"
    assert restore(blobs, snapshot_id, out) == manifest
    assert (out / run.name).read_bytes() == run.read_bytes()
    assert os.access(out / run.name, os.X_OK)
    assert not (out / text.name).stat().st_mode & 0o111
    assert (out / "a/b" / same.name).read_bytes() == text.read_bytes()
    assert (out / "a/link").readlink() == Path("..") / text.name
    assert [path.name for path in out.parent.iterdir()] == ["code"]


def test_saving_again_stores_nothing(store, tmp_path):
    project = a_project(*some_files(tmp_path / "files", 5))
    save(store, project)
    before = {path: path.stat().st_ino for path in stored(tmp_path / "store").values()}
    save(store, project)
    assert before == {path: path.stat().st_ino for path in stored(tmp_path / "store").values()}


@pytest.mark.parametrize("change", ["edit", "grow", "remove", "link", "fifo"])
def test_a_file_that_changed_since_the_scan_is_a_conflict_and_no_snapshot(store, tmp_path, change):
    [file] = some_files(tmp_path / "files", 1)
    project = a_project(file)
    if change in {"edit", "grow"}:
        file.write_bytes(bytes(100 if change == "edit" else 101))
    else:
        file.unlink()
    if change == "link":
        file.symlink_to("/etc/passwd")
    if change == "fifo":
        os.mkfifo(file)
    with pytest.raises(Conflict):
        save(store, project)
    assert stored(tmp_path / "store") == {}


@pytest.mark.parametrize("data", MALICIOUS.values(), ids=MALICIOUS)
def test_a_malicious_snapshot_writes_nothing_anywhere(store, tmp_path, data):
    store.put(digest_of(data), data)
    store.put(digest_of(b""), b"")
    store.put(digest_of(b"x"), b"x")
    (tmp_path / "runs").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Invalid):
        restore(store, digest_of(data), tmp_path / "runs" / "code")
    with pytest.raises(Invalid):
        keep(store, digest_of(data))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("size_bytes", [4, 6, 0])
def test_a_blob_of_another_size_than_the_manifest_says_is_refused(store, tmp_path, size_bytes):
    store.put(HELLO, b"hello")
    manifest = Manifest(entries=(Entry(path="a", digest=HELLO, size_bytes=size_bytes),))
    store.put(manifest.snapshot_id, manifest.to_json())
    with pytest.raises(ElementError, match="damaged"):
        restore(store, manifest.snapshot_id, tmp_path / "code")
    assert not (tmp_path / "code").exists()


@pytest.mark.parametrize("damaged", ["file", "manifest"])
def test_a_damaged_blob_is_named_and_nothing_is_restored(store, tmp_path, damaged):
    project = a_project(*some_files(tmp_path / "files", 3))
    snapshot_id = save(store, project)
    digest = project.manifest.entries[1].digest if damaged == "file" else snapshot_id
    path = stored(tmp_path / "store")[digest]
    path.write_bytes(b"X" + path.read_bytes()[1:])
    with pytest.raises(ElementError, match=f"{digest} is damaged"):
        restore(store, snapshot_id, tmp_path / "out" / "code")
    assert list((tmp_path / "out").glob("*")) == []


def test_a_snapshot_that_lacks_a_file_is_not_kept_and_not_restored(store, tmp_path):
    project = a_project(*some_files(tmp_path / "files", 3))
    snapshot_id = save(store, project)
    store.delete(project.manifest.entries[0].digest)
    with pytest.raises(NotFound, match="lacks 1 of its files"):
        keep(store, snapshot_id)
    with pytest.raises(NotFound):
        restore(store, snapshot_id, tmp_path / "code")
    assert not (tmp_path / "code").exists()


@pytest.mark.parametrize("snapshot_id", ["", "../x", "A" * 64])
def test_a_snapshot_id_that_is_none_is_refused(store, tmp_path, snapshot_id):
    with pytest.raises(Invalid, match="snapshot id"):
        restore(store, snapshot_id, tmp_path / "code")


def test_a_directory_that_holds_something_is_not_restored_into(store, tmp_path):
    snapshot_id = save(store, a_project(*some_files(tmp_path / "files", 1)))
    out = tmp_path / "out"
    out.mkdir(mode=0o750)
    restore(store, snapshot_id, out)
    assert out.stat().st_mode & 0o777 == 0o750
    with pytest.raises(Conflict, match="not empty"):
        restore(store, snapshot_id, out)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict, match="not a directory"):
        restore(store, snapshot_id, tmp_path / "link")


def test_of_two_restores_into_one_directory_one_wins_whole(store, tmp_path):
    project = a_project(*some_files(tmp_path / "files", 200))
    snapshot_id = save(store, project)

    def attempt(_: int) -> bool:
        try:
            restore(store, snapshot_id, tmp_path / "out" / "code")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(4))) == 1
    assert len(list((tmp_path / "out/code").iterdir())) == 200
    assert len(list((tmp_path / "out").iterdir())) == 1


# Collecting


def test_a_collection_takes_what_nobody_names_and_spares_the_rest(blobs, tmp_path):
    files = some_files(tmp_path / "files", 6)
    kept = save(blobs, a_project(*files[:3]))
    save(blobs, a_project(*files[2:]))

    assert collect(blobs, lambda: {kept}, grace_seconds=60).count == 0
    gone = collect(blobs, lambda: {kept}, grace_seconds=0)

    assert gone.count == 4
    assert gone.size_bytes > 300
    keep(blobs, kept)
    assert collect(blobs, set, grace_seconds=0).count == 4
    assert blobs.digests() == {}


def test_a_collection_spares_the_locks_that_are_named(blobs, tmp_path):
    kept = save(blobs, a_project(*some_files(tmp_path / "files", 1)))
    locks = [hashlib.sha256(content).hexdigest() for content in (b"one", b"another")]
    for lock, content in zip(locks, (b"one", b"another"), strict=True):
        blobs.put(lock, content)

    gone = collect(blobs, lambda: {kept}, 0, lambda: {locks[0]})

    assert gone.count == 1
    assert blobs.missing(locks) == {locks[1]}


def test_a_snapshot_named_while_the_store_is_listed_is_spared(store, tmp_path):
    jobs: set[str] = set()
    snapshot_id = save(store, a_project(*some_files(tmp_path / "files", 3)))
    backdate(tmp_path / "store")

    class Naming(FsspecBlobs):
        def digests(self) -> dict[str, float]:
            found = super().digests()
            jobs.add(snapshot_id)
            return found

    assert collect(Naming(tmp_path / "store"), lambda: jobs, grace_seconds=60).count == 0


@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_nothing_is_taken_while_a_manifest_in_use_cannot_be_read(store, tmp_path, how):
    snapshot_id = save(store, a_project(*some_files(tmp_path / "files", 3)))
    path = stored(tmp_path / "store")[snapshot_id]
    path.unlink() if how == "lost" else path.write_bytes(b"{}")
    before = stored(tmp_path / "store")
    with pytest.raises(ElementError, match=snapshot_id):
        collect(store, lambda: {snapshot_id}, grace_seconds=0)
    assert stored(tmp_path / "store") == before


@contextmanager
def a_worker(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.adapters.blobs_worker", *map(str, arguments)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as worker:
        try:
            yield worker
        finally:
            worker.kill()


def wait_until(condition: Callable[[], bool], worker: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert worker.poll() is None, "the worker ended before it could be killed"
        assert time.monotonic() < deadline


def test_a_collection_beside_uploads_of_old_blobs_takes_none_that_a_job_names(store, tmp_path):
    files, jobs, stop = tmp_path / "files", tmp_path / "jobs", tmp_path / "stop"
    jobs.mkdir()
    save(store, a_project(*some_files(files, 600)))
    backdate(tmp_path / "store")

    with a_worker("collect_until", tmp_path / "store", jobs, 60, stop) as collector:
        uploads = [("upload", tmp_path / "store", files, jobs, 40, seed) for seed in range(2)]
        with a_worker(*uploads[0]) as one, a_worker(*uploads[1]) as two:
            assert one.wait(60) == two.wait(60) == 0
        stop.touch()
        output, _ = collector.communicate(timeout=60)
        assert collector.returncode == 0

    assert int(output) > 0
    assert len(named(jobs)) == 80
    for i, snapshot_id in enumerate(named(jobs)):
        restore(store, snapshot_id, tmp_path / "out" / str(i))


def test_an_upload_between_a_deletions_look_and_its_deed_is_not_told_a_lie(
    store, tmp_path, monkeypatch
):
    store.put(HELLO, b"hello")
    backdate(tmp_path / "store")
    answers: list[set[str]] = []
    upload = threading.Thread(target=lambda: answers.append(store.missing([HELLO])))
    clock = time.time

    def pause() -> float:
        # the deletion looks at the clock after it has looked at the blob
        if not upload.is_alive() and not answers:
            upload.start()
            upload.join(0.3)
        return clock()

    monkeypatch.setattr(time, "time", pause)
    store.delete(HELLO, unused_seconds=60)
    upload.join()

    assert answers == [{HELLO} - stored(tmp_path / "store").keys()]


def test_a_collector_killed_in_the_middle_harms_nothing_and_the_next_goes_on(store, tmp_path):
    files = some_files(tmp_path / "files", 1000, size_bytes=10)
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / save(store, a_project(*files[:20]))).touch()
    save(store, a_project(*files))
    backdate(tmp_path / "store")
    first = sorted(stored(tmp_path / "store").items())[:20]

    with a_worker("collect_once", tmp_path / "store", jobs, 60) as collector:
        wait_until(lambda: any(not path.exists() for _, path in first), collector)
        collector.kill()

    [snapshot_id] = named(jobs)
    assert_intact(tmp_path / "store")
    keep(store, snapshot_id)
    # whoever saves next is not held up by what the dead one held
    save(store, a_project(*files[100:110]))
    collect(store, lambda: named(jobs), grace_seconds=60)
    assert len(stored(tmp_path / "store")) == 21 + 11


def test_an_uploader_killed_in_the_middle_leaves_no_snapshot_and_no_litter(store, tmp_path):
    files = some_files(tmp_path / "files", 800, size_bytes=10)
    with a_worker("save_all", tmp_path / "store", tmp_path / "files") as uploader:
        wait_until(lambda: len(stored(tmp_path / "store")) > 20, uploader)
        uploader.kill()
    project = a_project(*files)
    assert 20 < len(stored(tmp_path / "store")) < 800
    assert_intact(tmp_path / "store")
    with pytest.raises(NotFound):
        keep(store, project.manifest.snapshot_id)

    collect(store, set, grace_seconds=60)
    assert len(stored(tmp_path / "store")) > 20
    keep(store, save(store, project))
    collect(store, set, grace_seconds=0)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == [
        tmp_path / "store/lock"
    ]


def test_a_restore_killed_in_the_middle_leaves_no_directory_and_the_next_cleans_up(store, tmp_path):
    snapshot_id = save(store, a_project(*some_files(tmp_path / "files", 800, size_bytes=10)))
    code = tmp_path / "run" / "co[d]e"
    with a_worker("restore_one", tmp_path / "store", snapshot_id, code) as restorer:
        wait_until(lambda: len(list(tmp_path.glob("run/.*/f*"))) > 20, restorer)
        restorer.kill()
    assert not code.exists()
    assert len(list((tmp_path / "run").iterdir())) == 1

    restore(store, snapshot_id, code)

    assert [path.name for path in (tmp_path / "run").iterdir()] == ["co[d]e"]
    assert len(list(code.iterdir())) == 800
