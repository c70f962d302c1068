"""One person, by any of their ids."""

from datetime import timedelta

import msgspec
import pytest

from domain.tracking import Aliased, Grouped, Identified
from projections.people import past, profiles
from projections.people.shown import MOST_IDS
from tests.fixtures.history import NOON


@pytest.fixture
def find(engine):
    def find_profile(distinct_id):
        with engine.connect() as connection:
            return profiles.find_profile(connection, 1, distinct_id)

    return find_profile


def _hours(number):
    return NOON + timedelta(hours=number)


def test_the_id_shown_is_the_oldest_known_one_and_else_the_oldest(live, history, find):
    shop = history.found()
    history.alias(shop, "new", "phone", at=_hours(1))
    history.track(shop, "old", timestamp=_hours(5))
    live(history.recorded())
    assert find("phone").user_id == "new"
    position = history.head()
    history.append(shop, _identified("old", "phone", _hours(-1)))
    live(history.recorded(position))
    # A link of two known users is refused, so each is shown on its own.
    assert {find(one).user_id for one in ("old", "new")} == {"old", "new"}
    position = history.head()
    forced = Aliased(
        message_id="forced",
        received_at=NOON,
        timestamp=_hours(6),
        user_id="new",
        previous_id="old",
        forced_by="key",
    )
    history.append(shop, forced)
    live(history.recorded(position))
    assert {find(one).user_id for one in ("old", "new", "phone")} == {"old"}


def test_what_was_received_before_a_link_and_recorded_after_it_does_not_undo_it(
    live, history, find
):
    """Two requests at once: the link of the second is answered, then the first is recorded."""
    shop = history.found()
    history.alias(shop, "ada", "phone", at=NOON)
    live(history.recorded())
    assert find("phone").user_id == "ada"
    position = history.head()
    earlier = NOON - timedelta(seconds=1)
    history.append(shop, _received(earlier, user_id="phone"))
    live(history.recorded(position))
    assert find("phone").user_id == find("ada").user_id
    # Its own time says that it happened before: then it was a known user already.
    position = history.head()
    said = _hours(-1)
    history.append(shop, _received(NOON, user_id="phone", timestamp=said, original_timestamp=said))
    live(history.recorded(position))
    assert find("phone").user_id != find("ada").user_id


def _received(at, **fields):
    return Identified(**{"message_id": f"at {at}", "received_at": at, "timestamp": at} | fields)


def _identified(user, anonymous, at, **traits):
    return Identified(
        message_id=f"{user} {anonymous} {at}",
        received_at=NOON,
        timestamp=at,
        user_id=user,
        anonymous_id=anonymous,
        traits=msgspec.Raw(msgspec.json.encode(traits)),
    )


def test_a_person_without_a_known_id_is_shown_as_nobody_else(live, history, find):
    shop = history.found()
    history.append(shop, _identified(None, "browser", _hours(2), plan="free"))
    live(history.recorded())
    found = find("browser")
    assert (found.user_id, found.ids[0].known, found.traits) == ("browser", False, {"plan": "free"})
    assert find("nobody") is None


def test_each_trait_says_which_id_it_came_with(live, history, find):
    shop = history.found()
    history.append(shop, _identified(None, "browser", _hours(2), plan="pro", seats=1))
    history.append(shop, _identified("ada", "browser", _hours(1), plan="free", name="Ada"))
    live(history.recorded())
    found = find("ada")
    assert found.traits == {"name": "Ada", "plan": "pro", "seats": 1}
    sources = {name: source.distinct_id for name, source in found.trait_sources.items()}
    assert sources == {"name": "ada", "plan": "browser", "seats": "browser"}
    assert found.trait_sources["plan"].timestamp == _hours(2)
    ids = {one.distinct_id: (one.known, one.messages) for one in found.ids}
    assert ids == {"ada": (True, 1), "browser": (False, 1)}
    assert (found.messages, found.first_seen, found.last_seen) == (2, _hours(1), _hours(2))
    assert find("browser") == found


def test_groups_of_all_ids_with_the_first_message_that_said_so(live, history, find):
    shop = history.found()
    history.alias(shop, "ada", "browser")
    said = [("browser", "company", "acme"), ("ada", "company", "acme"), ("ada", "team", "red")]
    positions = [
        history.append(
            shop,
            Grouped(
                message_id=f"{user} {kind}",
                received_at=NOON,
                timestamp=NOON,
                anonymous_id=user,
                group_type=kind,
                group_id=group,
            ),
        )
        for user, kind, group in said
    ]
    live(history.recorded())
    found = [(one.group_type, one.group_id, one.since) for one in find("ada").groups]
    assert found == [("company", "acme", positions[0]), ("team", "red", positions[2])]


def test_of_very_many_ids_the_oldest_are_shown_and_the_one_that_was_asked_for(
    live, history, find, then, engine
):
    shop = history.found()
    many = MOST_IDS + 20
    for number in range(many):
        history.alias(shop, "ada", f"phone {number:04}", at=_hours(number))
    last = f"phone {many - 1:04}"
    history.append(shop, _identified(None, last, _hours(many), plan="pro"))
    live(history.recorded())
    found = find("ada")
    assert (found.ids_total, len(found.ids), found.ids[0].distinct_id) == (many + 1, 1000, "ada")
    # Ids that never sent anything come last, by name.
    assert found.ids[1].distinct_id == last
    assert found.ids[2].distinct_id == "phone 0000"
    assert found.ids[-1].distinct_id == f"phone {MOST_IDS - 3:04}"
    asked = find(f"phone {many - 2:04}")
    assert len(asked.ids) == MOST_IDS
    assert asked.ids[-1].distinct_id == f"phone {many - 2:04}"
    assert asked.ids[:-1] == found.ids[:-1]
    with engine.connect() as connection:
        whole = then(connection, history.head())
        assert past.find_profile(whole, "ada") == found
        assert past.find_profile(whole, f"phone {many - 2:04}") == asked
