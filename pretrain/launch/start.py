"""`hanlm pretrain --launch`: checks, writes, starts or submits."""

from pathlib import Path

from hanlm.errors import ConfigError
from hanlm.log import say
from pretrain.config import PretrainConfig
from pretrain.launch import agents, kubernetes, slurm
from pretrain.launch.job import Job


def launch(config: PretrainConfig) -> Path | None:
    """Start a training elsewhere, or on many processes here.

    Returns:
        The model, or None where a job was submitted that trains it later.

    Raises:
        HanLMError: If the job was refused, or failed.
    """
    job = job_of(config)
    if job.launcher in ("local", "ssh"):
        return agents.run(job)
    say(slurm.run(job) if job.launcher == "slurm" else kubernetes.run(job))
    return None


def plan_launch(config: PretrainConfig) -> list[str]:
    """Return what would be launched, and the script, line by line."""
    job = job_of(config)
    writers = {"slurm": slurm.script, "kubernetes": kubernetes.script, "local": agents.script, "ssh": agents.script}
    return [
        f"launch by {job.launcher}: {job.nodes} nodes of {job.processes} processes",
        f"{job.folder / 'run.yaml'}:",
        *_indented(job.settings()),
        "and:",
        *_indented(writers[job.launcher](job)),
    ]


def _indented(text: str) -> list[str]:
    return [f"    {line}".rstrip() for line in text.rstrip().splitlines()]


def job_of(config: PretrainConfig) -> Job:
    """Return the job that a configuration asks for."""
    assert config.launch is not None
    if config.resume_step is not None:
        raise ConfigError(
            "--resume-step cannot be launched: a job that restarts would go back every time; go back once without "
            "--launch, stop that run after its first checkpoint, and launch without --resume-step."
        )
    return Job(
        config=config,
        launcher=config.launch,
        nodes=config.nodes,
        gpus_per_node=config.gpus_per_node or 0,
        cluster=config.cluster,
    )
