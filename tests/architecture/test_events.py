"""Every event says itself what it is stored as."""

import re
from pathlib import Path

import msgspec
import pytest

from domain import catalogue
from domain.catalogue import EVENTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_an_event_declares_its_own_topic(event):
    """An inherited one would store two shapes under one name."""
    assert "TOPIC" in vars(event)
    assert re.fullmatch(r"[a-z_.]+\.v\d+", event.TOPIC)


def test_no_two_events_have_one_topic():
    topics = [event.TOPIC for event in EVENTS]
    assert len(set(topics)) == len(topics)
    assert set(catalogue.BY_TOPIC) == set(topics)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_an_event_cannot_change(event):
    assert issubclass(event, msgspec.Struct)
    assert event.__struct_config__.frozen


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_an_event_has_a_category_for_the_feed(event):
    assert catalogue.category(event.TOPIC) != "other"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_an_event_is_documented(event):
    assert f"`{event.TOPIC}`" in (ROOT / "docs/events.md").read_text()


def test_every_class_with_a_topic_is_in_the_catalogue():
    declared = set()
    for module in (ROOT / "domain").rglob("*.py"):
        declared |= set(re.findall(r'TOPIC: ClassVar\[str\] = "([^"]+)"', module.read_text()))
    assert declared == set(catalogue.BY_TOPIC)


def test_old_topics_lead_to_a_shape_that_can_be_read():
    for old in catalogue.UPCASTERS:
        topic, seen = old, {old}
        while topic in catalogue.UPCASTERS:
            topic, _ = catalogue.UPCASTERS[topic]
            assert topic not in seen, f"{old} leads round in a circle"
            seen.add(topic)
        assert topic in catalogue.BY_TOPIC
        assert old not in catalogue.BY_TOPIC
