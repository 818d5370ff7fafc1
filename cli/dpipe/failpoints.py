"""Named points at which a test kills the process, to prove what a crash leaves behind.

A point does nothing unless the environment variable `DPIPE_FAILPOINT` holds its name; then the process gets
SIGKILL, as from `kill -9`: no handler, no clean-up. For tests only.
"""

import os
import signal

ENVIRONMENT_VARIABLE = "DPIPE_FAILPOINT"
NAMES = (
    "after-landing-copy",
    "after-kernel",
    "after-gate",
    "after-raw-commit",
    "after-quarantine-commit",
    "after-ledger",
)
OF_MAINTENANCE = ("after-compaction-files", "after-compaction-commit", "after-expiry")


def reach(name: str) -> None:
    """Die here when `DPIPE_FAILPOINT` names this point, which must be one of `NAMES` or `OF_MAINTENANCE`."""
    if os.environ.get(ENVIRONMENT_VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
