"""Compares what a sender wrote down with everything that an instance holds.

check.py LEDGER INSTANCE    INSTANCE: instance.json, whose servers must be running

Prints {"problems": [[kind, text], ...], "counts": {...}}. It shares no code with the product:
it reads the log, the read models, the analytics table and the stream with plain clients.
"""

import asyncio
import base64
import json
import sys
import urllib.request
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nats
import psycopg

MESSAGES = ("tracked.v1", "identified.v1", "aliased.v1", "grouped.v1")
DEFAULTS = {
    "user_id": None, "anonymous_id": None, "original_timestamp": None, "event": None,
    "kind": "track", "properties": {}, "traits": {}, "previous_id": None, "group_id": None,
}  # fmt: skip
TAKEN = ("accepted", "duplicate", "taken")


class Problems:
    def __init__(self):
        self.found = []

    def add(self, kind, text):
        self.found.append((kind, text))

    def compare(self, kind, expected, found, where=""):
        """Two dicts."""
        for key in expected.keys() | found.keys():
            if expected.get(key) != found.get(key):
                said = f"{where}{key}: {found.get(key)!r}, expected {expected.get(key)!r}"
                self.add(kind, said[:600])


# --- the ledger ----------------------------------------------------------------------------


class Ledger:
    """`sent`: (app, id) -> bodies; `told`: (app, id) -> [(verdict, body, event id, position)]."""

    def __init__(self, lines, problems):
        self.sent, self.told = defaultdict(list), defaultdict(list)
        self.bad_sent, self.bad_told = set(), {}
        self.reads = []
        self.counts = Counter()
        requests = {}
        for line in lines:
            self.counts[f"requests {line['do']}"] += 1
            match line["do"]:
                case "send":
                    requests[line["n"]] = line
                    self._send(line)
                case "told":
                    self._told(requests[line["n"]], line, problems)
                case "odd":
                    problems.add("answers", f"{line['status']}: {line['body']}")
                case "read":
                    self.reads.append(line)
                case "down":
                    self._down(line, problems)

    def _down(self, line, problems):
        self.counts[f"reads answered by {line['why']}"] += 1
        nobody_yet = line["why"] == "404" and "/users/" in line["path"]
        if line["why"].isdigit() and line["why"] not in ("503", "504") and not nobody_yet:
            problems.add("answers", f"GET {line['path']} {line['why']}: {line['body']}")

    def _send(self, line):
        for item in line["items"]:
            if "bad" in item:
                self.bad_sent.add((line["app"], item["bad"]))
            else:
                body = shape(item["topic"], item["said"])
                if body not in self.sent[line["app"], item["id"]]:
                    self.sent[line["app"], item["id"]].append(body)

    def _told(self, request, line, problems):
        if len(line["verdicts"]) != len(request["items"]):
            problems.add("answers", f"request {line['n']}: not one verdict for each item")
        for item, verdict in zip(request["items"], line["verdicts"], strict=False):
            if ("bad" in item) != (verdict["is"] == "rejected"):
                problems.add("answers", f"{verdict['is']}: {json.dumps(item)[:300]}")
            elif "bad" in item:
                self.bad_told[request["app"], item["bad"]] = verdict
            else:
                told = (verdict["is"], shape(item["topic"], item["said"]), verdict)
                self.told[request["app"], item["id"]].append(told)
            self.counts[f"items told {verdict['is']}"] += 1


def shape(topic, said):
    """What must be the same in what was sent and what is stored."""
    full = {**DEFAULTS, **{k: v for k, v in said.items() if k in DEFAULTS}}
    at = full["original_timestamp"]
    full["original_timestamp"] = at and datetime.fromisoformat(at).astimezone(UTC).isoformat()
    return {"topic": topic, **full}


# --- the log -------------------------------------------------------------------------------


class Log:
    """`messages`: (app, message id) -> [(position, stored JSON, topic, event id)]."""

    def __init__(self, rows, problems):
        self.rows = rows
        self.messages, self.refused, self.numbers = defaultdict(list), defaultdict(list), {}
        before, at = 0, None
        for position, stream, app, topic, recorded_at, state in rows:
            if position != before + 1:
                problems.add("gap", f"position {position} follows {before}")
            if at is not None and recorded_at < at:
                problems.add("gap", f"time runs backwards at position {position}")
            before, at = position, recorded_at
            body = json.loads(state[1:])
            if topic in MESSAGES:
                self.messages[str(app), body["message_id"]].append((position, body, topic, stream))
            elif topic == "refused.v1":
                text = base64.b64decode(body["body"]).decode()
                self.refused[str(app), text].append((position, stream))
            elif topic == "app.created.v1":
                self.numbers[str(app)] = len(self.numbers) + 1


