"""What runs and what waits over REST: who sees it, in which order, and who stops it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.platform_fixture import wait_until
from tests.service.hub_plane import JOB, HubPlane, hub_plane

STOPS = f"""
c.JupyterHub.load_roles.append(
    {{"name": "stops", "services": ["element"], "scopes": ["delete:servers"]}}
)
c.JupyterHub.spawner_class = "simple"
c.Spawner.cmd = [{sys.executable!r}, "-c", '''
import http.server, os, urllib.parse
at = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer((at.hostname, at.port), Answers).serve_forever()
''']
"""
SIZES = """
default: small
currency: CHF
sizes:
  - {name: small, cpu: 1, memory_bytes: 1 GiB, price_per_hour: 0.5}
  - {name: large, cpu: 8, memory_bytes: 16 GiB, price_per_hour: 4}
"""


class Plane:
    """The control plane beside a Hub, and its database."""

    def __init__(self, both: HubPlane, database_url: str) -> None:
        self.both = both
        self.engine = create_engine(database_url)

    def sql(self, said: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(said), values)

    def opened(self, number: int, person: str, team: str, **said: Any) -> str:
        """Write down that something runs; returns its id."""
        id_ = said.pop("id", f"s-{number:026d}")
        row = {
            "id": id_,
            "person": person,
            "team": team,
            "hours": 1,
            "kind": "editor",
            "server": "",
            "size": "small",
            "price": 0.5,
            "job": None,
            **said,
        }
        self.sql(
            "INSERT INTO allocations (id, kind, person, server, job, team, size, cpu, memory_bytes,"
            " gpu, price_per_hour, begun_at, ended_how) VALUES (:id, :kind, :person, :server, :job,"
            " :team, :size, 1, 1073741824, 0, :price, now() - :hours * interval '1 hour', '')",
            **row,
        )
        return str(id_)

    def get(self, who: str, path: str = "/running", **params: Any) -> Any:
        return self.both.ask(who, "GET", path, params=params).raise_for_status().json()

    def people(self, who: str, **params: Any) -> list[str]:
        return [each["person"] for each in self.get(who, **params)["items"]]

    def stop(self, who: str, id_: str) -> Any:
        return self.both.ask(who, "POST", f"/running/{id_}/stop")


@pytest.fixture(scope="module")
def whole(postgres, tmp_path_factory) -> Iterator[Plane]:
    url = str(postgres.url(postgres.new_database()))
    with hub_plane(tmp_path_factory.mktemp("running"), url, STOPS) as both:
        (both.plane.data / "sizes.yaml").write_text(SIZES)
        plane = Plane(both, url)
        yield plane
        plane.engine.dispose()


@pytest.fixture
def plane(whole: Plane) -> Plane:
    whole.sql("DELETE FROM allocations")
    whole.sql("DELETE FROM activity")
    whole.sql("DELETE FROM runs WHERE state = 'queued'")
    return whole


def test_everybody_sees_their_own_a_lead_the_team_s_and_an_administrator_everything(plane: Plane):
    plane.opened(1, "mia", "sales")
    plane.opened(2, "max", "sales")
    plane.opened(3, "max", "max")
    plane.opened(4, "team-sales", "sales", kind="team-server")
    plane.opened(5, "sam", "ops")

    assert sorted(plane.people("mia")) == ["mia"]
    assert sorted(plane.people("vera")) == []
    assert sorted(plane.people("lena")) == ["max", "mia", "team-sales"]
    assert sorted(plane.people("root-of-all")) == ["max", "max", "mia", "sam", "team-sales"]
    assert plane.get("lena")["totals"]["team_servers"] == 1
    assert plane.get("root-of-all", team="ops")["totals"]["editors"] == 1


def test_what_runs_is_found_by_any_of_its_names_and_ordered_by_cost_and_time(plane: Plane):
    plane.opened(1, "mia", "sales", hours=30)
    plane.opened(2, "max", "sales", size="large", price=4, hours=5)
    plane.opened(3, "sam", "ops", kind="run", job="ops/100%_sure", price=None, hours=2)

    found = plane.get("root-of-all", order="cost")
    costs = [each["cost"] and round(float(each["cost"])) for each in found["items"]]
    assert costs == [20, 15, None]
    assert round(float(found["totals"]["cost"])) == 35
    assert found["currency"] == "CHF"
    assert plane.people("root-of-all") == ["mia", "max", "sam"]
    assert plane.people("root-of-all", order="newest") == ["sam", "max", "mia"]
    assert plane.people("root-of-all", order="person") == ["max", "mia", "sam"]
    assert plane.people("root-of-all", search="LARGE") == ["max"]
    assert plane.people("root-of-all", search="100%_") == ["sam"]
    assert plane.people("root-of-all", search="1_0") == []
    assert plane.people("root-of-all", kind="run", person="sam") == ["sam"]


def test_what_does_nothing_is_known_from_what_its_server_told_lately(plane: Plane):
    minutes: dict[str, int | None] = {"mia": 1, "max": 1, "sam": 60, "vera": None}
    for number, (person, heard) in enumerate(minutes.items()):
        id_ = plane.opened(number, person, person)
        if heard is not None:
            plane.sql(
                "INSERT INTO activity (allocation_id, reported_at, active_at, working, busy,"
                " connections, deadline, ending) VALUES (:id, now() - :heard * interval '1 minute',"
                " now() - interval '2 hours', :working, false, 0, now(), '')",
                id=id_,
                heard=heard,
                working=person == "max",
            )
    things = {each["person"]: each for each in plane.get("root-of-all")["items"]}
    working = {name: each["working"] for name, each in things.items()}

    assert working == {"mia": False, "max": True, "sam": None, "vera": None}
    assert things["mia"]["idle_since"] < things["mia"]["since"]
    assert things["mia"]["stops_at"] is not None
    assert (things["max"]["idle_since"], things["max"]["stops_at"]) == (None, None)
    assert plane.people("root-of-all", idle=True) == ["mia"]
    assert plane.get("root-of-all", idle=True)["totals"]["editors"] == 1


@pytest.mark.parametrize("order", ["since", "newest", "cost", "person", "team", "size"])
def test_pages_hold_everything_once_in_every_order(plane: Plane, order):
    ids = {plane.opened(n, "mia", f"t{n % 3}", price=n % 4, hours=n % 5) for n in range(25)}
    seen: list[str] = []
    page = plane.get("root-of-all", order=order, limit=7)
    seen += [each["id"] for each in page["items"]]
    while page["next_cursor"]:
        page = plane.get("root-of-all", order=order, limit=7, cursor=page["next_cursor"])
        seen += [each["id"] for each in page["items"]]

    assert len(seen) == 25
    assert set(seen) == ids
    wrong = {"order": order, "cursor": "bm90IG91cnM="}
    assert plane.both.ask("mia", "GET", "/running", params=wrong).status_code == 400


def test_a_lead_stops_an_editor_of_the_team_at_the_hub_and_again_without_harm(plane: Plane):
    hub = plane.both.hub
    with hub.api() as api:
        api.post("/users/mia/server").raise_for_status()
    wait_until(lambda: hub.server("mia").get("ready"))
    id_ = plane.opened(1, "mia", "sales")

    assert plane.stop("max", id_).status_code == 403
    assert plane.stop("sam", id_).status_code == 404
    assert hub.server("mia")["ready"]
    first = plane.stop("lena", id_).raise_for_status().json()
    wait_until(lambda: not hub.server("mia").get("ready"))
    again = plane.stop("lena", id_).raise_for_status().json()

    assert first["id"] == id_
    assert again["ended"]
    wait_until(lambda: plane.people("lena") == [])
    kept = plane.get("root-of-all", "/audit", subject=id_)["items"]
    assert [(each["actor"], each["action"], each["as_admin"]) for each in kept] == [
        ("lena", "running.stopped", False)
    ]
    assert kept[0]["before"] | {"state": ""} == kept[0]["after"] | {"state": ""}
    assert kept[0]["before"]["state"] == "running"
    assert kept[0]["before"]["person"] == "mia"


def test_one_s_own_is_stopped_by_oneself_and_another_s_as_administrator_is_on_record_so(
    plane: Plane,
):
    own, other = plane.opened(1, "max", "max"), plane.opened(2, "sam", "sam")

    assert plane.stop("max", own).raise_for_status().json()["ended"]
    assert plane.stop("root-of-all", other).raise_for_status().json()["ended"]
    as_admin = {
        each["subject"]: each["as_admin"] for each in plane.get("root-of-all", "/audit")["items"]
    }
    assert (as_admin[own], as_admin[other]) == (False, True)
    assert plane.stop("root-of-all", f"s-{'9' * 26}").status_code == 404


def test_a_run_is_stopped_as_runs_are(plane: Plane):
    run_id, _ = plane.both.live_run()
    plane.sql("DELETE FROM allocations")
    plane.opened(0, "mia", "sales", id=run_id, kind="run", server=run_id)
    plane.sql("UPDATE allocations SET run_id = id")

    assert plane.stop("lena", run_id).raise_for_status().json() == {"id": run_id, "ended": False}
    run = plane.get("mia", f"/runs/{run_id}")
    assert run["stop_requested_at"] is not None
    assert run["reason"] == "lena asked it to stop."
    assert [each["stopping"] for each in plane.get("mia")["items"]] == [True]


def test_the_queue_says_each_run_s_place_why_it_waits_and_how_long_all_do(plane: Plane):
    data, both = plane.both.plane.data, plane.both
    (data / "quotas.yaml").write_text("quotas: [{who: everyone, at_once: {runs: 1}}]")
    try:
        for number, person in enumerate(("mia", "max")):
            plane.opened(number, person, "sales", kind="run")
        both.uploaded("max")
        own = {"notebook": "sales.ipynb", "snapshot_id": JOB["snapshot_id"]}
        both.ask("mia", "POST", "/runs", json={"job": "sales/nightly"}).raise_for_status()
        both.ask("max", "POST", "/runs", json=own).raise_for_status()

        def waits(who: str, **params: Any) -> list[tuple[str, int, bool]]:
            found = plane.get(who, "/queue", **params)["items"]
            return [(each["person"], each["place"], each["fits"]) for each in found]

        wait_until(lambda: waits("root-of-all") == [("mia", 1, False), ("max", 2, False)])
        assert waits("lena") == [("mia", 1, False)]
        assert waits("max") == [("max", 2, False)]
        assert waits("vera") == []
        assert waits("root-of-all", search="NIGHTLY") == [("mia", 1, False)]
        first = plane.get("root-of-all", "/queue", limit=1)
        second = plane.get("root-of-all", "/queue", limit=1, cursor=first["next_cursor"])
        assert "mia has 1 of 1 run in use" in first["items"][0]["reason"]
        assert [each["person"] for each in second["items"]] == ["max"]
        assert second["next_cursor"] is None
        assert (first["count"], first["capacity"]) == (2, 20)
        assert first["waited_seconds"] >= first["longest_seconds"] > 0
    finally:
        plane.sql("DELETE FROM runs WHERE state = 'queued'")
        (data / "quotas.yaml").unlink()


def test_the_first_page_of_five_thousand_that_run_comes_at_once(plane: Plane):
    plane.sql(
        "INSERT INTO allocations (id, kind, person, server, job, team, size, cpu, memory_bytes,"
        " gpu, price_per_hour, begun_at, ended_how)"
        " SELECT 'r-' || lpad(n::text, 26, '0'), 'run', 'person-' || n, '', 'team-' || n % 200"
        " || '/job', 'team-' || n % 200, 'small', 1, 1073741824, 0, 0.5,"
        " now() - n * interval '1 second', '' FROM generate_series(1, 5000) AS n"
    )
    for order in ("since", "cost", "person"):
        answer = plane.both.ask("root-of-all", "GET", "/running", params={"order": order})
        assert answer.json()["totals"]["runs"] == 5000

        assert answer.elapsed.total_seconds() < 3


def test_while_the_hub_is_away_nothing_of_it_is_stopped_and_that_is_said(plane: Plane):
    id_ = plane.opened(1, "mia", "sales")
    plane.both.hub.kill()

    answer = plane.stop("administrator", id_)
    assert answer.status_code == 503
    assert "Hub" in answer.json()["message"]
    assert [each["id"] for each in plane.get("administrator")["items"]] == [id_]
