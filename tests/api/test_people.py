"""Reading people over HTTP: lists, links, histories, groups, and all of it as it was."""

import json
from urllib.parse import quote

import pytest

from api.user_ids import public_id

DAY = "2026-01-0{}T00:00:00Z"


@pytest.fixture(scope="module")
def shop(new_tenant):
    """Ada with a browser and a company, Grace on her own. `positions`: by what was said."""
    tenant = new_tenant()
    tenant.positions = {}

    def say(name, path, **body):
        answer = tenant.send(body, path)
        assert answer.status_code in {200, 202}, answer.text
        tenant.positions[name] = tenant.head()

    say("seen", "/v1/events", event_name="Seen", anonymous_id="browser", timestamp=DAY.format(1))
    say(
        "ada",
        "/v1/users",
        user_id="ada",
        email="Ada@example.com",
        traits={"plan": "free"},
        timestamp=DAY.format(2),
    )
    say("grace", "/v1/users", user_id="grace", traits={"plan": "pro"}, timestamp=DAY.format(3))
    say(
        "linked",
        "/v1/identify",
        userId="ada",
        anonymousId="browser",
        traits={"plan": "pro"},
        timestamp=DAY.format(4),
    )
    say("bought", "/v1/events", event_name="Bought", user_id="ada", timestamp=DAY.format(5))
    say(
        "group",
        "/v1/group",
        userId="ada",
        groupId="acme",
        traits={"size": 3},
        timestamp=DAY.format(6),
    )
    say("other group", "/v1/group", userId="grace", groupId="acme", timestamp=DAY.format(7))
    tenant.ask("/v1/users", min_position=tenant.head())
    tenant.events()
    return tenant


def names(answer):
    return [user["user_id"] for user in answer["users"]]


def test_a_person_is_found_by_any_id_also_by_our_own_name_for_one(shop):
    found = shop.ask("/v1/users/ada")["user"]
    for name in ("browser", public_id("ada"), public_id("browser")):
        assert shop.ask(f"/v1/users/{name}")["user"] == found
    assert [one["distinct_id"] for one in found["ids"]] == ["ada", "browser"]
    assert found["groups"] == [
        {"group_type": "company", "group_id": "acme", "since": shop.positions["group"]}
    ]
    assert found["messages"] == 5


def test_a_name_of_ours_that_means_nobody_is_nobody(shop, problem):
    for name in (public_id("nobody"), "usr_", "usr_!", "usr_AA", "usr_" + "A" * 1000):
        answer = shop.get(f"/v1/users/{name}")
        assert answer.status_code in {400, 404}
    problem(shop.get(f"/v1/users/{public_id('nobody')}"), 404, "NOT_FOUND")


def test_persons_are_listed_counted_and_paged(shop):
    whole = shop.ask("/v1/users")
    assert (names(whole), whole["count"], whole["cursor"]) == (["grace", "ada"], 2, None)
    assert names(shop.ask("/v1/users", sort="last_seen")) == ["grace", "ada"]
    assert names(shop.ask("/v1/users", sort="first_seen")) == ["grace", "ada"]
    assert names(shop.ask("/v1/users", sort="user_id")) == ["ada", "grace"]
    for sort in ("created", "last_seen", "first_seen", "user_id"):
        first = shop.ask("/v1/users", sort=sort, limit=1)
        second = shop.ask("/v1/users", sort=sort, limit=1, cursor=first["cursor"])
        assert {*names(first), *names(second)} == {"ada", "grace"}
        assert first["count"] == second["count"] == 2


def test_persons_are_searched_and_filtered(shop):
    where = json.dumps([{"property": "plan", "operator": "equals", "value": "pro"}])
    assert shop.ask("/v1/users", where=where)["count"] == 2
    then = shop.ask("/v1/users", where=where, known_at=shop.positions["grace"])
    assert names(then) == ["grace"]
    assert names(shop.ask("/v1/users", search="brow")) == ["ada"]
    assert names(shop.ask("/v1/users", search="ADA@ex")) == ["ada"]
    assert names(shop.ask("/v1/users", search="brow", where=where)) == ["ada"]