def check_store(ledger, log, problems):
    for key, stored in log.messages.items():
        if key not in ledger.sent:
            problems.add("foreign", f"{key} at position {stored[0][0]} was never sent")
            continue
        if len(stored) > 1:
            problems.add("doubled", f"{key} at positions {[s[0] for s in stored]}")
        if shape(stored[0][2], stored[0][1]) not in ledger.sent[key]:
            problems.add("body", f"{key} at position {stored[0][0]} is none of those sent")
    check_told(ledger, log, problems)


def check_told(ledger, log, problems):
    for key, told in ledger.told.items():
        if key not in log.messages:
            problems.add("lost", f"{key} was told {[verdict for verdict, _, _ in told]}")
            continue
        position, body, topic, stream = log.messages[key][0]
        for what, said, receipt in told:
            if (shape(topic, body) == said) != (what in TAKEN):
                problems.add("body", f"{key} at position {position} was told {what}")
            check_receipt(receipt, position, stream, problems)


def check_receipt(receipt, position, stream, problems):
    if receipt["position"] not in (None, position):
        problems.add("receipt", f"position {receipt['position']} was told, it is {position}")
    if receipt["event_id"] not in (None, f"evt_{stream.hex}"):
        problems.add("receipt", f"{receipt['event_id']} was told, it is evt_{stream.hex}")


def check_refusals(ledger, log, problems):
    for key, stored in log.refused.items():
        if key not in ledger.bad_sent:
            problems.add("foreign", f"refusal {key} was never sent")
        if len(stored) > 1:
            problems.add("doubled", f"refusal {key}: {len(stored)} times")
    for key, receipt in ledger.bad_told.items():
        if key not in log.refused:
            problems.add("lost", f"refusal {key}")
        else:
            check_receipt(receipt, *log.refused[key][0], problems)


# --- read models ---------------------------------------------------------------------------


def recount(ledger, log):
    """People by plain counting: what was sent, in the order of the log."""
    order = sorted(
        (stored[0][0], key) for key, stored in log.messages.items() if key in ledger.sent
    )
    people, traits, numbers = Counter(), {}, defaultdict(dict)
    for position, key in order:
        stored = log.messages[key][0]
        kept = shape(stored[2], stored[1])
        body = next((sent for sent in ledger.sent[key] if sent == kept), kept)
        app = log.numbers[key[0]]
        sender = body["user_id"] or body["anonymous_id"]
        mentioned = [sender, body["user_id"] and body["anonymous_id"], body["previous_id"]]
        for name in filter(None, mentioned):
            numbers[app].setdefault(name, len(numbers[app]) + 1)
            people[app, name] += name is sender
        for trait, value in body["traits"].items() if body["topic"] == "identified.v1" else ():
            at = (body["original_timestamp"], position)
            known = traits.get((app, sender, trait))
            if known is None or at > known[0]:
                traits[app, sender, trait] = (at, value)
    found = {(app, name): (numbers[app][name], count) for (app, name), count in people.items()}
    return found, {key: value for key, (_, value) in traits.items()}


def check_people(connection, ledger, log, problems):
    expected, expected_traits = recount(ledger, log)
    rows = connection.execute(
        "SELECT app_number, distinct_id, number, messages FROM people.distinct_ids"
    )
    found = {(app, name): (number, messages) for app, name, number, messages in rows}
    problems.compare("people", expected, found, "number and messages of ")
    rows = connection.execute(
        "SELECT s.app_number, d.distinct_id, s.traits FROM people.said s"
        " JOIN people.distinct_ids d USING (app_number, number)"
        " WHERE s.kind = 'identify' AND s.traits IS NOT NULL ORDER BY s.timestamp, s.position"
    )
    found = {
        (app, name, trait): value
        for app, name, said in rows
        for trait, value in json.loads(said).items()
    }
    problems.compare("people", expected_traits, found, "trait ")
    return {key: number for key, (number, _) in expected.items()}


def check_failed_events(connection, log, problems):
    rows = connection.execute("SELECT position FROM failed_events.refused ORDER BY 1").fetchall()
    expected = sorted(stored[0][0] for stored in log.refused.values())
    if [row[0] for row in rows] != expected:
        problems.add("failed", f"{len(rows)} refusals are listed, {len(expected)} are on the log")
    for row in connection.execute("SELECT projection, position, reason FROM projections.parked"):
        problems.add("parked", f"{row}")


