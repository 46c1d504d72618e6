"""Who a command acts for: the person of the data directory, or whose server the Hub has started."""

from __future__ import annotations


def test_whoami_names_the_person_and_their_teams(element):
    said = element("whoami")

    assert said.code == 0, said.err
    assert "ada  administrator" in said.out
    assert "lead" in said.out


def test_in_a_server_of_a_hub_commands_ask_the_platform_of_that_hub(
    element, control_plane, project, monkeypatch, tmp_path
):
    nobodys = tmp_path / "nothing-here"
    monkeypatch.setenv("ELEMENT_DATA_DIR", str(nobodys))
    monkeypatch.setenv("ELEMENT_URL", control_plane.url)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", (control_plane.data / "token").read_text().strip())
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    monkeypatch.setenv("ELEMENT_TEAM", "analytics")

    said = element("schedule", project / "sales.ipynb", "--name", "of-a-hub", "--json")

    assert said.code == 0, said.err + said.out
    assert said.json["stored"]["job"]["team"] == "analytics"
    assert said.json["stored"]["job"]["owner"] == "ada"
    assert element("jobs", "delete", "of-a-hub", "--yes").code == 0
    # which says of what directories one has taken snapshots, and nothing of a platform
    assert [each.name for each in nobodys.iterdir()] == ["snapshot-roots.jsonl"]


def test_a_token_of_the_hub_that_is_refused_is_not_replaced_by_the_data_directory_s(
    element, control_plane, monkeypatch
):
    monkeypatch.setenv("ELEMENT_URL", control_plane.url)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "a-token-that-the-hub-has-revoked")
    monkeypatch.setenv("JUPYTERHUB_USER", "eve")

    said = element("whoami")

    assert said.code == 2
    assert "token" in said.err
