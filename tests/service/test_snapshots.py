"""Snapshots over REST: only what is missing is sent, and only what is whole is kept."""

from __future__ import annotations

import asyncio
import hashlib
import json

from element_jupyter.core.snapshots import Manifest


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_only_what_is_missing_has_to_be_uploaded(plane):
    one, two = b"one" * 1000, b"two"
    await plane.client.put(f"/blobs/{digest_of(one)}", content=one)
    body = {"digests": [digest_of(one), digest_of(two)]}
    answer = await plane.client.post("/snapshots/missing", json=body)
    assert answer.json() == {"missing": [digest_of(two)]}


async def test_a_snapshot_is_read_back_as_it_was_uploaded(plane):
    snapshot_id = await plane.snapshot({"a.ipynb": b"{}", "data/b.csv": b"1,2"})
    answer = await plane.client.get(f"/snapshots/{snapshot_id}")
    manifest = Manifest.model_validate_json(answer.content)
    assert manifest.snapshot_id == snapshot_id
    assert [entry.path for entry in manifest.entries] == ["a.ipynb", "data/b.csv"]
    again = await plane.client.get(
        f"/snapshots/{snapshot_id}", headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert again.status_code == 304


async def test_a_blob_of_another_digest_is_refused_and_not_kept(plane):
    answer = await plane.client.put(f"/blobs/{'0' * 64}", content=b"something else")
    assert (answer.status_code, answer.json()["field"]) == (400, "digest")
    answer = await plane.client.post("/snapshots/missing", json={"digests": ["0" * 64]})
    assert answer.json() == {"missing": ["0" * 64]}
    assert list((plane.data / "spool").iterdir()) == []


async def test_an_upload_over_the_limit_of_snapshots_is_refused_before_it_is_sent(plane, settings):
    host, port = plane.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"PUT /api/v1/blobs/{'0' * 64} HTTP/1.1\r\nHost: {host}\r\n"
        f"Authorization: {plane.client.headers['Authorization']}\r\n"
        f"Content-Length: {settings.snapshot_refuse_bytes + 1}\r\n\r\n".encode()
    )
    assert (await reader.readline()).split()[1] == b"413"
    writer.close()


async def test_what_is_no_snapshot_is_told(plane):
    assert (await plane.client.get(f"/snapshots/{'1' * 64}")).status_code == 404
    for address in ("nothing", "../../etc/passwd", "0" * 63, "A" * 64):
        answer = await plane.client.get(f"/snapshots/{address.replace('/', '%2f')}")
        assert (answer.status_code, answer.json()["field"]) == (400, "snapshot_id")
    content = b'{"entries": [{"path": "../../x"}]}'
    await plane.client.put(f"/blobs/{digest_of(content)}", content=content)
    answer = await plane.client.get(f"/snapshots/{digest_of(content)}")
    assert answer.status_code == 400
    job = await plane.job(snapshot_id=digest_of(content))
    assert (await plane.client.put("/jobs/ada/sales", json=job)).status_code == 400


async def test_a_job_of_a_snapshot_that_lacks_a_file_is_refused(plane):
    content = b"{}"
    entry = {"path": "a.ipynb", "digest": digest_of(content), "size_bytes": 2, "executable": False, "link": None}  # fmt: skip
    manifest = Manifest.model_validate({"entries": [entry]})
    await plane.client.put(f"/blobs/{manifest.snapshot_id}", content=manifest.to_json())
    job = await plane.job(snapshot_id=manifest.snapshot_id)
    answer = await plane.client.put("/jobs/ada/sales", json=job)
    assert (answer.status_code, answer.json()["field"]) == (400, "snapshot_id")


async def test_the_cells_of_a_notebook_are_read_from_its_snapshot_without_outputs(plane):
    output = {"output_type": "stream", "name": "stdout", "text": "5 MB"}
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Sales\n", "of today"]},
        {"cell_type": "code", "metadata": {}, "source": "x = 1", "outputs": [output],
         "execution_count": 1},
    ]  # fmt: skip
    notebook = {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}
    files = {"a b/sales.ipynb": json.dumps(notebook).encode(), "bad.ipynb": b"[]"}
    snapshot_id = await plane.snapshot(files)

    answer = await plane.client.get(f"/snapshots/{snapshot_id}/notebooks/a%20b/sales.ipynb")

    assert answer.json() == {
        "cells": [
            {"kind": "markdown", "source": "# Sales\nof today"},
            {"kind": "code", "source": "x = 1"},
        ]
    }
    for path, status in (("other.ipynb", 404), ("bad.ipynb", 400), ("..%2Fx.ipynb", 400)):
        answer = await plane.client.get(f"/snapshots/{snapshot_id}/notebooks/{path}")
        assert answer.status_code == status, answer.text