def check_analytics(url, log, numbers, problems):
    rows = ask(
        url,
        "SELECT position, app_number, message_id, event, kind, user_id, anonymous_id, pid0,"
        " properties, toString(event_id) AS event_id FROM events ORDER BY position"
        " FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0",
    )
    tracked = {
        position: (app, json.loads(state[1:]), stream)
        for position, stream, app, topic, _, state in log.rows
        if topic == "tracked.v1"
    }
    problems.compare(
        "analytics",
        dict.fromkeys(tracked, 1),
        Counter(row["position"] for row in rows),
        "rows at position ",
    )
    for row in rows:
        if row["position"] in tracked:
            app, body, stream = tracked[row["position"]]
            number = log.numbers[str(app)]
            sender = body.get("user_id") or body.get("anonymous_id")
            expected = {
                "position": row["position"], "app_number": number, "event": body["event"],
                "message_id": body["message_id"], "kind": body.get("kind", "track"),
                "user_id": body.get("user_id", ""), "anonymous_id": body.get("anonymous_id", ""),
                "pid0": numbers.get((number, sender)), "event_id": str(stream),
                "properties": body.get("properties", {}),
            }  # fmt: skip
            row["properties"] = json.loads(row["properties"] or "null")
            problems.compare("analytics", expected, row, f"position {row['position']}: ")
    return len(rows)


def ask(url, sql):
    at = urlsplit(url)
    token = base64.b64encode(f"{unquote(at.username)}:{unquote(at.password)}".encode()).decode()
    request = urllib.request.Request(
        f"http://{at.hostname}:{at.port}/?database={at.path.strip('/')}",
        data=sql.encode(),
        headers={"Authorization": f"Basic {token}"},
    )
    with urllib.request.urlopen(request) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


# --- the feed ------------------------------------------------------------------------------


async def read_feed(url):
    """[(subject, events)] in the order of the stream."""
    client = await nats.connect(url)
    try:
        stream = client.jetstream()
        name = await stream.find_stream_name_by_subject("appizer.v1.>")
        state = (await stream.stream_info(name)).state
        found = []
        for first in range(state.first_seq, state.last_seq + 1, 100):
            wanted = range(first, min(first + 100, state.last_seq + 1))
            answers = await asyncio.gather(
                *(stream.get_msg(name, seq=n) for n in wanted), return_exceptions=True
            )
            found += [(a.subject, json.loads(a.data)) for a in answers if hasattr(a, "data")]
        return found
    finally:
        await client.close()


def check_feed(url, log, problems):
    messages = asyncio.run(read_feed(url))
    rows = {position: (stream, app, topic) for position, stream, app, topic, _, _ in log.rows}
    times, last = Counter(), defaultdict(int)
    for subject, events in messages:
        for event in events:
            position = int(event["position"])
            times[position] += 1
            if position <= last[subject]:
                problems.add("feed", f"position {position} comes after {last[subject]}: {subject}")
            last[subject] = position
            stream, app, topic = rows.get(position, (None, None, None))
            told = (event["id"][:36], event["type"], event["source"].rpartition("/")[2])
            if told != (f"evt_{stream and stream.hex}", topic, str(app or "system")):
                problems.add("feed", f"position {position} is {told}")
            if str(app or "system") not in subject.split("."):
                problems.add("feed", f"position {position} is on {subject}")
    problems.compare("feed", dict.fromkeys(rows, 1), times, "messages with position ")
    return len(messages)


# --- readers -------------------------------------------------------------------------------


def check_reads(ledger, problems):
    """The one reader asked one question after another: neither position nor count went back. Of a
    person it wrote down what was sent with the one id, which belongs to one person or another.
    """
    last = {}
    for read in ledger.reads:
        key = (read["app"], read["path"])
        before = last.setdefault(key, read)
        for what in ("position", "count"):
            if read[what] < before[what]:
                said = f"{what} went from {before[what]} to {read[what]}: {read['path']}"
                problems.add("reader", said)
        last[key] = read


def main():
    path, instance = sys.argv[1:3]
    settings = json.loads(Path(instance).read_text())
    with Path(path).open() as file:
        lines = [json.loads(line) for line in file if line.endswith("\n")]
    problems = Problems()
    ledger = Ledger(lines, problems)
    with psycopg.connect(settings["APPIZER_DATABASE_URL"]) as connection:
        rows = connection.execute(
            "SELECT notification_id, originator_id, app_id, topic, recorded_at, state"
            " FROM log.events ORDER BY 1"
        ).fetchall()
        log = Log(rows, problems)
        check_store(ledger, log, problems)
        check_refusals(ledger, log, problems)
        numbers = check_people(connection, ledger, log, problems)
        check_failed_events(connection, log, problems)
    in_table = check_analytics(settings["APPIZER_ANALYTICS_URL"], log, numbers, problems)
    on_feed = check_feed(settings["APPIZER_NATS_URL"], log, problems)
    check_reads(ledger, problems)
    unresolved = ledger.sent.keys() - ledger.told.keys()
    counts = {
        **ledger.counts,
        "messages sent": len(ledger.sent),
        "messages told of": len(ledger.told),
        "messages never told of": len(unresolved),
        "of these stored": len(unresolved & log.messages.keys()),
        "messages stored": len(log.messages),
        "refusals stored": len(log.refused),
        "positions": len(rows),
        "analytics rows": in_table,
        "feed messages": on_feed,
        "reads": len(ledger.reads),
    }
    json.dump({"problems": problems.found, "counts": counts}, sys.stdout)


main()
