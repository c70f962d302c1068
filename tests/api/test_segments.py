"""/v1/segments, from definitions to members; who is in is what the criteria say, now and before."""

import pytest

from tests.fixtures.patience import asked_again

DAY = "2026-03-28"


class Shop:
    def __init__(self, tenant):
        self.tenant = tenant
        self.headers = tenant.bearer(tenant.secret_key)
        self.position = 0

    def call(self, method, path, **given):
        return asked_again(
            lambda: self.tenant.http.request(
                method, f"/v1/segments{path}", headers=self.headers, **given
            )
        )

    def done(self, method, path, **given):
        answer = self.call(method, path, **given)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    def made(self, name, criteria=None, **fields):
        body = {"name": name, **fields} | ({"criteria": criteria} if criteria else {})
        answer = self.done("POST", "", json=body)
        self.position = max(self.position, answer["position"])
        return answer["segment"]["segment_id"]

    def members(self, segment, **asked):
        found = self.done("GET", f"/{segment}/members", params=asked)["members"]
        return sorted(one["user_id"] for one in found)

    def preview(self, criteria, **more):
        body = {"criteria": criteria, "sample": 100, "min_position": self.position, **more}
        found = self.done("POST", "/preview", json=body)
        assert found["count"] == len(found["sample"])
        return found["sample"]


@pytest.fixture(scope="module")
def shop(new_tenant):
    """Ada buys three times, Grace once, Joan looks."""
    shop = Shop(new_tenant())
    events = [("ada", "buy", hour) for hour in (9, 10, 11)]
    events += [("grace", "buy", 9), ("joan", "view", 9)]
    batch = [
        {"user_id": who, "event_name": name, "timestamp": f"{DAY}T{hour:02}:00:00Z"}
        for who, name, hour in events
    ]
    sent = shop.tenant.send({"events": batch}, "/v1/events/batch").json()["results"]
    shop.position = sent[-1]["position"]
    return shop


def test_what_was_written_is_read(shop):
    segment = shop.made("Buyers", "did buy", description="they bought")
    position = {"min_position": shop.position}
    shown = shop.done("GET", f"/{segment}", params=position)["segment"]
    assert (shown["name"], shown["kind"], shown["version"]) == ("Buyers", "live", 1)
    assert shown["criteria"] == {"type": "did", "event": "buy", "times": {"at_least": 1}}
    assert shown["criteria_text"] == "did buy"
    changed = shop.done("PATCH", f"/{segment}", json={"criteria": "did view", "version": 1})
    position = {"min_position": changed["position"]}
    shown = shop.done("GET", f"/{segment}", params=position)["segment"]
    assert (shown["name"], shown["criteria_text"], shown["version"]) == ("Buyers", "did view", 2)
    listed = shop.done("GET", "", params={"search": "UYER"})
    assert [one["segment_id"] for one in listed["segments"]] == [segment]
    gone = shop.done("DELETE", f"/{segment}")
    assert (
        shop.call("GET", f"/{segment}", params={"min_position": gone["position"]}).status_code
        == 404
    )


def test_an_older_version_is_not_overwritten(shop, problem):
    segment = shop.made("Changed", "did buy")
    shop.done("PATCH", f"/{segment}", json={"name": "Again", "version": 1})
    stale = shop.call("PATCH", f"/{segment}", json={"name": "Late", "version": 1})
    problem(stale, 409, "CONFLICT", version=2)


def test_a_preview_counts_and_shows(shop):
    assert shop.preview("did buy") == ["ada", "grace"]
    assert shop.preview({"type": "did", "event": "buy", "times": {"at_least": 2}}) == ["ada"]
    buyers = shop.made("Bought", "did buy")
    assert shop.preview(f'not in segment "{buyers}"') == ["joan"]


def test_a_mistake_in_text_is_told_with_its_place(shop, problem):
    answer = shop.call("POST", "", json={"name": "Wrong", "criteria": "did buy at at"})
    details = problem(answer, 400, "INVALID_REQUEST", field="criteria")
    assert "line 1, column" in details["issue"]


def test_segments_do_not_lead_round_in_a_circle(shop, problem):
    inner = shop.made("Inner", "did buy")
    outer = shop.made("Outer", f'in segment "{inner}"')
    circle = shop.call("PATCH", f"/{inner}", json={"criteria": f'in segment "{outer}"'})
    assert "circle" in problem(circle, 400, "INVALID_REQUEST", field="criteria")["issue"]
    problem(shop.call("DELETE", f"/{inner}"), 409, "CONFLICT", segments=[outer])
    unknown = shop.call("POST", "", json={"name": "X", "criteria": 'in segment "nothing"'})
    problem(unknown, 400, "INVALID_REQUEST", field="criteria")


def test_a_list_has_whom_its_owner_says(shop):
    segment = shop.made("Invited")
    changed = shop.done("POST", f"/{segment}/members", json={"add": ["ada", "joan", "who"]})
    assert (changed["added"], changed["unknown"]) == (2, ["who"])
    first = changed["position"]
    changed = shop.done("POST", f"/{segment}/members", json={"add": ["ada"], "remove": ["joan"]})
    assert (changed["added"], changed["removed"]) == (0, 1)
    last = changed["position"]
    assert shop.members(segment, min_position=last) == ["ada"]
    assert shop.members(segment, known_at=first) == ["ada", "joan"]
    is_in = shop.done("GET", f"/{segment}/members/ada", params={"min_position": last})
    assert (is_in["is_member"], is_in["since_position"]) == (True, first)
    moves = shop.done("GET", f"/{segment}/changes")["changes"]
    assert [(one["user_id"], one["change"]) for one in moves] == [
        ("ada", "entered"), ("joan", "entered"), ("joan", "left"),
    ]  # fmt: skip
    exported = shop.call("GET", f"/{segment}/export", params={"format": "csv"}).text
    assert exported.splitlines()[0] == "user_id,since_at,since_position"
    assert exported.splitlines()[1].startswith("ada,")
    answer = shop.tenant.ask("/v1/users/ada/segments", min_position=last)
    assert segment in {one["segment_id"] for one in answer["segments"]}


