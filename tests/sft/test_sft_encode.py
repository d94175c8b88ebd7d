"""Rows as tokens: loss on answers alone, as TRL's own preparation has it; what cannot be learned is counted."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from hanlm.bits import IGNORE
from hanlm.chat import ALPACA_ZH
from hanlm.errors import InputError
from hanlm.quarantine import Quarantine
from hanlm.tokenizing import load_tokenizer
from sft.encode import Encoded, encode, require_rows
from sft.formats import read_rows

TURNS = [
    {"role": "system", "content": "简短"},
    {"role": "user", "content": "你好 world\n\n第二行"},
    {"role": "assistant", "content": "我 very 好😀"},
    {"role": "user", "content": "再见"},
    {"role": "assistant", "content": "走吧。\n好的"},
]


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer_folder: Path) -> Any:
    tokenizer: Any = load_tokenizer(tiny_tokenizer_folder)
    tokenizer.chat_template = ALPACA_ZH
    return tokenizer


def encoded_of(path: Path, tokenizer: Any, *, max_length: int = 400, valid_fraction: float = 0.0) -> Any:
    quarantine, encoded = Quarantine(), Encoded()
    rows = read_rows([path], quarantine, encoded.dropped)
    encode(rows, tokenizer, quarantine, encoded, max_length=max_length, valid_fraction=valid_fraction)
    return encoded, quarantine


def test_labels_equal_those_that_trl_makes_with_assistant_only_loss(
    tokenizer: Any, tiny_model_folder: Path, tmp_path: Path, rows_writer: Any
):
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    rows = [{"messages": TURNS}, {"messages": TURNS[1:3]}]
    encoded, _ = encoded_of(rows_writer(tmp_path / "rows.jsonl", rows), tokenizer)
    arguments = SFTConfig(
        output_dir=str(tmp_path), assistant_only_loss=True, max_length=400, use_cpu=True, bf16=False, report_to="none"
    )
    model: Any = AutoModelForCausalLM.from_pretrained(str(tiny_model_folder))
    theirs: Any = SFTTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    ).train_dataset
    assert [row.ids for row in encoded.train] == theirs["input_ids"][:]
    assert [row.labels for row in encoded.train] == theirs["labels"][:]


def test_loss_and_gradients_equal_those_of_trl_though_only_answers_reach_the_head(
    tokenizer: Any, base_with_report: Path, tmp_path: Path, rows_file: Path, config_maker: Any
):
    from trl import SFTTrainer

    from hanlm.log import Metrics, progress
    from hanlm.models import load_model
    from hanlm.signals import StopRequest
    from sft.budget import Budget
    from sft.trainer import AnswerTrainer, build_trainer, make_watch

    encoded, _ = encoded_of(rows_file, tokenizer)
    budget = Budget(num_steps=1)
    with progress(1.0, "sft") as bar:
        trainer: Any = build_trainer(
            config_maker(base_with_report, rows_file, tmp_path),
            load_model(base_with_report),
            tokenizer,
            train=encoded.train,
            order=[0, 1, 2],
            valid=[],
            budget=budget,
            watch=make_watch(budget, StopRequest(), Metrics(tmp_path), bar),
            checkpoints=tmp_path,
        )
    batch = trainer.data_collator([{"input_ids": row.ids, "labels": row.labels} for row in encoded.train])
    results: list[Any] = []
    for compute in (AnswerTrainer.compute_loss, SFTTrainer.compute_loss):
        for num_items in (None, 37):
            trainer.model.zero_grad()
            loss = compute(trainer, trainer.model, dict(batch), num_items_in_batch=num_items)
            loss.backward()
            gradients = [p.grad.clone() for p in trainer.model.parameters() if p.grad is not None]
            results.append((loss.detach(), gradients))
    torch.testing.assert_close(results[0], results[2])
    torch.testing.assert_close(results[1], results[3])
    assert any(gradient.any() for gradient in results[0][1])


def test_the_labels_spell_exactly_the_answers_and_their_end_tokens(tokenizer: Any, tmp_path: Path, rows_writer: Any):
    encoded, _ = encoded_of(rows_writer(tmp_path / "rows.jsonl", [{"messages": TURNS}]), tokenizer)
    (row,) = encoded.train
    learned = [label for label in row.labels if label != IGNORE]
    assert tokenizer.decode(learned) == "我 very 好😀</s>走吧。\n好的</s>"
    assert row.labels[-1] == tokenizer.eos_token_id
    assert all(label in (IGNORE, token) for token, label in zip(row.ids, row.labels, strict=True))


def test_a_row_that_spells_a_special_token_is_set_aside(tokenizer: Any, tmp_path: Path, rows_writer: Any):
    rows = [{"instruction": "x", "output": "a</s>b"}, {"instruction": "<s>", "output": "y"}]
    encoded, quarantine = encoded_of(
        rows_writer(tmp_path / "rows.jsonl", [*rows, {"instruction": "x", "output": "y"}]), tokenizer
    )
    assert len(encoded.train) == 1
    assert quarantine.counts == {"special_token_in_text": 2}


def test_a_row_that_the_template_refuses_is_set_aside_alone(tokenizer: Any, tmp_path: Path, rows_writer: Any):
    class Strict:
        """The tokenizer with a template that takes no system message."""

        chat_template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}" + ALPACA_ZH
        all_special_tokens = tokenizer.all_special_tokens

        def apply_chat_template(self, messages: Any, chat_template: Any = None, **options: Any) -> Any:
            return tokenizer.apply_chat_template(messages, chat_template=chat_template or self.chat_template, **options)

    rows = [{"messages": TURNS}, {"messages": TURNS[1:]}]
    encoded, quarantine = encoded_of(rows_writer(tmp_path / "rows.jsonl", rows), Strict())
    assert len(encoded.train) == 1
    assert quarantine.counts == {"refused_by_template": 1}


def test_a_long_row_is_cut_and_one_whose_answer_is_cut_off_is_dropped_and_counted(
    tokenizer: Any, tmp_path: Path, rows_writer: Any
):
    rows = [
        {"instruction": "短", "output": "长" * 100},
        {"instruction": "长" * 100, "output": "短"},
        {"instruction": "短", "output": "短"},
    ]
    encoded, quarantine = encoded_of(rows_writer(tmp_path / "rows.jsonl", rows), tokenizer, max_length=60)
    assert sorted(len(row.ids) for row in encoded.train)[-1] == 60
    assert len(encoded.train) == 2
    assert encoded.dropped == Counter(prompt_too_long=1)
    assert encoded.counts(quarantine)["rows_cut"] == 1


def test_rows_of_one_text_through_several_templates_are_held_out_together(
    tokenizer: Any, tmp_path: Path, rows_writer: Any
):
    rows = [{"instruction": f"问{t}", "input": f"文本{i}", "output": "好"} for i in range(40) for t in range(3)]
    encoded, _ = encoded_of(rows_writer(tmp_path / "rows.jsonl", rows), tokenizer, valid_fraction=0.3)
    assert len(encoded.valid) % 3 == 0
    assert 0 < len(encoded.valid) < len(encoded.train)


@pytest.mark.fault(14)
def test_too_many_malformed_rows_fail_the_run_and_so_does_nothing_to_train_on(
    tokenizer: Any, tmp_path: Path, rows_writer: Any
):
    rows = [{"instruction": "x", "output": "y"}, {"nothing": 1}]
    encoded, quarantine = encoded_of(rows_writer(tmp_path / "rows.jsonl", rows), tokenizer)
    with pytest.raises(InputError, match=r"unknown_format: 1.*Alpaca.*messages.*ShareGPT"):
        require_rows(encoded, quarantine, 0.05)
    empty, quarantine = encoded_of(rows_writer(tmp_path / "b.jsonl", [{"instruction": "x", "output": ""}]), tokenizer)
    with pytest.raises(InputError, match="no_target"):
        require_rows(empty, quarantine, 0.05)


def test_the_line_for_the_user_tells_what_became_of_every_row(tokenizer: Any, tmp_path: Path, rows_writer: Any):
    rows = [
        *({"instruction": f"问{i}", "output": "好"} for i in range(1200)),
        {"instruction": "问", "output": "长" * 300},
        {"instruction": "问", "output": " "},
        {"instruction": "问", "output": None},
        {"nothing": 1},
        {"nothing": 2},
    ]
    encoded, quarantine = encoded_of(rows_writer(tmp_path / "rows.jsonl", rows), tokenizer, max_length=100)
    assert encoded.summary(quarantine) == (
        "rows: 1,205 in, 1,201 to train on, 0 held out (1 of these cut at --max-length), 1 (no_target: 1) dropped, "
        "3 (unknown_format: 2, null_field: 1) quarantined"
    )
