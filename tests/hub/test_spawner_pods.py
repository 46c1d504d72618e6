"""The pods that KubeSpawner's own code makes of a size, a team and a run. There is no cluster."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from jupyterhub import orm
from jupyterhub.spawner import SpawnException
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import kube_config
from kubespawner import KubeSpawner

from element_jupyter.core.provisioning import Launch
from element_jupyter.platform.spawners import cluster_spawner
from tests.spawner_fixture import Tickets

SIZES = """
default: small
sizes:
  - {name: small, cpu: 0.5, memory_bytes: 1 GiB}
  - {name: trainer, cpu: 8, memory_bytes: 64 GiB, gpu: 2}
"""
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: none
contexts: [{name: none, context: {cluster: none, user: none}}]
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: none, user: {}}]
"""
PROFILES = [
    {"display_name": "Plain", "slug": "plain", "default": True,
     "kubespawner_override": {"image": "plain:1"}},
    {"display_name": "Greedy", "slug": "greedy",
     "kubespawner_override": {"image": "greedy:1", "mem_limit": "900G", "cpu_limit": 99,
                              "extra_resource_limits": {"nvidia.com/gpu": "8", "x.org/fpga": "1"}}},
]  # fmt: skip


@pytest.fixture
def spawner(tmp_path, monkeypatch):
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    (tmp_path / "sizes.yaml").write_text(SIZES)
    kind = cluster_spawner(
        KubeSpawner, tmp_path / "sizes.yaml", launcher=Tickets(tmp_path), url="http://element"
    )

    def spawner(*groups, **options):
        named = [SimpleNamespace(name=group) for group in groups]
        user = SimpleNamespace(
            name="ada", id=1, url="/user/ada/", escaped_name="ada", settings={},
            orm_user=SimpleNamespace(groups=named), groups=named,
        )  # fmt: skip
        hub = SimpleNamespace(
            public_host="", url="http://hub", base_url="/hub/", api_url="http://hub/hub/api"
        )
        made = kind(
            user=user, hub=hub, orm_spawner=orm.Spawner(name=""), api_token="of the server",
            oauth_client_id="ada", user_options=options, profile_list=PROFILES,
            cmd=["jupyterhub-singleuser"],
        )  # fmt: skip
        made.written = tmp_path
        return made

    return spawner


async def manifest(spawner):
    """What KubeSpawner would send, as JSON, once it has begun to start."""
    await spawner._admit()
    await spawner.load_user_options()
    async with ApiClient(Configuration(host="http://127.0.0.1:9")) as client:
        pod = client.sanitize_for_serialization(await spawner.get_pod_manifest())
        # the API's own models know every name, and say no to what has not its type
        again = client._ApiClient__deserialize(json.loads(json.dumps(pod)), "V1Pod")
        assert spelled(client.sanitize_for_serialization(again)) == spelled(pod)
    return pod


def spelled(value):
    """The same with numbers as text, since the API takes an amount either way."""
    match value:
        case dict():
            return {name: spelled(each) for name, each in value.items()}
        case list():
            return [spelled(each) for each in value]
        case bool():
            return value
    return str(value)


def container(pod):
    [only] = pod["spec"]["containers"]
    return only, {each["name"]: each.get("value") for each in only["env"]}


async def test_a_size_is_what_the_container_asks_for_and_may_not_exceed(spawner):
    pod = await manifest(spawner("ada:lead", "ml:member", size="trainer", team="ml"))

    found, environment = container(pod)
    amounts = {"memory": str(64 << 30), "cpu": "8.0", "nvidia.com/gpu": "2"}
    assert {k: str(v) for k, v in found["resources"]["limits"].items()} == amounts
    assert {k: str(v) for k, v in found["resources"]["requests"].items()} == amounts
    assert environment["ELEMENT_TEAM"] == "ml"
    assert environment["ELEMENT_SIZE"] == "trainer"
    assert environment["ELEMENT_URL"] == "http://element"
    assert environment["MEM_LIMIT"] == str(64 << 30)
    labels = pod["metadata"]["labels"]
    assert labels["element.jupyter.org/size"] == "trainer"
    assert labels["element.jupyter.org/team"] == "ml"


async def test_a_profile_chooses_the_image_and_never_how_much(spawner):
    pod = await manifest(spawner("ada:lead", profile="greedy"))

    found, _ = container(pod)
    assert found["image"] == "greedy:1"
    assert {k: str(v) for k, v in found["resources"]["limits"].items()} == {
        "memory": str(1 << 30),
        "cpu": "0.5",
        "x.org/fpga": "1",
    }


async def test_a_run_is_a_pod_with_its_own_token_and_none_of_the_hub(spawner):
    made = spawner("ada:lead", "ml:member", run="r-1", ticket="secret")
    launch = Launch(
        owner="ada", team="ml", size="small", environment={"ELEMENT_RUN_TOKEN": "of the run"},
        command=("python", "-m", "element_jupyter.runner", "--remote"),
    )  # fmt: skip
    written = {"ticket": "secret", "launch": launch.model_dump(mode="json")}
    Path(made.written, "r-1.launch").write_text(json.dumps(written))

    pod = await manifest(made)

    found, environment = container(pod)
    assert found["args"] == list(launch.command)
    assert environment["ELEMENT_RUN_TOKEN"] == "of the run"
    assert "JUPYTERHUB_API_TOKEN" not in environment
    assert pod["metadata"]["labels"]["element.jupyter.org/run"] == "r-1"
    assert "secret" not in json.dumps(pod)


async def test_nothing_is_asked_of_the_cluster_for_who_may_not(spawner):
    with pytest.raises(SpawnException, match="suspended"):
        await spawner().start()
    with pytest.raises(SpawnException, match="viewer"):
        await spawner("ada:lead", "ml:viewer", team="ml").start()
