"""POST /v1/users/aliases and un-merges, as callers see them."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest


@pytest.fixture
def shop(tenant):
    """An app with an admin's key, and calls on it."""
    return Shop(tenant)


class Shop:
    def __init__(self, tenant):
        self.tenant = tenant
        self.admin = tenant.issue("admin")["key"]
        self.ask = tenant.ask

    def post(self, path, body, key=None):
        headers = self.tenant.bearer(key or self.tenant.secret_key)
        return self.tenant.http.post(path, headers=headers, json=body)

    def alias(self, user, alias, **more):
        return self.post("/v1/users/aliases", {"user_id": user, "alias_id": alias, **more})

    def unmerge(self, user, **body):
        return self.post(f"/v1/users/{user}/unmerge", body)

    def track(self, at=None, **who):
        return self.tenant.sent({"event_name": "seen", **who, **({"timestamp": at} if at else {})})

    def user(self, distinct_id):
        return self.ask(f"/v1/users/{distinct_id}", min_position=self.tenant.head())["user"]

    def uniques(self, **more):
        asked = {"from": "2026-01-01", "to": "2027-01-01", "interval": "month", **more}
        answer = self.tenant.trends(**asked, measure="unique", min_position=self.tenant.head())
        (series,) = answer["data"]["series"]
        return series["total"]


def test_what_was_sent_with_either_id_is_one_persons(shop):
    shop.track(anonymous_id="phone")
    shop.track(user_id="ada")
    assert shop.uniques() == 2
    answer = shop.alias("ada", "phone")
    assert answer.status_code == 200
    assert answer.json()["outcome"] == "linked"
    assert shop.user("phone")["messages"] == shop.user("ada")["messages"] == 3
    assert shop.uniques() == 1
    assert shop.alias("ada", "phone").json()["outcome"] == "already_linked"


def test_an_identify_with_both_ids_links_them(shop):
    shop.track(anonymous_id="phone")
    body = {"userId": "ada", "anonymousId": "phone", "traits": {"plan": "pro"}}
    assert shop.tenant.send(body, "/v1/identify").status_code == 200
    assert shop.user("phone")["traits"] == {"plan": "pro"}
    assert shop.uniques() == 1


def test_nobody_is_not_found(shop, problem):
    problem(shop.alias("nobody", "phone"), 404, "NOT_FOUND", field="user_id")


@pytest.mark.parametrize("junk", ["null", "undefined", "0", "[object Object]"])
def test_a_junk_id_is_refused_and_nothing_is_stored(shop, problem, junk):
    shop.track(user_id="ada")
    before = shop.tenant.head()
    problem(shop.alias("ada", junk), 409, "LINK_REFUSED", reason="junk_id", field="alias_id")
    problem(shop.alias(junk, "ada"), 409, "LINK_REFUSED", reason="junk_id", field="user_id")
    problem(shop.alias("ada", "ada"), 409, "LINK_REFUSED", reason="cycle")
    assert shop.tenant.head() == before


def test_two_known_users_are_joined_by_an_admin_with_a_reason_only(shop, problem):
    shop.track(user_id="ada")
    shop.track(user_id="eve")
    problem(shop.alias("ada", "eve"), 409, "LINK_REFUSED", reason="two_known_users")
    assert shop.uniques() == 2
    forced = {"force": True, "reason": "the same customer, twice"}
    problem(
        shop.alias("ada", "eve", **forced),
        403,
        "INSUFFICIENT_PERMISSIONS",
        required_permission="merge",
    )
    body = {"user_id": "ada", "alias_id": "eve", "force": True}
    problem(
        shop.post("/v1/users/aliases", body, shop.admin), 400, "INVALID_REQUEST", field="reason"
    )
    answer = shop.post("/v1/users/aliases", {**body, **forced}, shop.admin)
    assert answer.json()["outcome"] == "linked"
    assert shop.uniques() == 1


def test_the_same_message_id_is_one_alias(shop, problem):
    shop.track(user_id="ada")
    first = shop.alias("ada", "phone", message_id="m1").json()
    again = shop.alias("ada", "phone", message_id="m1").json()
    assert (first["outcome"], first["position"]) == (again["outcome"], again["position"])
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    problem(shop.alias("ada", "tablet", message_id="m1"), 409, "CONFLICT")


def test_a_repeated_link_says_how_the_two_stand_now(shop, problem):
    shop.track(user_id="ada")
    shop.track(user_id="eve")
    shop.alias("ada", "phone", message_id="m1")
    problem(shop.alias("eve", "phone", message_id="m2"), 409, "LINK_REFUSED")
    shop.unmerge("ada", alias_id="phone")
    assert shop.alias("ada", "phone", message_id="m1").json()["outcome"] == "not_linked"
    assert shop.alias("eve", "phone", message_id="m2").json()["outcome"] == "linked"


