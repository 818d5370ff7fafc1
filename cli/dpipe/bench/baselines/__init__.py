"""What the kernel is measured against: one module a baseline, each an `Engine` (`dpipe.bench.work`)."""
