"""`_kernel.pyi` is what the extension is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_stub_says_what_the_extension_has() -> None:
    """Every name, parameter and default, both ways: by `stubtest`, which looks at the extension as it is loaded."""
    found = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "dpipe._kernel", "--mypy-config-file", "pyproject.toml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert found.returncode == 0, found.stdout + found.stderr
