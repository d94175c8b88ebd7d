"""What a run remembers of its stages, in ``run.json``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hanlm.artifact import fingerprint, open_artifact, read_manifest
from hanlm.errors import HanLMError, InputError
from hanlm.files import replace_text
from hanlm.launch import Outcome


class RunState:
    """``run.json``: what each stage was made from, how long it took, how much memory it needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.data = {"stages": {}}
        except ValueError:
            self.data = {}
        if not _holds_stages(self.data):
            raise InputError(f"{path} is corrupt; remove it, and every stage is run again.")

    def start(self, recipe: str, names: list[str]) -> None:
        self.data["recipe"] = recipe
        self.data["stages"] = {name: s for name, s in self.data["stages"].items() if name in names}
        self._save()

    def is_finished(self, name: str, description: Mapping[str, Any]) -> bool:
        entry = self.data["stages"].get(name, {})
        return (
            entry.get("status") == "done"
            and entry["made_from"] == json.loads(json.dumps(description))
            and _is_intact(Path(entry["out"]), entry["hash"])
        )

    def is_continued(self, name: str, description: Mapping[str, Any]) -> bool:
        entry = self.data["stages"].get(name, {})
        return entry.get("status") == "started" and entry["made_from"] == json.loads(json.dumps(description))

    def begin(self, name: str, description: Mapping[str, Any]) -> None:
        before = self.data["stages"].get(name, {}) if self.is_continued(name, description) else {}
        self.data["stages"][name] = {
            "status": "started",
            "made_from": dict(description),
            "seconds": before.get("seconds", 0.0),
            "peak_rss_bytes": before.get("peak_rss_bytes", 0),
        }
        self._save()

    def end(self, name: str, place: Path, outcome: Outcome) -> None:
        entry = self.data["stages"][name]
        entry["seconds"] = round(entry["seconds"] + outcome.seconds, 2)
        entry["peak_rss_bytes"] = max(entry["peak_rss_bytes"], outcome.peak_rss_bytes)
        if outcome.exit_code == 0:
            entry |= {"status": "done", "out": str(place), "hash": fingerprint(place)}
        self._save()

    def _save(self) -> None:
        replace_text(self.path, json.dumps(self.data, ensure_ascii=False, indent=1) + "\n")


def _holds_stages(data: Any) -> bool:
    return isinstance(data, dict) and isinstance(data.get("stages"), dict)  # pyright: ignore[reportUnknownMemberType]


def _is_intact(out: Path, expected: str) -> bool:
    """Say whether an artifact is there, the one that was made, with every byte as it was published."""
    try:
        manifest = read_manifest(out)
        return manifest is not None and open_artifact(out, manifest["kind"]).hash == expected
    except HanLMError:
        return False
