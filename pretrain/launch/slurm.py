"""The batch script of a training: one agent a node, restarts in place, and the queue again after a stop."""

import shlex

from hanlm.slurm import submit
from pretrain.launch.job import Job


def script(job: Job) -> str:
    """Return what sbatch is given."""
    return "\n".join(
        [
            "#!/bin/bash",
            "# Written by `hanlm pretrain --launch slurm`; docs/pretrain/launch.md explains every line.",
            *(f"#SBATCH --{name}" + (f"={value}" if value else "") for name, value in _options(job).items()),
            "",
            "trap : TERM  # the processes are told to save; this shell only waits for them",
            *job.setup(),
            "",
            'HANLM_NODES=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | paste -sd,)',
            "export HANLM_NODES RDZV_HOST=${HANLM_NODES%%,*} RDZV_PORT=$((20000 + SLURM_JOB_ID % 20000 * 2))",
            f"export REFUSED={shlex.quote(str(job.folder / 'refused'))}",
            'rm -f "$REFUSED"',
            "",
            *_agent(job),
            "",
            f"for attempt in $(seq 0 {job.cluster.restarts}); do",
            '    export RDZV_ID="$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}-$attempt"',
            "    srun --kill-on-bad-exit=0 --wait=60 bash -c agent",
            "    code=$?",
            '    [ -e "$REFUSED" ] && code=2',
            '    case "$code" in 0 | 2 | 75) break ;; esac',
            '    echo "attempt $attempt ended with code $code" >&2',
            "    sleep 5",
            "done",
            "",
            *_restart(job),
            'exit "$code"',
            "",
        ]
    )


def _agent(job: Job) -> list[str]:
    """Return the function that runs once on every node."""
    rendezvous = '--rdzv-backend=c10d --rdzv-endpoint="$RDZV_HOST:$RDZV_PORT" --rdzv-id="$RDZV_ID"'
    return [
        "agent() {",
        "    trap : TERM  # Slurm signals this shell too, which is to hand on the code",
        f"    {shlex.quote(job.python())} -m hanlm.torchrun --nnodes={job.nodes} --nproc-per-node={job.processes} \\",
        f"        {rendezvous} --rdzv-conf={job.patience()} \\",
        f"        -m hanlm pretrain --config {shlex.quote(str(job.folder / 'run.yaml'))}",
        "    local code=$?",
        '    [ "$code" = 2 ] && touch "$REFUSED"  # bad input: another try would not help',
        '    return "$code"',
        "}",
        "export -f agent",
    ]


def _options(job: Job) -> dict[str, str]:
    slurm = job.cluster.slurm
    log = str(job.folder / ("slurm-%A_%a.out" if slurm.restart == "array" else "slurm-%j.out"))
    options = {
        "job-name": job.name,
        "nodes": str(job.nodes),
        "ntasks-per-node": "1",
        "gpus-per-node": str(job.gpus_per_node or ""),
        "cpus-per-task": str(slurm.cpus_per_task or job.processes * job.cluster.threads),
        "time": slurm.time,
        "partition": slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "output": f'"{log}"' if " " in log else log,
        "open-mode": "append",
        "signal": f"TERM@{slurm.save_seconds}",
    }
    options = {name: value for name, value in options.items() if value}
    if slurm.restart == "array":
        options["array"] = f"0-{slurm.max_requeues}%1"
    else:
        options["requeue"] = ""
    return options | slurm.sbatch_args


def _restart(job: Job) -> list[str]:
    """Return the lines that act on 75: all is saved, and the same job may go on. A job that was cancelled may not."""
    slurm = job.cluster.slurm
    running = '[ "$(squeue --noheader --job "$SLURM_JOB_ID" --format %T)" = RUNNING ]'
    if slurm.restart == "array":
        return ['[ "$code" = 75 ] || scancel --state=PENDING "$SLURM_ARRAY_JOB_ID"  # else the next task goes on']
    return [
        f'if [ "$code" = 75 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {slurm.max_requeues} ] && {running}; then',
        '    scontrol requeue "$SLURM_JOB_ID"',
        "fi",
    ]


def run(job: Job) -> str:
    """Write script and configuration, submit, and return what to say.

    Raises:
        ConfigError: If Slurm refuses the job.
    """
    job.write("run.yaml", job.settings())
    path = job.write("job.sbatch", script(job))
    number = submit(path)
    return (
        f"submitted job {number} ({path}); watch it with `squeue --job {number}` and {job.folder}/slurm-{number}*.out, "
        f"end it with `scancel {number}`. It goes on by itself until {job.config.out} is there."
    )
