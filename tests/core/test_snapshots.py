"""Paths, manifests, limits and the rule of what may be collected."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from element_jupyter.core.errors import Invalid, TooLarge
from element_jupyter.core.readings import Reading, Stamp, decode, encode
from element_jupyter.core.snapshots import (
    LINK_HOPS,
    Entry,
    Manifest,
    SnapshotLimits,
    collectable,
    fault_of_path,
)
from tests.malicious_manifests import MALICIOUS, a_link, digest_of, json_of


def a_file(path: str = "a.py", **changes: Any) -> Entry:
    return Entry(**{"path": path, "digest": digest_of(path), "size_bytes": 1, **changes})


def a_manifest(*entries: Entry) -> Manifest:
    return Manifest(entries=entries or (a_file(),))


@pytest.mark.parametrize("data", MALICIOUS.values(), ids=MALICIOUS)
def test_a_malicious_manifest_is_refused_with_a_sentence(data):
    with pytest.raises(Invalid) as caught:
        Manifest.from_json(data)
    assert caught.value.message.startswith("The snapshot's manifest is refused: ")
    assert caught.value.problem.message.endswith(".")


def test_links_that_stay_inside_are_kept():
    manifest = Manifest.from_json(
        json_of(
            {"path": "data/a.csv"},
            a_link("latest", "data/a.csv"),
            a_link("self", "."),
            a_link("src/data", "../data"),
            a_link("src/deep/up", "../../latest"),
            a_link("to/nothing", "../later.csv"),
        )
    )

    assert manifest.link_targets() == {
        "latest": "data/a.csv",
        "self": "",
        "src/data": "data",
        "src/deep/up": "data/a.csv",
        "to/nothing": "later.csv",
    }
    assert [line for line in manifest.remarks() if "leads to" in line] == [
        "The link 'to/nothing' leads to 'later.csv', which is not in the snapshot."
    ]


def test_a_chain_of_links_ends_where_the_kernel_stops():
    def chain(length: int) -> Manifest:
        links = (Entry.of_link(f"l{i:02}", f"l{i + 1:02}") for i in range(length))
        return Manifest(entries=(*links, a_file(f"l{length:02}")))

    assert len(chain(LINK_HOPS).entries) == LINK_HOPS + 1
    with pytest.raises(ValidationError, match="does not end"):
        chain(LINK_HOPS + 1)


def test_a_tangle_of_links_is_refused_in_reasonable_time():
    links = tuple(
        Entry.of_link(f"d/l{i:03}", "/".join(f"l{i + 1:03}/.." for _ in range(100)))
        for i in range(300)
    )
    with pytest.raises(ValidationError, match="does not end"):
        Manifest(entries=links)


@given(st.text(max_size=40))
def test_what_passes_as_a_path_stays_below_its_root(text):
    if fault_of_path(text) is None:
        parts = text.split("/")
        assert not {"", ".", "..", ".git"} & set(parts)
        assert not text.startswith("/")
        assert "\0" not in text
        assert "\\" not in text
        assert len(text.encode()) <= 1024
    else:
        with pytest.raises(ValidationError):
            a_file(text)


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\\\0"), min_size=1, max_size=8
).filter(lambda name: fault_of_path(name) is None)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(st.sets(PATHS, max_size=12), st.randoms())
def test_a_manifest_reads_back_equal_and_its_id_ignores_the_order_of_its_making(paths, random):
    clear = [p for p in paths if not any(q.startswith(p + "/") for q in paths)]
    entries = [a_file(path, executable=len(path) % 2 == 0) for path in clear]
    manifest = Manifest(entries=tuple(entries))
    random.shuffle(entries)

    assert Manifest.from_json(manifest.to_json()) == manifest
    assert Manifest(entries=tuple(entries)).snapshot_id == manifest.snapshot_id
    assert manifest.snapshot_id == hashlib.sha256(manifest.to_json()).hexdigest()
    assert [entry.path for entry in manifest.entries] == sorted(clear)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_manifest_or_a_sentence(data):
    try:
        canonical = Manifest.from_json(data).to_json() == data
    except Invalid as error:
        canonical = error.message.endswith(".")
    assert canonical


def test_every_fact_of_an_entry_is_part_of_the_id():
    ids = {
        a_manifest(entry).snapshot_id
        for entry in (
            a_file(),
            a_file("A.py"),
            a_file(executable=True),
            a_file(digest=digest_of("other")),
            a_file(size_bytes=2),
            Entry.of_link("a.py", "b.py"),
        )
    }
    assert len(ids) == 6


def test_a_link_needs_no_blob():
    assert a_manifest(Entry.of_link("a", "b"), a_file("b")).digests == {digest_of("b")}


def test_a_project_over_the_limit_is_refused_with_its_largest_files():
    manifest = a_manifest(
        a_file("small.py", size_bytes=900),
        a_file("data/big.csv", size_bytes=150_000_000),
        a_file("model.bin", size_bytes=60_500_000),
    )
    with pytest.raises(TooLarge) as caught:
        SnapshotLimits().check(manifest)
    assert caught.value.message == (
        "The project is 210.5 MB, over the limit of 200.0 MB; the largest files are "
        "data/big.csv (150.0 MB), model.bin (60.5 MB), small.py (900 B)."
    )
    assert ".elementignore" in caught.value.hint


@pytest.mark.parametrize(
    ("size_bytes", "count"), [(20_000_000, 0), (20_000_001, 1), (200_000_000, 1)]
)
def test_a_project_warns_only_above_the_warning_limit(size_bytes, count):
    assert len(SnapshotLimits().check(a_manifest(a_file(size_bytes=size_bytes)))) == count


def test_too_many_files_are_refused_with_where_they_are():
    sizes = {f"cache/{i}": 0 for i in range(5)} | {"a.py": 1, "src/b.py": 1}
    assert SnapshotLimits(warn_files=6).check_sizes(sizes)[0].startswith("The project has 7 files")
    with pytest.raises(TooLarge, match=r"7 files, over the limit of 6; most are in cache/ \(5\)"):
        SnapshotLimits(refuse_files=6).check_sizes(sizes)


@pytest.mark.parametrize("path", [".env", "a/.netrc", "keys/id_ed25519", "cert.pem"])
def test_a_file_that_looks_secret_is_remarked_upon(path):
    assert f"'{path}'" in a_manifest(a_file(path)).remarks()[0]


AGES = st.dictionaries(st.sampled_from([digest_of(str(i)) for i in range(9)]), st.floats(0, 99))


@given(AGES, st.floats(0, 99), st.sets(st.integers(0, 8)))
def test_only_what_is_old_and_in_no_snapshot_in_use_may_be_collected(ages, grace, used):
    manifest = Manifest(entries=tuple(a_file(str(i)) for i in used))
    in_use = {manifest.snapshot_id: manifest}

    gone = collectable({**ages, manifest.snapshot_id: 1000.0}, in_use, grace)

    assert not gone & manifest.digests
    assert manifest.snapshot_id not in gone
    assert gone == {d for d, age in ages.items() if age >= grace and d not in manifest.digests}


def a_reading(at_seconds: int = 100) -> Reading:
    return Reading(Stamp(1, at_seconds * 10**9, at_seconds * 10**9, 2, 3), digest_of("x"))


FILE_NAMES = st.binary(min_size=1).map(lambda name: os.fsdecode(name.replace(b"\0", b"0")))


@given(st.sets(FILE_NAMES))
def test_readings_come_back_as_they_were_under_any_name(names):
    readings = dict.fromkeys(names, a_reading())
    assert decode(encode(readings, now=200)) == readings


def test_a_reading_taken_within_two_seconds_of_a_change_is_not_kept():
    assert decode(encode({"a": a_reading(100)}, now=101.9)) == {}
    assert decode(encode({"a": a_reading(100)}, now=102.1)) != {}


@given(st.integers(0, 300), st.integers(1, 255))
def test_damaged_readings_are_no_readings(position, flip):
    data = bytearray(encode({"a": a_reading(), "b c\n": a_reading(50)}, now=200))
    data[position % len(data)] ^= flip
    assert decode(bytes(data)) == {}
    assert decode(bytes(data[: position % len(data)])) == {}
