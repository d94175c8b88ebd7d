"""A training as a PyTorchJob of Kubeflow's training operator: one pod a node, torchrun's elastic restarts."""

import shutil
import subprocess
from typing import Any

import yaml

from hanlm.errors import ConfigError
from pretrain.launch.job import Job

_SETTINGS = "/etc/hanlm"
_CONTAINER = "pytorch"
"""The name by which the operator knows the container that trains."""
_COMMAND = """\
{setup}python -m hanlm.torchrun --nnodes={nodes} --nproc-per-node={processes} --max-restarts={restarts} \\
    --rdzv-backend=c10d --rdzv-endpoint={name}-worker-0:{port} --rdzv-id={name} --rdzv-conf={patience} \\
    -m hanlm pretrain --config {settings}/run.yaml &
agent=$!
trap 'kill -TERM $agent' TERM  # a pod that has to go: save first
wait $agent; code=$?
while [ $code -gt 128 ] && kill -0 $agent 2>/dev/null; do wait $agent; code=$?; done  # the trap ends a wait
[ $code = 75 ] && code=143  # saved: of the codes that the operator starts a pod again for
exit $code
"""


def script(job: Job) -> str:
    """Return the manifest: a ConfigMap with the run's configuration, and the job."""
    return "# Written by `hanlm pretrain --launch kubernetes`; docs/pretrain/launch.md explains it.\n" + yaml.dump_all(
        [_config_map(job), manifest(job)], Dumper=_BlockDumper, sort_keys=False, allow_unicode=True
    )


def manifest(job: Job) -> dict[str, Any]:
    """Return the PyTorchJob (``kubeflow.org/v1``)."""
    options = job.cluster.kubernetes
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": _name(job), "namespace": options.namespace},
        "spec": {
            "nprocPerNode": str(job.processes),
            "runPolicy": {"cleanPodPolicy": "Running"},
            "elasticPolicy": {
                "rdzvBackend": "c10d",
                "minReplicas": job.nodes,
                "maxReplicas": job.nodes,
                "maxRestarts": job.cluster.restarts,
            },
            "pytorchReplicaSpecs": {
                "Worker": {"replicas": job.nodes, "restartPolicy": "ExitCode", "template": {"spec": _pod(job)}}
            },
        },
    }


def _pod(job: Job) -> dict[str, Any]:
    options = job.cluster.kubernetes
    volumes: list[dict[str, Any]] = [
        {"name": "settings", "configMap": {"name": _name(job)}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": options.shared_memory}},
    ]
    mounts = [{"name": "settings", "mountPath": _SETTINGS}, {"name": "shm", "mountPath": "/dev/shm"}]
    if options.claim:
        volumes.append({"name": "storage", "persistentVolumeClaim": {"claimName": options.claim}})
        mounts.append({"name": "storage", "mountPath": options.mount})
    resources = {"nvidia.com/gpu": str(job.gpus_per_node)} if job.gpus_per_node else {}
    resources |= {k: v for k, v in (("cpu", options.cpus), ("memory", options.memory)) if v}
    container: dict[str, Any] = {
        "name": _CONTAINER,
        "image": options.image,
        "command": ["bash", "-c", _command(job)],
        "env": [{"name": name, "value": value} for name, value in job.environment().items()],
        "ports": [{"name": "pytorchjob-port", "containerPort": job.cluster.port}],
        "volumeMounts": mounts,
    }
    if resources:
        container["resources"] = {"limits": dict(resources), "requests": dict(resources)}
    return {"terminationGracePeriodSeconds": options.save_seconds, "containers": [container], "volumes": volumes}


def _command(job: Job) -> str:
    return _COMMAND.format(
        setup=job.cluster.setup + "\n" if job.cluster.setup else "",
        nodes=job.nodes,
        processes=job.processes,
        restarts=job.cluster.restarts,
        name=_name(job),
        port=job.cluster.port,
        patience=job.patience(),
        settings=_SETTINGS,
    )


def _config_map(job: Job) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _name(job), "namespace": job.cluster.kubernetes.namespace},
        "data": {"run.yaml": job.settings()},
    }


def _name(job: Job) -> str:
    return job.cluster.kubernetes.name or job.name


class _BlockDumper(yaml.SafeDumper):
    """Writes text of several lines as a block, so that a person can read the command."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  (what PyYAML calls)
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_BlockDumper.add_representer(str, _block)


def run(job: Job) -> str:
    """Write the manifest, hand it to kubectl where there is one, and return what to say.

    Raises:
        ConfigError: If the cluster refuses it.
    """
    path = job.write("job.yaml", script(job))
    where = f"--namespace {job.cluster.kubernetes.namespace}"
    watch = f"watch it with `kubectl logs --follow {_name(job)}-worker-0 {where}`"
    if shutil.which("kubectl") is None:
        return f"wrote {path}; there is no kubectl here: submit it with `kubectl apply -f {path.name}`, and {watch}."
    asked = subprocess.run(["kubectl", "apply", "-f", str(path)], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise ConfigError(f"Kubernetes refused {path}: {' '.join(asked.stderr.split())}; mend cluster.kubernetes.")
    return f"submitted {_name(job)} ({path}); {watch}, end it with `kubectl delete -f {path}`."
