"""A sender, as a process of its own, that keeps books: everything it sent and was told.

load.py LEDGER SEED URL    with [{"app": ID, "write": KEY, "secret": KEY}, ...] on stdin

Writes one JSON object a line to LEDGER, synced before each request and after each answer:

send      n, app, route, items: each {id, topic, said} or {bad}, the text of a bad one
told      n, status, verdicts: each {is, event_id, position}; Segment's routes tell no positions
unknown   n, why: the connection broke, or 503; it is sent again later, or given up
unsent    n, why: no connection
odd       n, status, body: an answer that should not be
read      what a reader was told: app, position, count
down      what a reader was told instead of an answer

On SIGTERM it starts nothing new, sends again what is unknown and not given up, and ends. It
knows nothing of the product but its HTTP interface.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from urllib.parse import unquote, urlsplit

WORKERS = 4
PATIENCE_SECONDS = 180
BASE = datetime.now(UTC).replace(microsecond=0) - timedelta(days=20)
PEOPLE = [*(f"user {n}" for n in range(150)), "Zoë", "名前", "a'b\\c", "x" * 200]
BROWSERS = [f"browser-{n}" for n in range(150)]
NAMES = ["signed up", "bought", "Käse", "viewed ⚡", "a" * 100]
VALUES = [
    None,
    True,
    0,
    -1.5,
    2**53,
    1e-7,
    "",
    "pro",
    "üñí ⚡",
    [1, [2]],
    {"a": {"b": None}},
    "'\\",
]
SINGLE = {
    "/v1/events": "native",
    "/v1/events/track": "native",
    "/v1/track": "track",
    "/v1/page": "page",
    "/v1/screen": "screen",
    "/v1/identify": "identify",
    "/v1/group": "group",
    "/v1/alias": "alias",
}
NATIVE_BATCH, SEGMENT_BATCHES = "/v1/events/batch", ("/v1/batch", "/v1/import")
BAD_NATIVE = [
    '{"user_id":"ada"}',
    '{"event_name":"' + "n" * 101 + '","user_id":"ada"}',
    '{"event_name":"seen","user_id":"ada","colour":"red"}',
    '{"event_name":"seen","user_id":"ada","properties":{"n":99999999999999999999}}',
    '{"event_name":"seen","user_id":"ada","timestamp":"1971-01-01T00:00:00Z"}',
    '{"event_name":"seen"}',
    "[1,2]",
]
BAD_SEGMENT = [
    '{"type":"track","userId":"ada"}',
    '{"type":"dance","userId":"ada"}',
    '{"type":"alias","userId":"ada"}',
    '{"type":"track","event":"seen","userId":"a\\u0007b"}',
    '{"type":"identify","userId":"ada","traits":{"a\\u0000b":1}}',
]


class Ledger:
    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._lock = threading.Lock()
        self._number = 0

    def number(self):
        with self._lock:
            self._number += 1
            return self._number

    def write(self, do, n=None, **fields):
        line = json.dumps({"do": do, "n": n, "at": time.time(), **fields}, ensure_ascii=False)
        os.write(self._file, line.encode() + b"\n")
        os.fsync(self._file)


class Messages:
    """Makes messages; each is (what is written down, its wire object)."""

    def __init__(self, seed, worker):
        self.random = random.Random(f"{seed} {worker}")
        self._prefix = f"{seed}-{worker}"
        self._number = 0

    def fresh_id(self):
        self._number += 1
        return f"{self._prefix}-{self._number}"

    def make(self, kind, wire, message_id=None):
        """`wire`: native or segment."""
        pick, chance = self.random.choice, self.random.random
        said = {"id": message_id or self.fresh_id()}
        user = pick(PEOPLE) if chance() < 0.8 or kind in ("alias", "identify") else None
        browser = pick(BROWSERS) if user is None or chance() < 0.4 else None
        body = {"user_id": user, "anonymous_id": browser, "original_timestamp": None}
        if chance() < 0.9 or kind == "identify":
            at = BASE + timedelta(milliseconds=self.random.randrange(10 * 86_400_000))
            body["original_timestamp"] = at.isoformat()
        values = {f"p{n}": pick(VALUES) for n in range(self.random.randrange(4))}
        call = {"kind": kind}
        if kind in ("track", "page", "screen"):
            said["topic"], body["kind"] = "tracked.v1", kind
            body["event"], body["properties"] = pick(NAMES), values
            if kind != "track":
                body["properties"] = {**values, "name": body["event"]}
        elif kind == "identify":
            said["topic"], body["traits"] = "identified.v1", values
        elif kind == "group":
            said["topic"], body["traits"], body["group_id"] = (
                "grouped.v1",
                values,
                pick(["g1", "g2"]),
            )
        else:
            said["topic"], body["previous_id"] = "aliased.v1", pick(BROWSERS)
        said["said"] = body
        return said, self._wire(said, call, wire)

    @staticmethod
    def _wire(item, call, wire):
        said = item["said"]
        if wire == "native":
            sent = {
                "event_name": said["event"], "user_id": said["user_id"], "message_id": item["id"],
                "anonymous_id": said["anonymous_id"], "properties": said["properties"],
                "timestamp": said["original_timestamp"],
            }  # fmt: skip
        else:
            sent = {
                "type": call["kind"], "messageId": item["id"], "userId": said["user_id"],
                "anonymousId": said["anonymous_id"], "timestamp": said["original_timestamp"],
                "previousId": said.get("previous_id"), "groupId": said.get("group_id"),
                "properties": said.get("properties"), "traits": said.get("traits"),
            }  # fmt: skip
            sent["event" if call["kind"] == "track" else "name"] = said.get("event")
        return json.dumps({k: v for k, v in sent.items() if v is not None}, ensure_ascii=False)

    def request(self, app, earlier):
        """(route, items, body). `earlier`: items that were sent before to this app."""
        chance = self.random.random
        if chance() < 0.3:
            route, kind = self.random.choice(list(SINGLE.items()))
            if kind == "native" and chance() < 0.1:
                bad = self.random.choice(BAD_NATIVE)
                return route, [{"bad": bad}], bad
            item, body = self.make(
                "track" if kind == "native" else kind, "native" if kind == "native" else "segment"
            )
            return route, [item], body
        wire = "native" if chance() < 0.5 else "segment"
        made = [self._in_batch(wire, earlier) for _ in range(self.random.randrange(1, 30))]
        if chance() < 0.1:
            made.append(made[0])  # the same again within one request
        field = "events" if wire == "native" else "batch"
        route = NATIVE_BATCH if wire == "native" else self.random.choice(SEGMENT_BATCHES)
        body = f'{{"{field}":[{",".join(text for _, text in made)}]}}'
        return route, [item for item, _ in made], body

    def _in_batch(self, wire, earlier):
        chance = self.random.random
        if chance() < 0.03:
            bad = self.random.choice(BAD_NATIVE if wire == "native" else BAD_SEGMENT)
            return {"bad": bad}, bad
        kinds = (
            ["track"]
            if wire == "native"
            else ["track", "page", "screen", "identify", "alias", "group"]
        )
        again = self.random.choice(earlier) if earlier and chance() < 0.02 else None
        return self.make(self.random.choice(kinds), wire, again)


class Worker(threading.Thread):
    def __init__(self, number, seed, url, apps, ledger, stop):
        super().__init__(name=f"worker {number}")
        self._messages = Messages(seed, number)
        self._random = self._messages.random
        self._at = urlsplit(url)
        self._apps, self._ledger, self._stopping = apps, ledger, stop
        self._connection = None
        self._earlier = [[] for _ in apps]
        self._sent = []

    def run(self):
        while not self._stopping.is_set():
            self._one()
            time.sleep(self._random.random() * 0.05)

    def _one(self):
        app = self._random.randrange(len(self._apps))
        if self._sent and self._random.random() < 0.08:
            app, route, items, body = self._random.choice(self._sent[-50:])
        else:
            shared = self._earlier[1 - app] if self._random.random() < 0.1 else self._earlier[app]
            route, items, body = self._messages.request(app, shared)
            self._earlier[app] += [item["id"] for item in items if "id" in item]
            self._sent.append((app, route, items, body))
        self._deliver(app, route, items, body)

    def _deliver(self, app, route, items, body):
        """Until it is known what became of it; some are given up when it is not."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._try(app, route, items, body):
            if self._random.random() < 0.1 or time.monotonic() > deadline:
                return
            time.sleep(0.05 + self._random.random() * 0.3)

    def _try(self, app, route, items, body):
        n = self._ledger.number()
        self._ledger.write("send", n, app=self._apps[app]["app"], route=route, items=items)
        try:
            connection = self._connected()
        except OSError as error:
            self._ledger.write("unsent", n, why=type(error).__name__)
            return False
        try:
            key = self._apps[app]["write"]
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            connection.request("POST", route, body.encode(), headers)
            answer = connection.getresponse()
            status, said = answer.status, answer.read()
        except (OSError, HTTPException) as error:
            self._connection = None
            self._ledger.write("unknown", n, why=type(error).__name__)
            return False
        if status == 503:
            self._ledger.write("unknown", n, why="503")
            return False
        verdicts = verdicts_in(route, items, status, said)
        if verdicts is None:
            self._ledger.write("odd", n, status=status, body=said.decode(errors="replace")[:500])
            return False
        self._ledger.write("told", n, status=status, verdicts=verdicts)
        return True

    def _connected(self):
        if self._connection is None:
            self._connection = HTTPConnection(self._at.hostname, self._at.port, timeout=20)
            self._connection.connect()
        return self._connection


