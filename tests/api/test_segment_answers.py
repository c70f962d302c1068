"""/v1/segments: names of a past, ids with slashes, what is not there, how fresh an answer is."""

import pytest

from tests.api.test_segments import Shop


@pytest.fixture(scope="module")
def shop(new_tenant):
    shop = Shop(new_tenant())
    senders = [{"user_id": "kA"}, {"anonymous_id": "kB"}, {"user_id": "a/b"}]
    batch = [{**sender, "event_name": "look"} for sender in senders]
    sent = shop.tenant.send({"events": batch}, "/v1/events/batch").json()["results"]
    shop.position = sent[-1]["position"]
    return shop


def test_members_of_a_past_have_the_names_of_then(shop):
    listed = shop.made("Before the merge", kind="static")
    before = shop.done("POST", f"/{listed}/members", json={"add": ["kA", "kB"]})["position"]
    live = shop.made("Lookers", "did look")
    known_at = max(before, shop.position)
    body = {"user_id": "kA", "alias_id": "kB"}
    url, headers = "/v1/users/aliases", shop.tenant.bearer(shop.tenant.secret_key)
    merged = shop.tenant.http.post(url, headers=headers, json=body)
    assert merged.status_code in {200, 201, 202}, merged.text
    now = merged.json()["position"]
    assert shop.members(listed, known_at=known_at) == ["kA", "kB"]
    assert shop.members(live, known_at=known_at) == ["a/b", "kA", "kB"]
    assert shop.members(listed, min_position=now) == ["kA"]
    past = shop.call("GET", f"/{listed}/export", params={"format": "csv", "known_at": known_at})
    assert past.text.splitlines()[1:] == ["kA,,", "kB,,"]


def test_an_id_may_have_a_slash(shop):
    listed = shop.made("With a slash", kind="static")
    position = shop.done("POST", f"/{listed}/members", json={"add": ["a/b"]})["position"]
    found = shop.done("GET", f"/{listed}/members/a%2Fb", params={"min_position": position})
    assert (found["user_id"], found["is_member"]) == ("a/b", True)


def test_a_preview_of_what_is_not_there_is_refused(shop, problem):
    for text in ('in segment "nothing"', 'not in segment "nothing"'):
        refused = shop.call("POST", "/preview", json={"criteria": text})
        assert "nothing" in problem(refused, 400, "INVALID_REQUEST", field="criteria")["issue"]


def test_a_change_answers_what_there_is(shop):
    listed = shop.made("Counted", kind="static")
    shop.done("POST", f"/{listed}/members", json={"add": ["kA", "a/b"]})
    changed = shop.done("PATCH", f"/{listed}", json={"description": "both"})
    assert (changed["user_count"], changed["segment"]["members"]) == (2, 2)
    assert changed["segment"]["created_at"] < changed["segment"]["updated_at"]


def test_a_change_of_nothing_is_no_version(shop, problem):
    listed = shop.made("Unchanged", kind="static")
    for body in ({}, {"name": None}, {"criteria": None}, {"version": 1}):
        issue = problem(shop.call("PATCH", f"/{listed}", json=body), 400, "INVALID_REQUEST")[
            "issue"
        ]
        assert issue == "changes nothing; give name, description or criteria"
    assert shop.done("GET", f"/{listed}")["segment"]["version"] == 1


def test_members_are_told_the_same_by_writes_and_reads(shop):
    """Null until they are those of the definition; a list has at once what it has."""
    listed = shop.call("POST", "", json={"name": "Empty"}).json()
    assert (listed["segment"]["members"], listed["user_count"]) == (0, 0)
    made = shop.call("POST", "", json={"name": "Told", "criteria": "did look"}).json()
    assert (made["segment"]["members"], made["user_count"]) == (None, None)
    live = made["segment"]["segment_id"]
    read = shop.done("GET", f"/{live}", params={"min_position": made["position"]})
    looking = len(shop.members(live))
    assert read["segment"]["members"] == looking > 0
    renamed = shop.done("PATCH", f"/{live}", json={"name": "Renamed"})
    assert renamed["segment"]["members"] == looking
    other = shop.done("PATCH", f"/{live}", json={"criteria": "did nothing"})
    assert other["segment"]["members"] is None
    read = shop.done("GET", f"/{live}", params={"min_position": other["position"]})
    assert read["segment"]["members"] == 0


