"""When Python looks for garbage in cycles, of which the roles make hardly any."""

import gc

# What Python would do every 700 new objects walks caches of a million entries again and again.
_THRESHOLDS = (100_000, 20, 100)


def seldom() -> None:
    """To be called when a role has started: what lives by now lives as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