def verdicts_in(route, items, status, body):
    """One for each item; None for an answer that is none of those promised."""
    try:
        said = json.loads(body)
    except ValueError:
        return None
    if route == NATIVE_BATCH and status == 202:
        return [verdict(one["status"], one) for one in said["results"]]
    if SINGLE.get(route) == "native":
        return one_verdict(items[0], status, said)
    if status == 200 and route != NATIVE_BATCH:
        refused = {one["index"]: one for one in said.get("rejected", [])}
        taken = {"status": "taken"}
        told = [refused.get(n, taken) for n in range(len(items))]
        return [verdict(one["status"], one) for one in told]
    return None


def one_verdict(item, status, said):
    if status == 202:
        return [verdict("duplicate" if said["duplicate"] else "accepted", said)]
    if status == 400 and "bad" in item:
        return [verdict("rejected", {})]
    if status == 409:
        return [verdict("conflict", said.get("details", {}))]
    return None


def verdict(what, said):
    return {"is": what, "event_id": said.get("event_id"), "position": said.get("position")}


def read_all_the_time(url, apps, ledger, stop):
    """What a reader is told; the checker sees to it that no position ever goes back."""
    at = urlsplit(url)
    while not stop.is_set():
        for app in apps:
            for path in ("/v1/events/names?limit=1000", "/v1/users/user%201"):
                read_once(at, app, path, ledger)
        time.sleep(0.2)


