"""Eight clients merge overlapping ids at once."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

USERS = [f"user {n}" for n in range(8)]
DEVICES = [f"device {n}" for n in range(24)]
CLIENTS, MERGES = 8, 40


def send_all(tenant, number):
    """(pair, status, answer) of each merge that this client asks for."""
    dice = random.Random(number)
    headers = tenant.bearer(tenant.secret_key)
    found = []
    for _ in range(MERGES):
        user, other = dice.choice(USERS + DEVICES[:4]), dice.choice(DEVICES + USERS)
        body = {"user_id": user, "alias_id": other}
        answer = tenant.http.post("/v1/users/aliases", headers=headers, json=body, timeout=60)
        found.append(((user, other), answer.status_code, answer.json()))
    return found


def groups(tenant):
    """Every id -> the id that its person is shown by."""
    position = tenant.head()
    ask = tenant.ask
    return {
        one: ask(f"/v1/users/{one}", min_position=position)["user"]["user_id"]
        for one in USERS + DEVICES
    }


def test_no_link_is_lost_and_nothing_but_a_stated_refusal_goes_wrong(tenant):
    for one in USERS + DEVICES:
        who = "user_id" if one in USERS else "anonymous_id"
        tenant.sent({"event_name": "seen", who: one})
    with ThreadPoolExecutor(CLIENTS) as clients:
        results = [
            result
            for found in clients.map(lambda number: send_all(tenant, number), range(CLIENTS))
            for result in found
        ]
    persons = groups(tenant)
    refused = Counter()
    for (one, other), status, answer in results:
        if status == 200:
            assert answer["outcome"] in {"linked", "already_linked"}
            assert persons[one] == persons[other], (one, other, answer)
        else:
            assert (status, answer["code"]) == (409, "LINK_REFUSED"), answer
            refused[answer["details"]["reason"]] += 1
            assert one == other or persons[one] != persons[other] or answer["details"]["position"]
    assert set(refused) <= {"two_known_users", "cycle"}
    assert refused["two_known_users"] > 0
    known = {one: persons[one] for one in USERS}
    assert len(set(known.values())) == len(USERS), "two known users were joined"
    assert set(persons.values()) <= set(USERS) | set(DEVICES)
