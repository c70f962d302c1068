"""Nothing of an erased person is found anywhere, and everything that is counted stays."""

import pytest
from sqlalchemy import text

from infrastructure.analytics_engine import AnalyticsEngine

SECRETS = (
    "ada@example.com",
    "ada-browser",
    "Lovelace",
    "198.51.100.77",
    "901820",
    "Analytical Engine",
    "a secret reason",
)


@pytest.fixture
def lived(system):
    """Ada in the shop with two browsers, one of which she shares with Bob; Bob himself; and somebody
    in another app who has the same id.
    """
    shop = system.shop
    for n in range(5):
        system.track(shop, anonymous_id="ada-browser", properties={"page": "Lovelace", "price": n})
    system.identify(
        shop, user_id="ada@example.com", anonymous_id="ada-browser",
        traits={"name": "Lovelace", "phone": "+49 30 901820", "email": "ada@example.com"},
        operations={"append": {"likes": "Analytical Engine"}},
    )  # fmt: skip
    system.identify(shop, user_id="bob", anonymous_id="ada-browser", traits={"name": "Bob"})
    system.group(shop, user_id="bob", anonymous_id="ada-browser", group_id="acme",
                 traits={"size": 5})  # fmt: skip
    system.group(shop, user_id="ada@example.com", group_id="acme",
                 traits={"contact": "Lovelace", "size": 7})  # fmt: skip
    for n in range(20):
        system.track(
            shop, user_id="ada@example.com", anonymous_id="ada-browser",
            properties={"price": 10 + n, "paid": True, "to": "Lovelace", "in": {"n": 1, "s": "x"}},
        )  # fmt: skip
        system.track(shop, user_id="bob", properties={"price": n, "note": "Bob's"})
    system.track(shop, user_id="bob", anonymous_id="ada-browser", properties={"note": "Bob's"})
    system.alias(shop, user_id="ada@example.com", previous_id="ada-old", forced_by="key",
                 reason="a secret reason")  # fmt: skip
    system.alias(shop, user_id="ada@example.com", previous_id="ada-cut")
    system.cut(shop, "ada@example.com", ("ada@example.com", "ada-cut"), reason="a secret reason")
    system.refuse(shop, b'{"userId": "ada@example.com", "name": "Lovelace"}')
    system.refuse(shop, b'{"userId": "bob", "note": "of Bob"}')
    system.refuse(shop, b'{"traits": {"email": "ada@example.com"}}')
    return system


def test_nothing_of_an_erased_person_is_found_anywhere(lived, found_in):
    system = lived
    with system.running():
        assert {place.split()[0] for place in found_in("ada@example.com")} >= {"log.events"}
        erasure = system.erase(system.shop, "ada@example.com")
        assert [place for word in SECRETS for place in found_in(word)] == []
    assert erasure.counts["ids"] == 3
    assert erasure.counts["refusals"] == 2


def test_read_models_are_what_the_rewritten_log_gives(lived):
    system = lived
    with system.running():
        assert system.differing() == {}
        system.erase(system.shop, "ada-browser")
        system.wait()
        assert system.differing() == {}


def test_totals_and_uniques_of_every_day_stay(lived):
    system = lived
    with system.running():
        before = system.totals()
        system.erase(system.shop, "ada@example.com")
        assert system.totals() == before


def test_the_same_id_in_another_app_is_somebody_else(lived, found_in):
    system = lived
    system.track(system.game, user_id="ada@example.com", properties={"name": "Byron"})
    with system.running():
        system.erase(system.shop, "ada@example.com")
        (event,) = [r.event for r in system.history.recorded() if r.app_id == system.game][1:]
        assert event.user_id == "ada@example.com"
        assert bytes(event.properties) == b'{"name":"Byron"}'
        assert system.differing() == {}


def test_others_keep_what_is_theirs(lived):
    system = lived
    with system.running():
        before = [r for r in system.history.recorded() if _sent_by(r.event, "bob")]
        system.erase(system.shop, "ada@example.com")
        after = [r for r in system.history.recorded() if _sent_by(r.event, "bob")]
    assert len(after) == len(before) == 23
    for one, other in zip(before, after, strict=True):
        assert other.event.message_id == one.event.message_id
        assert other.event.context == one.event.context
        if one.event.anonymous_id:
            assert other.event.anonymous_id.startswith("erased-")
    system.engine.dispose()


def _sent_by(event, user_id):
    return getattr(event, "user_id", None) == user_id


def test_what_a_read_model_could_not_take_is_erased_too(lived, found_in):
    """It is on the log and in none of the tables."""
    system = lived
    with system.running():
        position = system.identify(
            system.shop, user_id="bob", anonymous_id="ada-browser", traits={"seen": "with ada"}
        )
        system.wait()
        with system.engine.begin() as connection:
            for table in ("said", "link_history"):
                connection.execute(
                    text(f"DELETE FROM people.{table} WHERE position = :at"), {"at": position}
                )
            connection.execute(
                text(
                    "INSERT INTO projections.parked (projection, position, app_id, reason)"
                    " VALUES ('people', :at, :app, 'no number')"
                ),
                {"at": position, "app": system.shop},
            )
        system.erase(system.shop, "ada@example.com")
        assert found_in("ada-browser") == []


def test_nobody_else_is_without_traits_meanwhile(lived, monkeypatch):
    """Else a live segment would tell that they left, and entered again."""
    seen = []
    rows = "SELECT DISTINCT person FROM person_traits WHERE traits != '{}' ORDER BY person"

    def spied(self, sql, *given, **named):
        command(self, sql, *given, **named)
        seen.append([person for (person,) in self.query(rows).rows])

    with lived.running():
        command = AnalyticsEngine.command
        before = lived.analytics.query(rows).rows
        monkeypatch.setattr(AnalyticsEngine, "command", spied)
        lived.erase(lived.shop, "ada@example.com")
        monkeypatch.undo()
        after = [person for (person,) in lived.analytics.query(rows).rows]
    erased = {person for (person,) in before} - set(after)
    assert len(erased) == 1
    assert len(seen) > 3
    assert all(set(after) <= set(persons) for persons in seen)
