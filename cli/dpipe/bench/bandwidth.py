"""How fast memory is read here: what the kernel's speed is a share of."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

# Much more than most caches hold; the best of some rounds is the one that others disturbed least.
BYTES, ROUNDS = 512 << 20, 5
# Of the machine's memory no more than one part in so many is taken.
SHARE = 8
WORD = 8


def memory_bandwidth(threads: int) -> float:
    """Bytes a second at which so many threads read memory, each a part of its own from its beginning to its end.

    They sum integers, as pyarrow does it: one pass in vector instructions, and nothing is written.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    length = min(BYTES, memory // SHARE) // WORD // threads
    # Pages that nothing was written to are one page of zeros, which stays in the cache.
    words = pa.repeat(pa.scalar(1, pa.int64()), length * threads)
    parts = [words.slice(number * length, length) for number in range(threads)]
    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(ROUNDS):
            started = time.perf_counter()
            list(pool.map(pc.sum, parts))
            seconds.append(time.perf_counter() - started)
    return length * threads * WORD / min(seconds)
