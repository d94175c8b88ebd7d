"""The wheel: every package, the recipes with the demo's base, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_an_installed_wheel_runs_the_shipped_recipe_from_anywhere(tmp_path: Path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top == {"hanlm", "tokenizer", "corpora", "pretrain", "sft", "eval"}
    assert "hanlm/recipes/demo.yaml" in names
    assert "corpora/sources/known_sets.yaml" in names
    assert "hanlm/recipes/demo/base/model.safetensors" in names

    # -P keeps the checkout out of the path; the unpacked wheel comes before the editable installation.
    script = "import sys; from hanlm.cli import main; main(['run', 'demo', '--out', 'out', '--dry-run'])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "report: hanlm report: would run" in done.stdout


def test_the_lock_is_hashed_and_names_no_index():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if "==" in line and not line.startswith(("#", " "))]
    assert len(pinned) > 50
    assert sum("--hash=sha256:" in line for line in lines) >= len(pinned)
    assert not any("://" in line or line.startswith(("-i", "--index", "--extra-index")) for line in lines)


def test_the_lock_holds_every_dependency_that_the_project_names():
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *(r for group in project["optional-dependencies"].values() for r in group)]
    locked = {
        line.split("==")[0]: line.split("==")[1].split()[0]
        for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
        if "==" in line and line[0].isalpha()
    }
    for text in named:
        requirement = Requirement(text)
        assert requirement.name in locked, f"{requirement.name} is not locked: make lock"
        assert requirement.specifier.contains(locked[requirement.name]), f"{requirement.name}: make lock"
