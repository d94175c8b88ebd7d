"""Templates that turn a labelled text into an instruction with an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hanlm.chat import user_text
from hanlm.config import read_yaml, unknown_key
from hanlm.errors import ConfigError

_TEXT = "{text}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """One way to ask for a text's label."""

    name: str
    instruction: str
    """What is asked; may hold ``{text}``."""
    input: str
    """What follows the instruction; ``{text}`` stands for the text."""
    labels: dict[str, str]
    """The answer for each label."""

    def instruction_row(self, text: str, label: str) -> dict[str, str]:
        """Return an Alpaca row that teaches the answer; ``group`` names the template."""
        instruction, input_text = self._filled(text)
        return {"instruction": instruction, "input": input_text, "output": self.labels[label], "group": self.name}

    def choice_row(self, text: str, label: str) -> dict[str, Any]:
        """Return a forced choice among the answers of all labels, asked with the very text that training rows ask."""
        content = user_text(*self._filled(text))
        return {
            "prompt": content,
            "messages": [{"role": "user", "content": content}],
            "choices": list(self.labels.values()),
            "label": list(self.labels).index(label),
            "group": self.name,
        }

    def _filled(self, text: str) -> tuple[str, str]:
        # Not str.format: a text or a template may hold braces of its own.
        return self.instruction.replace(_TEXT, text), self.input.replace(_TEXT, text)


def read_templates(path: Path) -> list[Template]:
    """Read a YAML file of ``templates: [{name, instruction, input, labels}]``.

    Raises:
        InputError: If there is no such file.
        ConfigError: If a template lacks a field, holds no ``{text}``, or the templates' labels differ.
    """
    items: object = read_yaml(path).get("templates")
    if not isinstance(items, list) or not items:
        raise ConfigError(f"{path} should hold a list named templates with at least one template.")
    templates = [
        _template(item, f"{path}, template {i}") for i, item in enumerate(cast("list[object]", items), start=1)
    ]
    if len({t.name for t in templates}) < len(templates):
        raise ConfigError(f"{path}: every template needs a name of its own.")
    if len({frozenset(t.labels) for t in templates}) > 1:
        raise ConfigError(f"{path}: all templates should answer the same labels.")
    return templates


def _template(item: object, where: str) -> Template:
    if not isinstance(item, Mapping):
        raise ConfigError(f"{where} should hold name, instruction, input and labels.")
    fields = cast("Mapping[str, Any]", item)
    known = ("name", "instruction", "input", "labels")
    for key in fields:
        if key not in known:
            raise ConfigError(unknown_key(str(key), known, where))
    labels = fields.get("labels")
    texts = [fields.get("name"), fields.get("instruction"), fields.get("input", "")]
    if not isinstance(labels, Mapping) or len(cast("Mapping[Any, Any]", labels)) < 2:
        raise ConfigError(f"{where} should give an answer for each of at least two labels.")
    answers = {str(k): str(v) for k, v in cast("Mapping[Any, Any]", labels).items()}
    if not all(isinstance(text, str) for text in texts) or not all(a.strip() for a in answers.values()):
        raise ConfigError(f"{where}: name, instruction, input and the answers should be text, the answers not blank.")
    if len(set(answers.values())) < len(answers):
        raise ConfigError(f"{where}: two labels have the same answer.")
    template = Template(name=str(texts[0]), instruction=str(texts[1]), input=str(texts[2]), labels=answers)
    if _TEXT not in template.instruction + template.input:
        raise ConfigError(f"{where} nowhere holds {_TEXT}, so the text would not be asked about.")
    return template