def test_links_are_told_with_what_came_of_them(shop):
    answer = shop.ask("/v1/users/browser/aliases")
    assert (answer["user_id"], answer["ids_total"], answer["cursor"]) == ("ada", 2, None)
    (link,) = answer["history"]
    assert link["timestamp"].startswith("2026-01-04T00:00:00")
    assert {**link, "timestamp": None} == {
        "position": shop.positions["linked"],
        "timestamp": None,
        "verb": "link",
        "ids": ["browser", "ada"],
        "outcome": "linked",
        "together": True,
        "key_id": None,
        "note": None,
    }
    first = shop.ask("/v1/users/browser/aliases", limit=1)
    assert shop.ask("/v1/users/browser/aliases", limit=1, cursor=first["cursor"])["history"] == []
    before = shop.ask("/v1/users/ada/aliases", known_at=shop.positions["grace"])
    assert (before["ids_total"], before["history"]) == (1, [])


def test_every_operation_on_a_trait_is_told_newest_first(shop):
    answer = shop.ask("/v1/users/browser/history")
    told = [(one["trait"], one["operation"], one["value"]) for one in answer["history"]]
    assert told == [
        ("plan", "set", "pro"),
        ("email", "set", "Ada@example.com"),
        ("plan", "set", "free"),
    ]
    assert len(shop.ask("/v1/users/ada/history", trait="plan")["history"]) == 2
    found, cursor = [], None
    while cursor or not found:
        given = {"cursor": cursor} if cursor else {}
        page = shop.ask("/v1/users/ada/history", limit=1, **given)
        found += page["history"]
        cursor = page["cursor"]
    assert found == answer["history"]
    then = shop.ask("/v1/users/ada/history", known_at=shop.positions["ada"])
    assert len(then["history"]) == 2
    assert shop.ask("/v1/users/ada/history", as_of="2026-01-01")["history"] == []


def test_the_timeline_is_of_all_ids(shop):
    for path, given in (("/v1/users/browser/events", {}), ("/v1/events", {"user_id": "ada"})):
        events = [one["event_name"] for one in shop.ask(path, **given)["events"]]
        assert events == ["Bought", "Seen"]
    apart = shop.ask("/v1/users/browser/events", known_at=shop.positions["grace"])["events"]
    assert [one["event_name"] for one in apart] == ["Seen"]
    early = shop.ask("/v1/users/ada/events", as_of="2026-01-04")["events"]
    assert [one["event_name"] for one in early] == ["Seen"]
    nobody = shop.ask("/v1/events", user_id="ada", known_at=shop.positions["seen"])["events"]
    assert nobody == []
    assert shop.get("/v1/users/ada/events", known_at=shop.positions["seen"]).status_code == 404


def test_events_and_their_names_as_they_were(shop):
    for known_at, expected in (("seen", ["Seen"]), ("bought", ["Bought", "Seen"])):
        position = shop.positions[known_at]
        answer = shop.ask("/v1/events", known_at=position)
        assert [one["event_name"] for one in answer["events"]] == expected
        assert answer["position"] == position
        told = shop.ask("/v1/events/names", known_at=position)["names"]
        assert sorted(one["event_name"] for one in told) == sorted(expected)
    told = shop.ask("/v1/events/names", as_of=DAY.format(1))["names"]
    assert [one["event_name"] for one in told] == ["Seen"]


def test_groups_have_profiles_and_members(shop):
    (group,) = shop.ask("/v1/groups")["groups"]
    assert shop.ask("/v1/groups/company/acme")["group"] == group
    assert (group["traits"], group["members"]) == ({"size": 3}, 2)
    assert shop.ask("/v1/groups", type="team")["count"] == 0
    members = shop.ask("/v1/groups/company/acme/members")
    assert members["count"] == 2
    assert [one["user_id"] for one in members["members"]] == ["ada", "grace"]
    first = shop.ask("/v1/groups/company/acme/members", limit=1)
    second = shop.ask("/v1/groups/company/acme/members", limit=1, cursor=first["cursor"])
    assert [one["user_id"] for one in second["members"]] == ["grace"]
    then = shop.ask("/v1/groups/company/acme", known_at=shop.positions["group"])["group"]
    assert (then["members"], then["last_seen"][:10]) == (1, "2026-01-06")
    for path in ("/v1/groups/team/acme", "/v1/groups/team/acme/members"):
        assert shop.get(path).status_code == 404
    early = shop.positions["bought"]
    assert shop.get("/v1/groups/company/acme", known_at=early).status_code == 404
    assert shop.ask("/v1/groups", known_at=early)["groups"] == []


