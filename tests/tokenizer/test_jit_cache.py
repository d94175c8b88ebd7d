"""Compiled code that is kept on disk follows every source it was made from."""

import subprocess
import sys
from pathlib import Path

CALLEE = "from hanlm.jit import inner_jit\n\n\n@inner_jit\ndef one():\n    return {}\n"
CALLER = "from bpe_callee import one\nfrom hanlm.jit import entry_jit\n\n\n@entry_jit\ndef two(): return 2 * one()\n"


def test_a_changed_callee_is_compiled_anew(tmp_path: Path):
    (tmp_path / "bpe_caller.py").write_text(CALLER)

    def result(number: int) -> str:
        (tmp_path / "bpe_callee.py").write_text(CALLEE.format(number))
        program = "from bpe_caller import two; print(two(), len(two.stats.cache_hits))"
        return subprocess.run(
            [sys.executable, "-B", "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    assert result(3) == "6 0"
    assert result(3) == "6 1"
    assert result(4) == "8 0"