def test_the_history_of_links_says_who_is_together_now_and_was_then(shop):
    shop.track(user_id="ada")
    shop.track(user_id="eve")
    shop.alias("ada", "phone")
    shop.alias("eve", "phone")
    cut = shop.unmerge("ada", alias_id="phone").json()["position"]

    def told(user, **past):
        history = shop.ask(f"/v1/users/{user}/aliases", **past)["history"]
        return {(*one["ids"], one["outcome"]): one["together"] for one in history}

    refused = ("eve", "phone", "two_known_users")
    assert told("phone", known_at=cut - 1) == {("ada", "phone", "linked"): True, refused: False}
    assert told("phone") == {
        ("ada", "phone", "linked"): False,
        ("ada", "phone", "unlinked"): False,
        refused: True,
    }


def test_an_unmerge_and_a_link_at_once_are_as_the_log_has_them(shop):
    """Whichever was asked for first: the one that is recorded last holds."""
    shop.track(user_id="ada")
    for _ in range(6):
        shop.alias("ada", "phone")
        with ThreadPoolExecutor(2) as clients:
            cut = clients.submit(shop.unmerge, "ada", alias_id="phone")
            link = clients.submit(shop.alias, "ada", "phone")
        is_cut = cut.result().json()["position"] > link.result().json()["position"]
        assert shop.user("ada")["ids_total"] == (1 if is_cut else 2)


def test_an_unmerge_gives_each_side_back_what_it_had(shop):
    for user, plan in (("ada", "pro"), ("eve", "free")):
        shop.track(user_id=user)
        body = {"userId": user, "anonymousId": f"{user}-phone", "traits": {"plan": plan}}
        assert shop.tenant.send(body, "/v1/identify").status_code == 200
    before = [shop.user(one) for one in ("ada", "eve", "ada-phone", "eve-phone")]
    forced = {"user_id": "ada", "alias_id": "eve", "force": True, "reason": "a mistake"}
    shop.post("/v1/users/aliases", forced, shop.admin)
    assert shop.user("eve-phone")["messages"] == 5
    answer = shop.unmerge("ada", alias_id="eve", reason="two people")
    assert answer.status_code == 200, answer.text
    assert answer.json()["cut"] in ([["ada", "eve"]], [["eve", "ada"]])
    assert {tuple(sorted(p["ids"])) for p in answer.json()["persons"]} == {
        ("ada", "ada-phone"),
        ("eve", "eve-phone"),
    }
    after = [shop.user(one) for one in ("ada", "eve", "ada-phone", "eve-phone")]
    for was, now in zip(before, after, strict=True):
        assert now["traits"] == was["traits"]
    assert shop.uniques() == 2


def test_all_links_since_a_position_are_undone_together(shop, problem):
    shop.track(user_id="ada")
    shop.alias("ada", "old")
    position = shop.tenant.head()
    for number in range(3):
        shop.track(anonymous_id=f"phone-{number}")
        shop.alias("ada", f"phone-{number}")
    assert shop.uniques() == 1
    answer = shop.unmerge("ada", since=position)
    assert sorted(map(sorted, answer.json()["cut"])) == [
        ["ada", f"phone-{number}"] for number in range(3)
    ]
    assert shop.uniques() == 4
    assert shop.user("old")["messages"] == 5  # one event, four aliases
    problem(shop.unmerge("ada", since=shop.tenant.head()), 404, "NOT_FOUND")
    details = problem(shop.unmerge("ada", since=10**18), 400, "INVALID_REQUEST", field="since")
    assert details["issue"] == "is a number outside ±2^53"


def test_a_middle_id_takes_what_hangs_on_it_alone(shop):
    shop.track(user_id="ada")
    shop.alias("ada", "phone")
    shop.alias("phone", "app")
    answer = shop.unmerge("ada", alias_id="phone")
    assert {tuple(sorted(p["ids"])) for p in answer.json()["persons"]} == {
        ("ada",),
        ("app", "phone"),
    }


def test_what_is_not_linked_can_not_be_unmerged(shop, problem):
    shop.track(user_id="ada")
    shop.track(user_id="eve")
    problem(shop.unmerge("ada", alias_id="eve"), 404, "NOT_FOUND", outcome="not_linked")
    problem(shop.unmerge("ada"), 400, "INVALID_REQUEST", field="alias_id")
    problem(shop.unmerge("ada", alias_id="ada"), 400, "INVALID_REQUEST", field="alias_id")
    problem(shop.unmerge("ada", alias_id="eve", since=1), 400, "INVALID_REQUEST", field="alias_id")


