"""Who one is, and what servers and runs may have."""

from __future__ import annotations

import os

import httpx

from tests.service.conftest import ControlPlane


async def test_the_local_person_leads_their_own_team_and_administers(plane: ControlPlane):
    answer = await plane.client.get("/me")

    assert answer.json() == {"name": "ada", "admin": True, "teams": {"ada": "lead"}, "hub": False}


async def test_sizes_come_with_what_is_free_and_follow_the_file_of_the_data_directory(
    plane: ControlPlane,
):
    ours = (await plane.client.get("/sizes")).json()
    (plane.data / "sizes.yaml").write_text(
        "default: tiny\nsizes:\n  - {name: tiny, cpu: 0.5, memory_bytes: 100 MiB}\n"
    )
    own = (await plane.client.get("/sizes")).json()

    assert [size["name"] for size in ours["sizes"]] == ["small", "medium", "large"]
    assert ours["default"] == "small"
    assert 0 <= ours["free"]["cpu"] <= (os.cpu_count() or 1)
    assert ours["free"]["memory_bytes"] > 0
    assert own["default"] == "tiny"
    assert own["sizes"][0]["memory_bytes"] == 100 << 20


async def test_a_size_that_there_is_not_is_refused_by_jobs_and_runs_naming_those_there_are(
    plane: ControlPlane,
):
    job = await plane.job(size="huge")
    saved = await plane.client.put("/jobs/ada/sales", json=job)
    body = {"notebook": "sales.ipynb", "snapshot_id": job["snapshot_id"], "size": "huge"}
    run = await plane.client.post("/runs", json=body)

    for answer in (saved, run):
        assert answer.status_code == 400
        assert answer.json()["field"] == "size"
        assert "small, medium, large" in answer.json()["hint"]
    assert (await plane.client.put("/jobs/ada/sales", json=job | {"size": "large"})).is_success


async def test_without_a_hub_it_is_said_why_there_are_no_pages(plane: ControlPlane):
    async with httpx.AsyncClient(trust_env=False) as stranger:
        answer = await stranger.get(f"{plane.url}/services/element/")
        session = {"Cookie": "element-session=made-up", "Sec-Fetch-Site": "same-origin"}
        refused = await stranger.get(f"{plane.url}/services/element/api/v1/me", headers=session)
    assert (answer.status_code, refused.status_code) == (404, 401)
    assert "here is no Hub to sign in at" in answer.text