def sent_with(path, found):
    """By the id that was asked for: the person's other ids may come and go."""
    asked = unquote(path.rpartition("/")[2])
    (sent,) = [one["messages"] for one in found["user"]["ids"] if one["distinct_id"] == asked]
    return sent


def read_once(at, app, path, ledger):
    connection = HTTPConnection(at.hostname, at.port, timeout=30)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {app['secret']}"})
        answer = connection.getresponse()
        status, said = answer.status, answer.read()
    except (OSError, HTTPException) as error:
        ledger.write("down", app=app["app"], path=path, why=type(error).__name__)
        return
    finally:
        connection.close()
    if status != 200:
        ledger.write("down", app=app["app"], path=path, why=str(status), body=said.decode()[:300])
        return
    found = json.loads(said)
    count = sent_with(path, found) if "user" in found else sum(n["count"] for n in found["names"])
    ledger.write("read", app=app["app"], path=path, position=found["position"], count=count)


def main():
    path, seed, url = sys.argv[1:4]
    apps = json.load(sys.stdin)
    ledger, stop = Ledger(path), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    workers = [Worker(n, seed, url, apps, ledger, stop) for n in range(WORKERS)]
    reader = threading.Thread(target=read_all_the_time, args=(url, apps, ledger, stop))
    for thread in (*workers, reader):
        thread.start()
    for thread in (*workers, reader):
        while thread.is_alive():
            thread.join(0.2)


main()
