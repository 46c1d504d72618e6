"""Which ports the platform chooses."""

from __future__ import annotations

import contextlib
import socket

from element_jupyter import config
from element_jupyter.platform.data import Data
from element_jupyter.platform.ports import choose_ports


def test_where_the_usual_ports_are_taken_others_are_chosen_and_kept(tmp_path):
    with contextlib.ExitStack() as taken:
        for port in (8600, 8650, 8651):
            other = taken.enter_context(socket.socket())
            with contextlib.suppress(OSError):  # it is taken already
                other.bind(("127.0.0.1", port))
        chosen = choose_ports(Data(tmp_path), config.load(data_dir=str(tmp_path)), hub=True)
        assert len(set(chosen.values())) == len(chosen)
        # no outgoing connection is given one of these
        assert all(port < 32768 for port in chosen.values())
        assert not {8600, 8650, 8651} & set(chosen.values())
    assert choose_ports(Data(tmp_path), config.load(data_dir=str(tmp_path)), hub=True) == chosen


def test_without_a_hub_its_ports_do_not_matter(tmp_path):
    settings = config.load(data_dir=str(tmp_path))
    kept = choose_ports(Data(tmp_path), settings, hub=True)

    with socket.socket() as other:
        other.bind(("127.0.0.1", kept["public"]))
        assert set(choose_ports(Data(tmp_path), settings)) == {"service", "airflow"}

    assert choose_ports(Data(tmp_path), settings, hub=True) == kept