def test_a_profile_as_it_was_at_a_position_at_an_instant_and_up_to_a_time(shop):
    then = shop.ask("/v1/users/ada", known_at=shop.positions["ada"])
    assert then["position"] == shop.positions["ada"]
    assert then["user"]["traits"]["plan"] == "free"
    assert then["user"]["ids_total"] == 1
    assert shop.get("/v1/users/ada", known_at=shop.positions["seen"]).status_code == 404
    now = shop.ask("/v1/users/ada")["user"]
    assert shop.ask("/v1/users/ada", known_at="2099-01-01")["user"] == now
    assert shop.get("/v1/users/ada", known_at="2020-01-01").status_code == 404
    early = shop.ask("/v1/users/ada", as_of="2026-01-02")["user"]
    assert (early["traits"]["plan"], early["messages"]) == ("free", 2)
    assert early["ids_total"] == 2  # who is whom is a matter of known_at alone
    assert early["last_seen"].startswith("2026-01-02")
    assert early["groups"] == []


EVERYWHERE = [
    *("/v1/users/ada", "/v1/users", "/v1/users/ada/aliases", "/v1/users/ada/history"),
    *("/v1/users/ada/events", "/v1/events", "/v1/events?user_id=ada", "/v1/events/names"),
    *("/v1/groups", "/v1/groups/company/acme", "/v1/groups/company/acme/members"),
]


@pytest.mark.parametrize("path", EVERYWHERE)
def test_a_past_that_can_not_be_is_refused_by_name(shop, problem, path):
    path, _, given = path.partition("?")
    asked = dict(pair.split("=") for pair in given.split("&") if pair)
    head = shop.head()
    for name, value in (
        *(("known_at", head + 1000), ("known_at", "yesterday"), ("known_at", "9" * 30)),
        *(("as_of", "yesterday"), ("as_of", "5")),
    ):
        answer = shop.get(path, **asked, **{name: value})
        details = problem(answer, 400, "INVALID_REQUEST", field=name)
        if value == head + 1000:
            assert str(head) in details["issue"] or "ahead of the log" in details["issue"]


def test_a_cursor_works_in_the_past_that_gave_it(shop, problem):
    position = shop.positions["bought"]
    first = shop.ask("/v1/users", limit=1, known_at=position)
    again = shop.ask("/v1/users", limit=1, known_at=position, cursor=first["cursor"])
    assert {*names(first), *names(again)} == {"ada", "grace"}
    for given in ({}, {"known_at": position - 1}, {"known_at": position, "sort": "user_id"}):
        answer = shop.get("/v1/users", cursor=first["cursor"], **given)
        problem(answer, 400, "INVALID_REQUEST", field="cursor")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"where": '[{"property": "$user_id", "operator": "is_set"}]'}, "where[0].property"),
        ({"where": "[1]"}, "where[0]"),
        ({"search": "a\0"}, "search"),
        ({"search": "a" * 201}, "search"),
        ({"sort": "name"}, "sort"),
        ({"cursor": "x"}, "cursor"),
    ],
)
def test_what_a_list_can_not_be_asked_is_refused_by_name(shop, problem, given, field):
    problem(shop.get("/v1/users", **given), 400, "INVALID_REQUEST", field=field)


def test_what_it_can_be_sorted_by_is_named(shop, problem):
    details = problem(shop.get("/v1/users", sort="name"), 400, "INVALID_REQUEST", field="sort")
    assert details["issue"] == "must be one of created, last_seen, first_seen, user_id"


def test_ids_with_slashes_have_histories_too(tenant):
    position = tenant.sent({"event_name": "E", "user_id": "a/b"})
    for end in ("aliases", "history", "events"):
        tenant.ask(f"/v1/users/{quote('a/b', safe='')}/{end}", min_position=position)
    assert tenant.get("/v1/users/nobody/history").status_code == 404
    assert tenant.get("/v1/users/nobody/aliases").status_code == 404
