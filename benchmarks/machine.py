"""How fast this machine is at the moment: virtual ones change by half within minutes."""

import time


def loop_seconds() -> float:
    """An empty Python loop of ten million turns; 0.4 on a quick day of the machine of
    docs/benchmarks.md.
    """
    started = time.perf_counter()
    for _ in range(10_000_000):
        pass
    return round(time.perf_counter() - started, 2)