def test_members_include_ones_own_write(shop):
    """With `min_position`, at the first look, also of what was defined a moment ago."""
    for turn in range(3):
        live = shop.made(f"Own write {turn}", f'did "own {turn}"')
        event = {"user_id": "kA", "event_name": f"own {turn}"}
        position = shop.tenant.send(event, "/v1/events").json()["position"]
        asked = {"min_position": position}
        found = shop.done("GET", f"/{live}/members/kA", params=asked)
        assert found["is_member"], found
        assert found["freshness"]["evaluated_position"] >= position
        of_user = shop.tenant.ask("/v1/users/kA/segments", **asked)["segments"]
        assert live in {one["segment_id"] for one in of_user}
        assert shop.done("GET", f"/{live}", params=asked)["segment"]["members"] == 1


def test_an_answer_says_how_fresh_it_is(shop):
    live = shop.made("Fresh", "did look")
    paths = (f"/{live}", f"/{live}/members", f"/{live}/members/kA")
    shop.done("GET", "", params={"min_position": shop.position})  # which waits for no evaluation
    for path in paths:
        found = shop.done("GET", path)["freshness"]
        assert set(found) == {"evaluated_position", "evaluated_at", "lag_ms"}
        assert (found["evaluated_position"] is None) == (found["evaluated_at"] is None)
        found = shop.done("GET", path, params={"min_position": shop.position})["freshness"]
        assert found["evaluated_position"] >= shop.position


def test_what_is_never_behind_has_no_freshness(shop):
    """A list, and a past: they are as of the answer's position."""
    listed = shop.made("Listed", kind="static")
    position = shop.done("POST", f"/{listed}/members", json={"add": ["kA"]})["position"]
    for path in (f"/{listed}", f"/{listed}/members", f"/{listed}/members/kA"):
        assert shop.done("GET", path, params={"min_position": position})["freshness"] is None
    live = shop.made("Of a past", "did look")
    known_at = {"known_at": shop.position}
    assert shop.done("GET", f"/{live}/members", params=known_at)["freshness"] is None


def test_evidence_names_events_as_all_else_does(shop):
    live = shop.made("Explained", "did look")
    found = shop.done(
        "GET", f"/{live}/explain", params={"user": "kA", "min_position": shop.position}
    )
    (evidence, *_) = found["clauses"]["evidence"]
    events = shop.tenant.ask("/v1/events", user_id="kA")["events"]
    assert evidence["event_id"] in {event["event_id"] for event in events}


DID = {"type": "did", "event": "look"}


@pytest.mark.parametrize(
    ("criteria", "field", "told"),
    [
        ({**DID, "fo": 1}, "criteria.fo", "Known: event, where, times, within"),
        ({"type": "zz"}, "criteria.type", "must be one of all, any, not, trait, did,"),
        ({"event": "look"}, "criteria.type", "is missing; it is one of all,"),
        (
            {"type": "not", "condition": {"type": "stopped"}},
            "criteria.condition.last",
            "is missing",
        ),
        (
            {"type": "any", "conditions": [DID, {"type": "trait", "trait": "a", "operator": "is"}]},
            "criteria.conditions[1].operator",
            "must be one of equals, not_equals,",
        ),
        ({"type": "sample", "percent": "9"}, "criteria.percent", "expected `number`"),
        (
            {**DID, "times": {"at_least": 2**60}},
            "criteria.times.at_least",
            "is a number outside ±2^53",
        ),
    ],
)
def test_criteria_of_a_wrong_shape_are_told_where_and_what_would_be_right(
    shop, problem, criteria, field, told
):
    """The same in a segment and in a question."""
    body = {"from": "2026-03-01", "to": "2026-03-02", "criteria": criteria}
    headers = shop.tenant.bearer(shop.tenant.secret_key)
    answers = [
        shop.call("POST", "", json={"name": "Wrong", "criteria": criteria}),
        shop.tenant.http.post("/v1/analytics/trends", headers=headers, json=body),
    ]
    for answer in answers:
        issue = problem(answer, 400, "INVALID_REQUEST", field=field)["issue"]
        assert told in issue
        assert "as a string" not in issue


