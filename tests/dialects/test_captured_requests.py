"""What three unmodified SDKs sent, byte for byte, against the events that it must become.

`WRITE_GOLDEN=1` writes the golden files anew; read the difference before committing it.
"""

import json
import os
from pathlib import Path

from api.body import open_body
from api.dialects.calls import CALLS

GOLDEN = Path(__file__).parent / "golden"


def test_each_captured_request_becomes_the_golden_events(request_of_sdk, take_in, on_the_log):
    name, path, encoding, body = request_of_sdk
    found = [on_the_log(event) for event in take_in(path, body, encoding)]
    golden = GOLDEN / f"{name.replace(' ', '_')}.json"
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    assert found == json.loads(golden.read_text())


def test_no_captured_message_is_refused(request_of_sdk, take_in):
    _, path, encoding, body = request_of_sdk
    assert {event.TOPIC for event in take_in(path, body, encoding)} <= {
        "tracked.v1",
        "identified.v1",
        "aliased.v1",
        "grouped.v1",
    }


def test_a_write_key_in_the_body_is_found(request_of_sdk):
    name, path, encoding, body = request_of_sdk
    expected = None if name.startswith("rudder") else "wk_test_123"
    assert CALLS[path].parse(open_body(body, encoding)).write_key == expected
