"""Artifacts: complete or absent, never half; what was changed afterwards is refused."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hanlm.artifact import MANIFEST, fingerprint, open_artifact, read_manifest
from hanlm.errors import ArtifactError, ConfigError, InputError
from hanlm.publish import hold, publish, refuse_existing, work_folder


def write(out: Path, text: str = "hello", **options: object) -> None:
    with publish(out, kind="corpus", config={"a": 1}, **options) as draft:  # type: ignore[arg-type]
        (draft.folder / "part.txt").write_text(text, encoding="utf-8")
        draft.record(counts={"documents_kept": 1})


def test_a_published_artifact_opens_with_its_extra_keys(tmp_path: Path):
    write(tmp_path / "out")
    artifact = open_artifact(tmp_path / "out", "corpus")
    assert artifact.manifest["counts"] == {"documents_kept": 1}
    assert artifact.manifest["config"] == {"a": 1}
    assert not work_folder(tmp_path / "out").exists()


def test_a_failure_publishes_nothing_and_keeps_the_resume_state(tmp_path: Path):
    out = tmp_path / "out"

    def fail_halfway() -> None:
        with publish(out, kind="corpus", config={}) as draft:
            (draft.folder / "half.txt").write_text("half", encoding="utf-8")
            (draft.work / "state.json").write_text("{}", encoding="utf-8")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert not out.exists()
    assert [p.name for p in work_folder(out).iterdir()] == ["state.json"]


@pytest.mark.fault(4)
def test_a_full_disk_leaves_the_earlier_artifact_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "out", "good")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hanlm.files.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "out", "bad", overwrite=True)
    assert open_artifact(tmp_path / "out", "corpus").path.joinpath("part.txt").read_text(encoding="utf-8") == "good"
    assert not work_folder(tmp_path / "out").exists()


@pytest.mark.fault(6)
def test_a_flipped_bit_is_refused_and_the_file_named(tmp_path: Path):
    write(tmp_path / "out")
    part = tmp_path / "out" / "part.txt"
    part.write_bytes(b"hellp")
    with pytest.raises(ArtifactError, match=r"part\.txt fails its checksum"):
        open_artifact(tmp_path / "out", "corpus")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda out: (out / "part.txt").write_text("x"), "should hold 5 bytes, got 1"),
        (lambda out: (out / "part.txt").unlink(), "is missing from its artifact"),
        (lambda out: (out / MANIFEST).unlink(), "holds no finished corpus"),
        (lambda out: (out / MANIFEST).write_text("{"), "is corrupt"),
        (lambda out: (out / MANIFEST).write_text("{}"), "is not a manifest of schema"),
    ],
)
def test_damage_gets_one_clear_sentence(tmp_path: Path, damage, sentence):  # type: ignore[no-untyped-def]
    write(tmp_path / "out")
    damage(tmp_path / "out")
    with pytest.raises(ArtifactError, match=sentence):
        open_artifact(tmp_path / "out", "corpus")


def test_another_kind_or_nothing_is_refused(tmp_path: Path):
    write(tmp_path / "out")
    with pytest.raises(ArtifactError, match=r"expected a tokens artifact .* got a corpus"):
        open_artifact(tmp_path / "out", "tokens")
    with pytest.raises(InputError, match="there is nothing"):
        open_artifact(tmp_path / "nowhere", "tokens")


def test_an_existing_result_is_replaced_only_when_asked_and_a_strangers_folder_never(tmp_path: Path):
    write(tmp_path / "out")
    with pytest.raises(ArtifactError, match="--overwrite"):
        write(tmp_path / "out")
    write(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / "part.txt").read_text(encoding="utf-8") == "new"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ArtifactError, match="not an artifact of HanLM"):
        write(precious, overwrite=True)
    assert (precious / "thesis.txt").exists()


def test_the_same_bytes_made_at_another_time_have_the_same_fingerprint(tmp_path: Path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    write(tmp_path / "c", "other")
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b") != fingerprint(tmp_path / "c")
    manifest = read_manifest(tmp_path / "a")
    assert manifest is not None
    assert manifest["files"]["part.txt"]["num_bytes"] == 5


def test_inputs_are_recorded_by_hash(tmp_path: Path):
    source = tmp_path / "in.txt"
    source.write_text("x", encoding="utf-8")
    write(tmp_path / "out", inputs={"input": source})
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["inputs"]["input"] == {"path": str(source), "hash": fingerprint(source)}


def text_of(out: Path) -> str:
    return (open_artifact(out, "corpus").path / "part.txt").read_text(encoding="utf-8")


def test_another_process_that_writes_the_same_output_is_refused_until_the_first_ends(tmp_path: Path):
    script = (
        "import sys; from pathlib import Path; from hanlm.publish import publish\n"
        "with publish(Path(sys.argv[1]), kind='corpus', config={}) as draft:\n"
        "    (draft.folder / 'part.txt').write_text('first'); print('writing', flush=True); sys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "out")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "writing\n"
        with pytest.raises(ArtifactError, match="out is being written by another hanlm process"):
            write(tmp_path / "out", "second")
        first.communicate("")
    assert first.returncode == 0
    assert text_of(tmp_path / "out") == "first"
    write(tmp_path / "out", "second", overwrite=True)
    assert text_of(tmp_path / "out") == "second"


def test_a_killed_holder_keeps_nobody_out_and_one_process_may_hold_twice(tmp_path: Path):
    work = work_folder(tmp_path / "out")
    work.mkdir()
    (work / ".lock").write_text("")
    with hold(tmp_path / "out"):
        write(tmp_path / "out")
    assert text_of(tmp_path / "out") == "hello"
    assert not work.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EBUSY, "Device or resource busy")])
def test_whatever_stops_a_replacement_the_old_result_and_the_new_one_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
):
    out = tmp_path / "out"
    write(out, "old")
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name == "result":
            raise error
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ArtifactError):
            write(out, "new", overwrite=True)
    assert text_of(out) == "old"
    assert text_of(work_folder(out) / "result") == "new"
    write(out, "newer", overwrite=True)
    assert text_of(out) == "newer"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path):
    out = tmp_path / "out"
    write(out, "old")
    out.rename(tmp_path / "out.old")
    with pytest.raises(RuntimeError), publish(out, kind="corpus", config={}, overwrite=True):
        raise RuntimeError
    assert text_of(out) == "old"


@pytest.mark.parametrize(
    ("out", "word"), [(Path(), "name a new folder"), (Path(".."), "new folder"), (Path("/proc"), "mount point")]
)
def test_places_that_no_rename_can_replace_are_refused(out: Path, word: str):
    with pytest.raises((ArtifactError, ConfigError), match=word):
        refuse_existing(out, True)


@pytest.mark.fault(6)
def test_the_manifest_of_a_nested_artifact_is_under_the_outer_ones_checksums(tmp_path: Path):
    with publish(tmp_path / "out", kind="sft", config={}) as draft:
        write(draft.folder / "inner")
    inner = tmp_path / "out" / "inner" / MANIFEST
    inner.write_text(inner.read_text(encoding="utf-8").replace('"a": 1', '"a": 2'), encoding="utf-8")
    with pytest.raises(ArtifactError, match="checksum"):
        open_artifact(tmp_path / "out", "sft")
