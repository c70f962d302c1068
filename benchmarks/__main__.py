"""All benchmarks, one after the other: `python -m benchmarks`. About ten minutes; loopback only.

Each prints its figures with the physical limit that was measured in the same run.
"""

import runpy
import sys
import time

ALL = (
    "decode",
    "ingest",
    "relay",
    "system",
    "rebuild",
    "analytics",
    "trends",
    "funnels",
    "criteria",
    "segments",
    "beside",
    "people",
    "people_pages",
    "people_past",
    "erasure",
)


def main() -> None:
    wanted = sys.argv[1:] or list(ALL)
    for name in wanted:
        print(f"\n== {name}", flush=True)
        started = time.perf_counter()
        sys.argv = [name]
        try:
            runpy.run_module(f"benchmarks.{name}", run_name="__main__")
        except SystemExit as end:  # click ends a script this way
            if end.code:
                raise
        print(f"   {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
