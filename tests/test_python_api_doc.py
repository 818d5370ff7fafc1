"""The examples of `docs/python.md` do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parent.parent / "docs" / "python.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


def test_every_example_runs_and_prints_what_is_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "docs"}
    examples = list(EXAMPLE.finditer(text))
    assert len(examples) == text.count("```python\n")
    for example in examples:
        line = text[: example.start()].count("\n") + 1
        # Errors point into the page.
        exec(compile("\n" * line + example[1], str(PAGE), "exec"), names)
        assert capsys.readouterr().out == (example[2] or ""), f"line {line}"