def test_a_preview_says_what_a_merge_would_change_and_changes_nothing(shop):
    for number in range(4):
        shop.track(anonymous_id="phone", at=f"2026-03-0{number + 1}T00:00:00Z")
    shop.tenant.send({"userId": "ada", "traits": {"plan": "pro"}}, "/v1/identify")
    shop.tenant.send({"anonymousId": "phone", "traits": {"city": "Bonn"}}, "/v1/identify")
    shop.tenant.events()
    head = shop.tenant.head()
    asked = {"user_id": "ada", "alias_id": "phone"}
    shown = shop.post("/v1/users/merge-preview", asked).json()
    assert shown["outcome"] == "linked"
    assert [(p["user_id"], p["traits"]) for p in shown["after"]] == [
        ("ada", {"city": "Bonn", "plan": "pro"})
    ]
    assert {p["user_id"]: p["traits"] for p in shown["before"]} == {
        "ada": {"plan": "pro"},
        "phone": {"city": "Bonn"},
    }
    assert shop.tenant.head() == head
    assert shop.user("ada")["traits"] == {"plan": "pro"}
    shop.alias("ada", "phone")
    undone = shop.post("/v1/users/unmerge-preview", asked).json()
    assert undone["outcome"] == "unmerged"
    assert {p["user_id"] for p in undone["after"]} == {"ada", "phone"}
    assert (undone["events_moving"], undone["metrics"]) == (0, [])  # ada has sent none
    assert shop.user("ada")["messages"] == 7


def test_uniques_are_as_the_log_stood(shop):
    shop.track(anonymous_id="phone")
    apart = shop.track(user_id="ada")
    shop.alias("ada", "phone")
    linked = shop.tenant.head()
    shop.unmerge("ada", alias_id="phone")
    shop.track(user_id="eve")
    assert shop.uniques() == 3
    assert shop.uniques(known_at=linked) == 1
    assert shop.uniques(known_at=apart) == 2
    assert shop.uniques(known_at=apart - 1) == 1


def test_trends_are_of_what_had_happened_by_then(shop, problem):
    shop.track(user_id="ada", at="2026-03-01T12:00:00Z")
    shop.track(user_id="eve", at="2026-03-02T12:00:00.000001Z")
    assert shop.uniques(as_of="2026-03-01") == 1
    assert shop.uniques(as_of="2026-03-02T12:00:00Z") == 1
    assert shop.uniques(as_of="2026-03-02T12:00:00.000001Z") == 2
    asked = {"from": "2026-01-01", "to": "2027-01-01", "known_at": 10**12}
    headers = shop.tenant.bearer(shop.tenant.secret_key)
    answer = shop.tenant.http.post("/v1/analytics/trends", headers=headers, json=asked)
    problem(answer, 400, "INVALID_REQUEST", field="known_at")


def test_unmerges_at_once_are_each_answered(shop):
    shop.track(user_id="ada")
    for _ in range(4):
        shop.alias("ada", "phone")
        with ThreadPoolExecutor(8) as clients:
            statuses = list(
                clients.map(lambda _: shop.unmerge("ada", alias_id="phone").status_code, range(8))
            )
        assert set(statuses) <= {200, 404}
        assert 200 in statuses
    assert shop.user("phone")["ids_total"] == 1


def test_a_preview_says_what_the_merge_would_answer(shop, problem):
    shop.track(user_id="ada")
    asked = {"user_id": "ada", "alias_id": "null"}
    shown = shop.post("/v1/users/merge-preview", asked).json()
    assert (shown["outcome"], shown["after"]) == ("junk_id", [])
    answer = shop.post("/v1/users/merge-preview", {"user_id": "nobody", "alias_id": "ada"})
    problem(answer, 404, "NOT_FOUND", field="user_id")


def test_a_preview_refuses_an_erased_id_as_the_link_does(shop, problem):
    shop.track(user_id="ada")
    shop.track(user_id="eve")
    head = {"min_position": shop.tenant.head()}
    url, headers = "/v1/users/eve", shop.tenant.bearer(shop.admin)
    assert shop.tenant.http.delete(url, headers=headers, params=head).status_code == 202
    asked = {"user_id": "ada", "alias_id": "eve"}
    until = time.monotonic() + 90  # it takes seconds until all processes refuse the id
    while (shown := shop.post("/v1/users/merge-preview", asked)).status_code == 200:
        assert time.monotonic() < until
    problem(shown, 400, "INVALID_REQUEST", field="alias_id")


