"""Somebody is erased: how that ends, and that nothing of them is shown, now and in the past. Once for
all of these, since for some seconds nothing is done, in case older writers are still at work.
"""

import time

import pytest

from tests.api.test_erasures import refused_soon

SECRET = "lovelace"
ADA, BROWSER = f"ada-{SECRET}", f"browser-{SECRET}"


class Shop:
    def __init__(self, tenant):
        self.tenant = tenant
        self.headers = tenant.bearer(tenant.secret_key)

    def post(self, path, body):
        answer = self.tenant.http.post(f"/v1{path}", headers=self.headers, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def segment(self, name, **fields):
        return self.post("/segments", {"name": name, **fields})["segment"]["segment_id"]

    def all_of(self, segment, **asked):
        """Everything that is told of a segment, as text."""
        paths = ("members", "changes", "export")
        answers = [
            self.tenant.get(f"/v1/segments/{segment}/{path}", **asked if path != "changes" else {})
            for path in paths
        ]
        assert [one.status_code for one in answers] == [200] * len(answers)
        return "".join(one.text for one in answers)


@pytest.fixture(scope="module")
def shop(new_tenant):
    """Ada's name is in her ids, traits and events; Grace is in the same segments."""
    tenant = new_tenant()
    for user in (ADA, "grace"):
        tenant.sent({"user_id": user, "event_name": "buy", "properties": {"note": user}})
    body = {"userId": ADA, "anonymousId": BROWSER, "traits": {"note": ADA}}
    assert tenant.send(body, "/v1/identify").status_code == 200
    tenant.ask("/v1/users", min_position=tenant.head())
    return Shop(tenant)


@pytest.fixture(scope="module")
def segments(shop):
    """A live one of buyers, one by the property's value, and a list."""
    live = shop.segment("Live", criteria="did buy")
    by_trait = shop.segment("By trait", criteria=f'note contains "{SECRET[:4]}"')
    listed = shop.segment("Listed")
    added = shop.post(f"/segments/{listed}/members", {"add": [ADA, "grace"]})
    while len(shop.tenant.ask(f"/v1/segments/{live}/members")["members"]) < 2:
        time.sleep(0.1)
    assert added["added"] == 2
    return live, by_trait, listed


def until(shop, erasure_id, is_far_enough):
    deadline = time.monotonic() + 90
    while True:
        shown = shop.tenant.ask(f"/v1/erasures/{erasure_id}")["erasure"]
        if is_far_enough(shown):
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.2)


def erase(shop, user):
    admin = shop.tenant.issue("admin")["key"]
    asked = {"min_position": shop.tenant.head()}
    headers = shop.tenant.bearer(admin)
    answer = shop.tenant.http.delete(f"/v1/users/{user}", headers=headers, params=asked)
    return answer.json()["erasure"]


@pytest.fixture(scope="module")
def gone(shop, segments):
    """Position of the log before it, and the erasure with its receipt."""
    before = shop.tenant.head()
    told = shop.tenant.ask(f"/v1/segments/{segments[0]}/explain", user=ADA)
    assert (told["is_member"], told["clauses"]["number"]) == (True, 1)
    assert SECRET in shop.all_of(segments[0])
    shown = erase(shop, ADA)
    return before, until(shop, shown["erasure_id"], lambda one: one["receipt"])


def test_an_erasure_ends_and_the_person_is_gone(shop, gone, problem):
    _, shown = gone
    position = shown["receipt"]
    problem(shop.tenant.get(f"/v1/users/{ADA}", min_position=position), 404, "NOT_FOUND")
    counted = {"ids": 2, "events": 2, "refusals": 0}
    assert shown["counts"].items() >= counted.items()  # it goes on, and counts more
    until(shop, shown["erasure_id"], lambda one: one["step"] == "files")
    (event,) = [one for one in shop.tenant.events() if one["user_id"] != "grace"]
    assert event["user_id"].startswith("erased-")
    refused_soon(shop.tenant, {"event_name": "as nobody", "user_id": event["user_id"]})
    assert erase(shop, event["user_id"])["erasure_id"] == shown["erasure_id"]


def test_segments_show_nothing_of_them(shop, segments, gone, problem):
    live, by_trait, listed = segments
    before, position = gone[0], gone[1]["receipt"]
    path = f"/v1/segments/{live}/explain"
    for user in (ADA, BROWSER):
        problem(shop.tenant.get(path, user=user, min_position=position), 404, "NOT_FOUND")
        problem(shop.tenant.get(path, user=user, known_at=before), 404, "NOT_FOUND")
        member = f"/v1/segments/{live}/members/{user}"
        problem(shop.tenant.get(member, min_position=position), 404, "NOT_FOUND")
        problem(shop.tenant.get(f"/v1/users/{user}/segments"), 404, "NOT_FOUND")
    for asked in ({"min_position": position}, {"known_at": before}):
        for segment in segments:
            assert SECRET not in shop.all_of(segment, **asked)
        (pseudonym,) = (
            one["user_id"]
            for one in shop.tenant.ask(f"/v1/segments/{listed}/members", **asked)["members"]
            if one["user_id"] != "grace"
        )
        assert pseudonym.startswith("erased-")
        for segment in segments:
            explained = shop.tenant.get(f"/v1/segments/{segment}/explain", user=pseudonym, **asked)
            assert explained.status_code == 200
            assert SECRET not in explained.text
        trait = shop.tenant.ask(f"/v1/segments/{by_trait}/explain", user=pseudonym, **asked)
        assert (trait["is_member"], trait["clauses"].get("value")) == (False, None)
    rows = shop.tenant.sql("SELECT * FROM segments JOIN people USING (person_id)")
    assert rows.status_code == 200
    assert SECRET not in rows.text
