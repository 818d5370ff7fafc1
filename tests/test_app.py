"""What an error looks like at the command line's end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from dpipe import app, output

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("verbose", "traceback"), [(False, False), (True, True)])
def test_an_internal_error_ends_with_2_and_verbose_shows_where(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    verbose: bool,
    traceback: bool,
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app, "app", broken)
    monkeypatch.setattr(sys, "argv", ["dpipe"])
    monkeypatch.setattr(output.options, "verbose", verbose)
    with pytest.raises(SystemExit) as ended:
        app.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "internal error: ZeroDivisionError: by nothing" in said
    assert ("Traceback" in said) is traceback
