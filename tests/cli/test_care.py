"""What is tidied up, at the terminal."""

from __future__ import annotations


def test_what_is_tidied_up_is_shown_and_nothing_is_done(element):
    shown = element("care", "show")
    assert shown.code == 0, shown.err
    assert "Idle servers are stopped after 2 h, with a GPU after 30 min" in shown.out
    assert "Outputs of runs are kept for ever." in shown.out
    assert element("care", "show", "--json").json["policy"]["editors"]["idle"] == 7200

    preview = element("care", "preview", "--json")
    assert preview.json["items"] == []
    assert element("care", "preview").out.strip() == "There is nothing to tidy up."


def test_what_was_not_put_away_is_not_restored(element):
    said = element("runs", "restore", "r-01k3zzzzzzzzzzzzzzzzzzzzzz")

    assert said.code != 0
    assert said.err.strip()
