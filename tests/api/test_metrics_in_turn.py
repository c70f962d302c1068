"""Changes of metrics that come at once, or below others, leave no formula that can't be reckoned."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from domain.limits import MAX_FORMULA_LEVELS
from tests.fixtures.patience import asked_again


class Shop:
    def __init__(self, tenant):
        self.http, self.headers = tenant.http, tenant.bearer(tenant.secret_key)

    def call(self, method, path="", **body):
        url = f"/v1/metrics{path}"
        return asked_again(
            lambda: self.http.request(method, url, headers=self.headers, json=body or None)
        )

    def made(self, name, **definition):
        answer = self.call("POST", name=name, definition=definition or {"event": "buy"})
        assert answer.status_code == 201, answer.text
        return answer.json()["metric"]["metric_id"]

    def formula_of(self, metric, *, of):
        definition = {"formula": "x * 2", "metrics": {"x": of}}
        return self.call("PATCH", f"/{metric}", definition=definition)


@pytest.fixture(scope="module")
def shop(new_tenant):
    return Shop(new_tenant())


def test_two_that_are_to_name_each_other_at_once_do_not(shop):
    with ThreadPoolExecutor(2) as both:
        for n in range(5):
            one, other = shop.made(f"one {n}"), shop.made(f"other {n}")
            first = both.submit(shop.formula_of, one, of=other)
            second = both.submit(shop.formula_of, other, of=one)
            assert sorted([first.result().status_code, second.result().status_code]) == [200, 400]


def test_what_a_formula_has_just_named_is_not_deleted(shop, problem):
    for n in range(3):
        below = shop.made(f"below {n}")
        above = shop.made(f"above {n}", formula="x * 2", metrics={"x": below})
        told = problem(shop.call("DELETE", f"/{below}"), 409, "CONFLICT")
        assert told["metrics"] == [above]


def test_a_chain_does_not_grow_too_long_from_below(shop, problem):
    below = top = shop.made("bottom")
    for level in range(MAX_FORMULA_LEVELS - 2):
        top = shop.made(f"level {level}", formula="x * 2", metrics={"x": top})
    further = shop.made("further down", formula="x * 2", metrics={"x": shop.made("last")})
    refused = shop.formula_of(below, of=further)
    issue = problem(refused, 400, "INVALID_REQUEST", field="definition")["issue"]
    assert "whose formula needs this one" in issue
