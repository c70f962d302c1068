"""Run by the tests as a process: a relay that is killed at its n-th step, if one is named.

relay_process.py [STEP N]   STEP: before-publish, mid-publish, after-publish
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from infrastructure import message_bus, relay, settings
from infrastructure.message_bus import Bus, Outgoing


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class MortalBus(Bus):
    """Dies with the n-th page at the step it was told."""

    left = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    step = sys.argv[1] if len(sys.argv) > 1 else ""

    async def publish(self, messages: Sequence[Outgoing], after: int) -> int:
        MortalBus.left -= 1
        if self.left == 0 and self.step == "before-publish":
            die()
        if self.left == 0 and self.step == "mid-publish":
            await super().publish(messages[: len(messages) // 2], after)
            die()
        last = await super().publish(messages, after)
        if self.left == 0 and self.step == "after-publish":
            die()
        return last


async def connect(url: str, name: str) -> Bus:
    bus = await message_bus.connect(url, name)
    bus.__class__ = MortalBus
    return bus


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await relay.serve(settings.load(), stop, connect)


asyncio.run(main())
