"""The manifest of a training: valid by its schema, and a command that bash runs as it says."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from hanlm.errors import ConfigError
from pretrain.launch.config import ClusterConfig, KubernetesOptions
from pretrain.launch.kubernetes import run, script
from pretrain.launch.start import job_of
from pretrain.train import plan

SCHEMA = Path(__file__).with_name("pytorchjob.schema.json")


def documents(settings, **options: object) -> list[dict]:
    kubernetes = KubernetesOptions(**({"image": "registry/hanlm:1", "claim": "data", "mount": "/data"} | options))
    config = settings(launch="kubernetes", nodes=4, gpus_per_node=8, cluster=ClusterConfig(kubernetes=kubernetes))
    return list(yaml.safe_load_all(script(job_of(config))))


def errors(manifest: dict) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema")
    import json

    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


def test_the_manifest_is_valid_by_the_schema_of_a_pytorchjob(settings):
    settings_map, manifest = documents(settings, cpus="64", memory="512Gi", namespace="nlp")
    assert errors(manifest) == []
    assert settings_map["kind"] == "ConfigMap"
    assert manifest["metadata"]["namespace"] == settings_map["metadata"]["namespace"] == "nlp"
    worker = manifest["spec"]["pytorchReplicaSpecs"]["Worker"]
    [container] = worker["template"]["spec"]["containers"]
    assert worker["replicas"] == 4
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "8", "cpu": "64", "memory": "512Gi"}
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in worker["template"]["spec"]["volumes"]}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("kind",), "Job"),
        (("spec", "pytorchReplicaSpecs", "Worker", "restartPolicy"), "OnExit75"),
        (("spec", "pytorchReplicaSpecs", "Worker", "replicas"), "4"),
        (("spec", "elasticPolicy", "rdzvBackend"), "gloo"),
        (("spec", "nprocPerNode"), 8),
        (("spec", "runPolicy", "cleanPodPolicy"), "Sometimes"),
        (("spec", "replicas"), 4),
    ],
)
def test_the_schema_refuses_a_manifest_that_the_operator_would_refuse(settings, path: tuple[str, ...], value: object):
    _, manifest = documents(settings)
    part = manifest
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    assert errors(manifest)


def test_the_configuration_travels_in_the_manifest_and_launches_nothing_itself(settings):
    settings_map, _ = documents(settings)
    run_settings = yaml.safe_load(settings_map["data"]["run.yaml"])
    assert run_settings["steps"] == 6
    assert not run_settings.keys() & {"launch", "nodes", "gpus_per_node", "cluster"}


@pytest.mark.parametrize(("agent", "expected"), [(0, 0), (2, 2), (1, 1), (75, 143), (137, 137)])
def test_of_the_codes_only_saved_becomes_one_that_the_operator_restarts(
    settings, tmp_path: Path, agent: int, expected: int
):
    _, manifest = documents(settings)
    command = pod_command(manifest, tmp_path, f"exit {agent}")
    assert subprocess.run(command, env=os.environ, check=False).returncode == expected


def test_a_pod_that_has_to_go_lets_its_agent_save(settings, tmp_path: Path):
    _, manifest = documents(settings)
    agent = "trap 'touch saved; exit 75' TERM; touch ready; while true; do sleep 0.05; done"
    pod = subprocess.Popen(pod_command(manifest, tmp_path, agent), cwd=tmp_path)
    deadline = time.monotonic() + 30
    while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    pod.send_signal(signal.SIGTERM)
    assert pod.wait(timeout=30) == 143
    assert (tmp_path / "saved").exists()


def pod_command(manifest: dict, folder: Path, agent: str) -> list[str]:
    """Return a pod's command with a program of ours as its python."""
    program = folder / "python"
    program.write_text(f"#!/bin/bash\n{agent}\n")
    program.chmod(0o755)
    [container] = manifest["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
    assert container["command"][:2] == ["bash", "-c"]
    return [*container["command"][:2], container["command"][2].replace("python -m", f"{program} -m", 1)]


def test_where_there_is_no_kubectl_the_manifest_is_written_and_the_command_named(settings, monkeypatch):
    options = KubernetesOptions(image="hanlm")
    job = job_of(settings(launch="kubernetes", gpus_per_node=8, cluster=ClusterConfig(kubernetes=options)))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent / "nowhere"))
    assert "kubectl apply -f" in run(job)
    assert (job.folder / "job.yaml").read_text() == script(job)


def test_inputs_that_lie_on_a_volume_out_of_sight_are_left_to_the_job_to_check(settings):
    options = KubernetesOptions(image="hanlm", claim="data", mount="/data")
    cluster = ClusterConfig(kubernetes=options)
    config = settings(model=Path("/data/model"), launch="kubernetes", gpus_per_node=8, cluster=cluster)
    assert "is not on this machine" in plan(config)[0]


def test_kubernetes_needs_an_image(settings):
    with pytest.raises(ConfigError, match="image"):
        settings(launch="kubernetes", gpus_per_node=8)
