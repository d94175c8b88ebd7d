"""``vocab_report.json`` and ``vocab_report.html``: what was added, what it saves, and that nothing broke."""

from pathlib import Path
from typing import Any

from tokenizer.coverage import character_tables, coverage
from tokenizer.json_file import write_json
from tokenizer.report_page import report_page
from tokenizer.result import Findings, Result, findings

_NUM_EXAMPLES = 60


def write_report(folder: Path, result: Result) -> Findings:
    """Write both forms of the report into ``folder``; returns what they tell of the tokenizers."""
    found = findings(result)
    write_json(folder / "vocab_report.json", report_keys(result, found))
    report_page(result, found).write(folder / "vocab_report.html")
    return found


def report_keys(result: Result, found: Findings) -> dict[str, Any]:
    """Return the contents of ``vocab_report.json``."""
    measure, pieces = result.measure, result.vocabulary.pieces
    return {
        # Where nothing was added, the rows of an earlier extension are still the new ones.
        "num_base_tokens": result.base.num_tokens if pieces else result.num_original or result.base.num_tokens,
        "num_original_tokens": result.num_original,
        "num_new_tokens": len(result.vocabulary.pieces),
        "num_requested_tokens": result.num_requested,
        "num_rows": result.num_rows,
        "verification": result.verification.as_report(),
        "tokens_per_char": {domain: m.ratios() for domain, m in measure.domains.items()} if measure else {},
        "tokens_per_char_overall": measure.overall.ratios() if measure else {},
        "pruned": result.pruned.as_report() if result.pruned else None,
        "measured_on": result.corpus.measured_on or "nothing: no corpus was given",
        "compared": _compared(found),
        "size_curve": measure.size_curve if measure else [],
        "advice": result.advice.as_report() if result.advice else None,
        "character_coverage": _coverage(found),
        "num_documents": result.corpus.num_documents,
        "quarantined": dict(result.quarantined),
        "new_pieces": result.vocabulary.pieces,
        "gains": result.vocabulary.gains,
        "usage": {
            "num_chars": found.usage.num_chars,
            "num_uses": [token.num_uses for token in found.usage.tokens],
            "num_lexicon_only": found.num_lexicon_only,
            "num_saved": [token.num_saved for token in found.usage.tokens],
        },
        "left_out": {
            reason: {"num_pieces": len(left), "examples": left[:_NUM_EXAMPLES]}
            for reason, left in result.vocabulary.left_out.items()
        },
    }


def _compared(found: Findings) -> list[dict[str, Any]]:
    return [
        {
            "name": tokenizer.name,
            "path": str(tokenizer.path),
            "num_tokens": tokenizer.num_tokens,
            "tokens_per_char": measured.tokens_per_char,
            "overall": measured.overall,
            "unknown_share": measured.unknown_share,
            "character_coverage": coverage(chars),
        }
        for tokenizer, measured, chars in zip(found.tokenizers[2:], found.compared, found.single_chars[2:], strict=True)
    ]


def _coverage(found: Findings) -> dict[str, dict[str, int]]:
    base, extended = (coverage(chars) for chars in found.single_chars[:2])
    return {
        table.key: {"num_chars": len(table.chars), "base": base[table.key], "extended": extended[table.key]}
        for table in character_tables()
    }
