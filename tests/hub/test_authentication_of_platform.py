"""Sign-in as `element up` puts it together: rules, accounts and keys in the data directory."""

from __future__ import annotations

import os
import stat

from element_jupyter.config import Element
from element_jupyter.platform.hub.authentication import first_admin_link
from tests.hub.signing_in import Visitor
from tests.hub_fixture import running_hub

CONFIG = """
from pathlib import Path
from element_jupyter.adapters.admin_files import AdminFile
from element_jupyter.config import Element
from element_jupyter.core.teams import TeamRules
from element_jupyter.platform.hub.authentication import configure_authentication

rules = AdminFile(Path("teams.yaml"), TeamRules)
configure_authentication(c, Element(data_dir="{data}"), rules, invitations=False)
c.JupyterHub.spawner_class = "simple"
"""


def test_the_first_administrator_signs_up_and_is_alone_where_invitations_are_off(tmp_path):
    directory, data = tmp_path / "hub", tmp_path / "data"
    directory.mkdir()
    data.mkdir(mode=0o700)
    (directory / "teams.yaml").write_text("teams: {ml: {lead: {people: [ada]}}}")
    settings = Element(data_dir=str(data), owner="ada")
    with running_hub(directory, CONFIG.format(data=data)) as hub:
        link = first_admin_link(settings, f"{hub.url}/")
        assert link is not None
        visitor, password = Visitor(hub.url), "correct horse battery"
        secret = link.removeprefix(f"{hub.url}/hub/invitation#")
        visitor.form(
            "/hub/invitation",
            {"secret": secret, "name": "ada", "password": password, "again": password}
            | {"next": "/hub/home"},
        )

        assert visitor.name == "ada"
        with hub.api() as api:
            assert sorted(api.get("/users/ada").json()["groups"]) == ["ada:lead", "ml:lead"]
        assert first_admin_link(settings, hub.url) is None
        refused = visitor.form("/hub/people", {"action": "invite"})
        assert refused.status_code == 400
        assert "This Hub serves one person." in refused.text
        assert "Invite somebody" not in refused.text
        for place, _, names in os.walk(data):
            for name in names:
                mode = stat.S_IMODE(os.stat(os.path.join(place, name)).st_mode)  # noqa: PTH116, PTH118
                assert mode == 0o600, name