def test_a_preview_takes_an_alias_that_nobody_has_sent_yet(shop):
    shop.tenant.send({"user_id": "ada", "traits": {"plan": "pro"}}, "/v1/users")
    asked = {"user_id": "ada", "alias_id": "unseen"}
    shown = shop.post("/v1/users/merge-preview", asked).json()
    assert [person["ids"] for person in shown["before"]] == [["ada"]]
    (after,) = shown["after"]
    assert (after["ids"], after["traits"]) == (["ada", "unseen"], {"plan": "pro"})
    assert (shown["outcome"], shown["events_moving"], shown["after_total"]) == ("linked", 0, 1)
    assert shop.alias("ada", "unseen").json()["outcome"] == "linked"
    assert shop.user("ada")["ids_total"] == 2


def test_our_name_for_a_person_stands_for_the_id_wherever_one_is_asked_for(shop, problem):
    sent = (shop.tenant.send({"user_id": name}, "/v1/users") for name in ("ada", "eve"))
    ada, eve = (answer.json()["user_id"] for answer in sent)
    shop.track(anonymous_id="phone")
    assert shop.alias(ada, "phone").json()["user_id"] == "ada"
    problem(shop.alias("ada", ada), 409, "LINK_REFUSED", reason="cycle")
    shown = shop.post("/v1/users/merge-preview", {"user_id": ada, "alias_id": eve}).json()
    assert [person["user_id"] for person in shown["before"]] == ["ada", "eve"]
    asked = {"user_id": ada, "alias_id": "phone"}
    assert shop.post("/v1/users/unmerge-preview", asked).json()["cut"] == [["ada", "phone"]]
    answer = shop.unmerge(ada, alias_id="phone").json()
    assert (answer["user_id"], answer["cut"]) == ("ada", [["ada", "phone"]])


def test_an_unmerge_tells_of_the_persons_that_there_are_then(shop):
    shop.tenant.send({"user_id": "ada", "traits": {"plan": "pro"}}, "/v1/users")
    for phone in ("phone-1", "phone-2"):
        shop.alias("ada", phone)
    answer = shop.unmerge("ada", alias_id="phone-1").json()
    assert [person["ids"] for person in answer["persons"]] == [["ada", "phone-2"], ["phone-1"]]
    assert (answer["persons_total"], answer["cut_total"]) == (2, 1)
    assert answer["persons"][0]["traits"] == shop.user("ada")["traits"] == {"plan": "pro"}


def test_of_many_persons_some_are_told_and_how_many_there_are(shop):
    aliases = [{"type": "alias", "userId": "ada", "previousId": f"a-{n:03}"} for n in range(105)]
    assert shop.tenant.send({"batch": aliases}, "/v1/batch").status_code == 200
    answer = shop.unmerge("ada", since=0).json()
    assert (answer["persons_total"], answer["cut_total"]) == (106, 105)
    assert [person["user_id"] for person in answer["persons"]] == ["ada"] + [
        f"a-{n:03}" for n in range(99)
    ]


def test_a_link_that_was_refused_is_not_unmerged(shop, problem):
    shop.track(user_id="ada")
    position = shop.track(user_id="eve")
    problem(shop.alias("ada", "eve"), 409, "LINK_REFUSED", reason="two_known_users")
    problem(shop.unmerge("ada", since=position), 404, "NOT_FOUND", outcome="not_linked")


def test_nobody_takes_over_the_internal_id_of_somebody_else(shop):
    taken = shop.tenant.send({"user_id": "victim", "traits": {"who": "victim"}}, "/v1/users")
    internal = taken.json()["user_id"]
    shop.tenant.send({"user_id": internal, "traits": {"who": "impostor"}}, "/v1/users")
    assert shop.user(internal)["traits"] == {"who": "victim"}


def test_a_link_that_a_clock_ahead_repeated_can_be_cut_and_made_again(shop):
    ahead = (datetime.now(UTC) + timedelta(hours=10)).isoformat()
    earlier = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    for at in (earlier, ahead):
        shop.tenant.sent({"user_id": "ada", "anonymous_id": "phone", "timestamp": at}, "/v1/users")
    assert shop.user("phone")["user_id"] == "ada"
    answer = shop.unmerge("ada", alias_id="phone")
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["persons"]) == 2
    assert shop.user("phone")["ids_total"] == 1
    assert shop.alias("ada", "phone").json()["outcome"] == "linked"
    assert shop.user("phone")["user_id"] == "ada"


def test_of_two_users_in_one_request_the_first_has_the_device(shop):
    users = [{"user_id": one, "anonymous_id": "phone"} for one in ("ada", "bob", "eve")]
    assert shop.tenant.send({"users": users}, "/v1/users/batch").status_code == 202
    assert shop.user("phone")["user_id"] == "ada"
    for other in ("bob", "eve"):
        assert shop.user(other)["ids_total"] == 1