def test_a_sample_is_shown_as_it_was_given(shop):
    for percent, text in ((25, "sample 25%"), (2.5, "sample 2.5%")):
        body = {"criteria": {"type": "sample", "percent": percent}}
        found = shop.done("POST", "/preview", json=body)
        assert (found["criteria"]["percent"], found["criteria_text"]) == (percent, text)
        again = shop.done("POST", "/preview", json={"criteria": text})
        assert again["criteria"] == found["criteria"]


def test_an_export_says_as_of_when(shop):
    listed = shop.made("Exported", kind="static")
    position = shop.done("POST", f"/{listed}/members", json={"add": ["kA"]})["position"]
    asked = {"format": "csv", "min_position": position}
    whole = shop.call("GET", f"/{listed}/export", params=asked)
    assert int(whole.headers["x-position"]) >= position
    (member,) = shop.done("GET", f"/{listed}/members")["members"]
    row = f"{member['user_id']},{member['since_at']},{member['since_position']}"
    assert whole.text.splitlines()[1] == row


def test_an_explanation_goes_into_the_segments_that_are_named(shop):
    listed = shop.made("A list", kind="static")
    shop.done("POST", f"/{listed}/members", json={"add": ["kA"]})
    inner = shop.made("Inner", f'did look and in segment "{listed}"')
    outer = shop.made("Outer", f'not in segment "{inner}"')
    asked = {"user": "kA", "min_position": shop.position}
    told = shop.done("GET", f"/{outer}/explain", params=asked)["clauses"]
    assert (told["type"], told["holds"]) == ("not", False)
    (named,) = told["parts"]
    (whole,) = named["parts"]
    did, is_listed = whole["parts"]
    assert (did["text"], did["number"]) == ("did look", len(did["evidence"]))
    assert did["evidence"][0]["event"] == "look"
    assert (is_listed["holds"], "parts" in is_listed) == (True, False)


def test_a_member_a_definition_and_a_preview_of_a_past(shop):
    live = shop.made("Then", "did wave")
    before = shop.position
    sent = shop.tenant.send({"user_id": "kA", "event_name": "wave"}, "/v1/events").json()
    after = shop.done("PATCH", f"/{live}", json={"name": "Now", "criteria": "did nothing"})
    position = max(sent["position"], after["position"])
    for known_at, is_member in ((before, False), (sent["position"], True)):
        found = shop.done("GET", f"/{live}/members/kA", params={"known_at": known_at})
        assert (found["is_member"], found["since_at"]) == (is_member, None)
        assert found["position"] == known_at
        shown = shop.done("GET", f"/{live}", params={"known_at": known_at})["segment"]
        assert (shown["name"], shown["version"], shown["members"]) == ("Then", 1, None)
        body = {"criteria": "did wave", "known_at": known_at}
        assert shop.done("POST", "/preview", json=body)["count"] == int(is_member)
    asked = {"known_at": position, "as_of": "2020-01-01"}
    assert not shop.done("GET", f"/{live}/members/kA", params=asked)["is_member"]
    asked = {"known_at": before - 1}
    assert shop.call("GET", f"/{live}", params=asked).status_code == 404
