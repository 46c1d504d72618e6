"""Debian's Prometheus, set up as our page says it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from element_jupyter.platform.ports import free_port
from tests.platform_fixture import ROOT, wait_until

PROGRAM = Path("/usr/bin/prometheus")
TOOL = Path("/usr/bin/promtool")
PAGE = ROOT / "docs/how-to/grafana.md"
RULES = ROOT / "hub_config/prometheus/element.yml"


def configuration(directory: Path, jobs: Mapping[str, tuple[str, str]]) -> Path:
    """Write the configuration of the page; of each job, the address and the token are given."""
    text = re.search(r"```yaml\n(# prometheus.yml.*?)```", PAGE.read_text(), re.DOTALL)
    assert text is not None
    said = yaml.safe_load(text[1])
    assert {each["job_name"] for each in said["scrape_configs"]} >= set(jobs)
    said["scrape_configs"] = [each for each in said["scrape_configs"] if each["job_name"] in jobs]
    assert len(said["rule_files"]) == 1
    said["rule_files"] = [str(RULES)]
    for job in said["scrape_configs"]:
        url, token = jobs[job["job_name"]]
        file = directory / f"{job['job_name']}-token"
        file.write_text(token)
        job["authorization"]["credentials_file"] = str(file)
        job["static_configs"] = [{"targets": [urlsplit(url).netloc]}]
    # which is the timeout, too
    said["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config = directory / "prometheus.yml"
    config.write_text(yaml.safe_dump(said))
    subprocess.run([TOOL, "check", "config", config], check=True, capture_output=True)
    return config


class Prometheus:
    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def is_ready(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self._url}/-/ready", trust_env=False).is_success
        return False

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that it has for an expression now."""
        answer = httpx.get(
            f"{self._url}/api/v1/query", params={"query": expression}, trust_env=False, timeout=30
        )
        told = answer.json()
        assert told["status"] == "success", f"{expression}: {told}"
        return list(told["data"]["result"])

    def firing(self) -> dict[str, dict[str, Any]]:
        """Return the alerts that fire, by their names."""
        answer = httpx.get(f"{self._url}/api/v1/alerts", trust_env=False, timeout=30)
        alerts = answer.json()["data"]["alerts"]
        return {each["labels"]["alertname"]: each for each in alerts if each["state"] == "firing"}

    def targets(self) -> str:
        """What it says of those that it reads, such as why it cannot."""
        return httpx.get(f"{self._url}/api/v1/targets", trust_env=False, timeout=30).text


@contextmanager
def running_prometheus(config: Path, *metrics: str) -> Iterator[Prometheus]:
    """Run it, from when it has what it needs for rates: some readings of these metrics."""
    address = f"127.0.0.1:{free_port()}"
    log = config.with_name("prometheus.log")
    with log.open("wb") as said:
        process = subprocess.Popen(
            [
                PROGRAM,
                f"--config.file={config}",
                f"--storage.tsdb.path={config.with_name('series')}",
                f"--web.listen-address={address}",
            ],
            stdout=said,
            stderr=said,
        )
    prometheus = Prometheus(f"http://{address}")
    try:
        wait_until(lambda: prometheus.is_ready or process.poll() is not None, 60, log.read_text)
        for metric in metrics:
            enough = f"count_over_time({metric}[1m]) >= 4"
            wait_until(lambda: prometheus.ask(enough), 60, prometheus.targets)  # noqa: B023
        yield prometheus
    finally:
        process.terminate()
        process.wait(timeout=60)
