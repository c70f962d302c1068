"""How many events a second one core takes in, from the bytes of a request to the bytes of the log.

    python -m benchmarks.decode

A batch of 100 Segment tracks of some 600 bytes (12 properties and a context), each step timed
alone and all together; best of many short runs, since the machine has other work. No I/O.
"""

import gc
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from api.dialects.calls import CALLS, admit
from api.dialects.request import Parsed
from commands.ingest import Outcome, outcomes, to_new_events
from commands.ports import Receipt
from domain.tracking import Client
from infrastructure import codec

BATCH = 100
APP = uuid.uuid4()
EDGE = Client("198.51.100.4", "analytics-python/2.4.0")
NOW = datetime.now(UTC)


def track(i: int) -> dict[str, Any]:
    return {
        "integrations": {},
        "anonymousId": None,
        "properties": {
            "order_id": f"order-{i}",
            "revenue": 19.9,
            "currency": "EUR",
            "coupon": "SPRING",
            "items": 3,
            "shipping": 4.5,
            "tax": 1.9,
            "category": "Books",
            "sku": f"A1-{i}",
            "new": True,
            "step": 2,
            "source": "newsletter of the week",
        },
        "timestamp": NOW.isoformat(timespec="milliseconds"),
        "context": {
            "ip": "203.0.113.7",
            "userAgent": "Mozilla/5.0 (X11)",
            "library": {"name": "analytics-python", "version": "2.4.0"},
        },
        "userId": f"user-{i}",
        "type": "track",
        "event": "Order Completed",
        "messageId": str(uuid.uuid4()),
    }


def best(job: Callable[[], object]) -> float:
    """Seconds of the fastest of 1,000 runs."""
    fastest = 1.0
    for _ in range(1000):
        started = time.perf_counter()
        job()
        fastest = min(fastest, time.perf_counter() - started)
    return fastest


def new_id() -> str:
    return uuid.uuid4().hex


def main() -> None:
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)  # as the roles set it
    items = [track(i) for i in range(BATCH)]
    body = json.dumps({"batch": items, "sentAt": NOW.isoformat(), "writeKey": "key"}).encode()
    call = CALLS["/v1/batch"]

    def parse() -> Parsed:
        return call.parse(body)

    def judge(parsed: Parsed) -> list[Any]:
        return admit(call, parsed, received_at=NOW, client=EDGE, new_id=new_id)

    parsed = parse()
    messages = judge(parsed)
    events = to_new_events(APP, messages)
    receipts = [Receipt(position) for position in range(BATCH)]
    told: list[Outcome] = outcomes(receipts, events)

    def everything() -> bytes:
        new = to_new_events(APP, judge(parse()))
        for event in new:
            codec.encode(event.event)
        return call.answer(outcomes(receipts, new), messages).body

    print(f"one event: {len(json.dumps(items[0]))} bytes; a batch: {BATCH}, {len(body)} bytes\n")
    for name, job in {
        "parse the request": parse,
        "admit (decode, check, translate)": lambda: judge(parsed),
        "stream ids": lambda: to_new_events(APP, messages),
        "encode for the log": lambda: [codec.encode(event.event) for event in events],
        "outcomes": lambda: outcomes(receipts, events),
        "answer": lambda: call.answer(told, messages),
        "everything": everything,
    }.items():
        seconds = best(job) / BATCH
        print(f"{name:34} {seconds * 1e6:6.2f} µs/event {1 / seconds:12,.0f} events/s")


if __name__ == "__main__":
    main()
