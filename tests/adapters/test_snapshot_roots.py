"""Of which directory a snapshot was taken."""

from __future__ import annotations

import stat
from pathlib import Path

from element_jupyter.adapters.snapshot_roots import MAX_BYTES, SnapshotRoots

ONE, OTHER = "1" * 64, "2" * 64


def test_the_directory_is_known_to_every_process_and_to_nobody_else(tmp_path: Path):
    file = tmp_path / "data" / "roots.jsonl"
    root = tmp_path / 'a "b"\nc'
    SnapshotRoots(file).remember(ONE, root)

    assert SnapshotRoots(file).root_of(ONE) == root
    assert SnapshotRoots(file).root_of(OTHER) is None
    assert SnapshotRoots(tmp_path / "none").root_of(ONE) is None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_of_two_directories_with_the_same_files_the_last_counts(tmp_path: Path):
    roots = SnapshotRoots(tmp_path / "roots.jsonl")
    for root in ("a", "b", "a", "a"):
        roots.remember(ONE, tmp_path / root)

    assert roots.root_of(ONE) == tmp_path / "a"
    assert len((tmp_path / "roots.jsonl").read_text().splitlines()) == 3


def test_a_line_that_was_cut_short_is_passed_over(tmp_path: Path):
    file = tmp_path / "roots.jsonl"
    roots = SnapshotRoots(file)
    roots.remember(ONE, tmp_path)
    with file.open("a") as kept:
        kept.write(f'["{ONE}", "/elsew')

    assert roots.root_of(ONE) == tmp_path


def test_what_is_old_is_forgotten_before_the_list_grows_without_end(tmp_path: Path):
    file = tmp_path / "roots.jsonl"
    roots = SnapshotRoots(file)
    roots.remember(ONE, tmp_path)
    with file.open("a") as kept:
        kept.writelines(f'["{number:064x}", "/x"]\n' for number in range(MAX_BYTES // 70))

    roots.remember(OTHER, tmp_path)

    assert file.stat().st_size < MAX_BYTES * 0.6
    assert roots.root_of(OTHER) == tmp_path
    assert roots.root_of(ONE) is None
