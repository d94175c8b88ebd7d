"""The new tokens on the report's page: the most useful, the longest, the rarest, and all of them."""

from collections.abc import Sequence
from typing import Final

from hanlm.page import Page
from hanlm.page_tokens import Token
from tokenizer.pieces import SPACE
from tokenizer.result import Result
from tokenizer.spelling import is_text, shown
from tokenizer.usage import TokenUse, Usage

_NUM_ROWS: Final = 25
_NUM_CHIPS: Final = 60
_PER_LINE: Final = 10


def add_new_tokens(page: Page, result: Result, usage: Usage) -> None:
    """Add the section."""
    page.section("New tokens")
    if usage.num_chars:
        page.paragraph(
            f"Uses are counted on {usage.num_chars:,} characters of held-out and training text (of each domain alike), "
            "with all new tokens in place. A use saves what the base needs for the same text, less one."
        )
        used = [token for token in usage.tokens if token.num_uses]
        useful = sorted(used, key=lambda token: (-token.num_saved, token.id))
        longer = [token for token in useful if _num_chars(token) > 1][:_NUM_ROWS]
        if longer:
            page.table(
                ["token", "id", "uses", "tokens saved"],
                [[shown(token.spelled), f"{token.id}", token.num_uses, token.num_saved] for token in longer],
                caption="The most useful tokens of two or more characters",
            )
        single = [token for token in useful if _num_chars(token) == 1 and is_text(token.spelled)]
        _chips(page, "The most useful single characters, each with its id", single)
    longest = sorted(usage.tokens, key=lambda token: (-_num_chars(token), token.id))
    _chips(page, "The longest, each with its id", longest)
    if usage.num_chars:
        rarest = sorted(usage.tokens, key=lambda token: (token.num_uses, -token.id))
        unused = sum(token.num_uses == 0 for token in rarest)
        _chips(page, f"The rarest ({unused:,} of {len(rarest):,} are not used in this text at all)", rarest)
    else:
        _chips(page, "The last ones added", usage.tokens[::-1])
    _left_out(page, result)
    page.details("All, in order of their ids", _wrapped(usage.tokens))


def _chips(page: Page, label: str, tokens: Sequence[TokenUse]) -> None:
    if tokens:
        page.tokens(
            label,
            [
                Token(
                    text=shown(token.spelled),
                    note=str(token.id),
                    hint=f"id {token.id:,}: {token.num_uses:,} uses, {token.num_saved:,} tokens saved",
                )
                for token in tokens[:_NUM_CHIPS]
            ],
        )


def _left_out(page: Page, result: Result) -> None:
    if left_out := result.vocabulary.left_out:
        page.table(
            ["left out of the merged model because", "pieces", "such as"],
            [[why, len(left), "  ".join(map(_shown_piece, left[:12]))] for why, left in left_out.items()],
        )


def _shown_piece(piece: str) -> str:
    return shown(piece.replace(SPACE, " ").encode())


def _wrapped(tokens: Sequence[TokenUse]) -> str:
    lines = (tokens[i : i + _PER_LINE] for i in range(0, len(tokens), _PER_LINE))
    return "\n".join(f"{line[0].id}  {'  '.join(shown(token.spelled) for token in line)}" for line in lines)


def _num_chars(token: TokenUse) -> int:
    return len(token.spelled.decode("utf-8", "replace"))
