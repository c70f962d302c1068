"""Prints every new event: python subscribe.py nats://user:password@127.0.0.1:4222"""

import asyncio
import json
import sys

import nats


async def main() -> None:
    stream = (await nats.connect(sys.argv[1])).jetstream()
    batches = await stream.subscribe("appizer.v1.>", ordered_consumer=True, deliver_policy="new")
    async for batch in batches.messages:
        for event in json.loads(batch.data):
            print(event["type"], batch.subject, json.dumps(event.get("data")), flush=True)


asyncio.run(main())