def test_members_of_the_past_are_evaluated_from_scratch(shop):
    segment = shop.made("Twice", "did buy at least 2 times")
    assert shop.members(segment, known_at=shop.position) == ["ada"]
    assert shop.members(segment, known_at=shop.position, as_of=f"{DAY}T09:30:00Z") == []


def test_it_is_explained(shop):
    segment = shop.made("Often", "did buy at least 2 times and not did view")
    asked = {"user": "grace", "min_position": shop.position}
    told = shop.done("GET", f"/{segment}/explain", params=asked)
    assert told["is_member"] is False
    clause = told["clauses"]["parts"][0]
    assert (clause["holds"], clause["number"]) == (False, 1)
    assert [one["event"] for one in clause["evidence"]] == ["buy"]


def test_members_are_asked_for_in_sql(shop, new_tenant):
    segment = shop.made("In SQL")
    changed = shop.done("POST", f"/{segment}/members", json={"add": ["ada", "joan"]})
    asked = (
        "SELECT p.distinct_ids AS ids FROM segments AS s JOIN people AS p"
        " ON s.person_id = p.person_id WHERE s.segment = 'In SQL' ORDER BY ids"
    )
    told = shop.tenant.sql(asked, min_position=changed["position"]).json()["data"]
    assert told == [{"ids": ["ada"]}, {"ids": ["joan"]}]
    before = shop.tenant.sql(asked, known_at=changed["position"] - 1)
    assert before.json()["data"] == []
    assert new_tenant().sql("SELECT * FROM segments").json()["data"] == []


def test_a_preview_of_a_merge_names_segments(new_tenant):
    shop = Shop(new_tenant())
    shop.tenant.sent({"user_id": "ada", "event_name": "buy"})
    shop.tenant.sent({"anonymous_id": "phone", "event_name": "buy"})
    twice = shop.made("Twice", "did buy at least 2 times")
    once = shop.made("Once", f'did buy and not in segment "{twice}"')
    asked = {"user_id": "ada", "alias_id": "phone"}
    url = "/v1/users/merge-preview"
    answer = shop.tenant.http.post(url, json=asked, headers=shop.headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["segments"] == [
        {
            "segment_id": once,
            "name": "Once",
            "kind": "live",
            "before": ["ada", "phone"],
            "after": [],
        },
        {"segment_id": twice, "name": "Twice", "kind": "live", "before": [], "after": ["ada"]},
    ]


def test_a_list_takes_out_all_of_a_person(new_tenant):
    """Ada and her phone are added as two, and are one by the time that she is taken out."""
    shop = Shop(new_tenant())
    for user in ("ada", "grace"):
        shop.tenant.sent({"user_id": user, "event_name": "buy"})
    last = shop.tenant.sent({"anonymous_id": "phone", "event_name": "buy"})
    listed = shop.made("Listed")
    path = f"/{listed}/members"
    body = {"add": ["ada", "phone", "grace"], "min_position": last}
    assert shop.done("POST", path, json=body)["added"] == 3
    link = {"user_id": "ada", "alias_id": "phone"}
    assert shop.tenant.http.post("/v1/users/aliases", json=link, headers=shop.headers).is_success
    head = shop.tenant.head()
    asked = {"min_position": head}
    shop.tenant.ask("/v1/users", **asked)
    assert shop.members(listed, **asked) == ["ada", "grace"]
    assert shop.done("GET", f"/{listed}", params=asked)["segment"]["members"] == 2
    again = shop.done("POST", path, json={"add": ["phone"], "min_position": head})
    assert (again["added"], again["removed"]) == (0, 0)
    gone = shop.done("POST", path, json={"remove": ["ada"]})
    assert gone["removed"] == 1
    asked = {"min_position": gone["position"]}
    assert shop.members(listed, **asked) == ["grace"]
    assert shop.members(listed, known_at=head) == ["ada", "grace"]
    assert shop.done("GET", f"/{listed}", params=asked)["segment"]["members"] == 1


def test_sql_reads_who_is_in_a_segment(shop):
    listed = shop.made("asked in SQL", kind="static")
    changed = shop.done("POST", f"/{listed}/members", json={"add": ["ada", "joan"]})

    def asked(query, **past):
        body = {"query": query, "parameters": {"one": listed}, **past}
        answer = asked_again(
            lambda: shop.tenant.http.post("/v1/analytics/query", headers=shop.headers, json=body)
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    bought = (
        "SELECT segment, count() AS n FROM events JOIN segments USING person_id"
        " WHERE segment_id = {one:String} GROUP BY segment"
    )
    position = changed["position"]
    assert asked(bought, min_position=position) == [{"segment": "asked in SQL", "n": 4}]
    assert asked(bought, known_at=position - 1) == []
