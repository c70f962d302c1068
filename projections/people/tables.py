"""The tables of people. A number is that of a distinct id unless it says otherwise."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

name = "people"
metadata = MetaData(schema=name)

_TIME = DateTime(timezone=True)

distinct_ids = Table(
    "distinct_ids",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("distinct_id", Text(collation="C"), primary_key=True),  # its index finds prefixes
    Column("number", Integer, nullable=False),
    Column("messages", BigInteger, nullable=False),  # sent with this id
    Column("first_seen", _TIME),  # by the event's own time
    Column("last_seen", _TIME),
    Column("known_since", _TIME),  # earliest use as a user id
    Column("person", Integer, nullable=False),  # the lowest number of the person's ids
    Column("newest_link", _TIME),  # latest time at which a link of it was spoken of
    Column("position", BigInteger, nullable=False),  # of its first mention
    UniqueConstraint("app_number", "number"),
    Index("distinct_ids_by_person", "app_number", "person"),
    postgresql_with={"fillfactor": 70},  # counting in place: no index entry is written for it
)
# Every message that is about a person, and not about what somebody did. Never rewritten.
said = Table(
    "said",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("number", Integer, nullable=False),  # the sender's
    Column("event_id", LargeBinary, nullable=False),
    Column("timestamp", _TIME, nullable=False),
    Column("kind", Text, nullable=False),  # identify, alias, group
    Column("known_since", _TIME),  # Message.ordered_at, where the sender stood as a user id
    Column("traits", Text),  # JSON as received; of a group: the group's
    Column("operations", Text),
    Column("group_type", Text),
    Column("group_id", Text),
    Index("said_by_number", "app_number", "number"),
    Index(
        "said_of_group",
        "app_number",
        "group_type",
        "group_id",
        postgresql_where="group_id IS NOT NULL",
    ),
)
# What holds for a pair of ids: domain/identity.Register. Keys are (time, event id).
links = Table(
    "links",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("low", Integer, primary_key=True),
    Column("high", Integer, primary_key=True),
    Column("linked_at", _TIME),
    Column("linked_event", LargeBinary),
    Column("forced_at", _TIME),
    Column("forced_event", LargeBinary),
    Column("unlinked_at", _TIME),
    Column("unlinked_event", LargeBinary),
    Column("linked_reason", Text),
    Column("forced_reason", Text),
    Index("links_by_high", "app_number", "high"),
)
# Everything that was said of a pair, and what came of it at that position. Never rewritten.
link_history = Table(
    "link_history",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("low", Integer, primary_key=True),
    Column("high", Integer, primary_key=True),
    Column("timestamp", _TIME, nullable=False),  # the key's; see links.py
    Column("event_id", LargeBinary, nullable=False),  # the key's second part
    Column("verb", Text, nullable=False),  # link, unlink
    Column("outcome", Text, nullable=False),  # domain/identity.Outcome; of an unlink: unlinked
    Column("key_id", Text),  # who forced or cut it
    Column("note", Text),  # the reason that was given for it
    Index("link_history_by_low", "app_number", "low", "high"),
    Index("link_history_by_high", "app_number", "high"),
)
# From `position` on the number belongs to `person`; before it, and without a row, to itself.
person_changes = Table(
    "person_changes",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("person", Integer, nullable=False),
    Index("person_changes_by_person", "app_number", "person"),
    Index("person_changes_by_position", "position"),
)
# The traits of each person that has any, folded (domain/traits.py).
persons = Table(
    "persons",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("person", Integer, primary_key=True),
    Column("traits", JSONB, nullable=False),  # name -> value
    Column("folded", Text, nullable=False),  # name -> domain/traits.Trait, JSON
    Column("email", Text(collation="C")),  # said.searched_email
    Index("persons_by_email", "app_number", "email"),
)
groups = Table(
    "groups",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("group_type", Text, primary_key=True),
    Column("group_id", Text, primary_key=True),
    Column("first_seen", _TIME, nullable=False),
    Column("last_seen", _TIME, nullable=False),
    Column("folded", Text, nullable=False),
)
group_members = Table(
    "group_members",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("group_type", Text, primary_key=True),
    Column("group_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("position", BigInteger, nullable=False),  # of the first message that said so
    Index("group_members_by_number", "app_number", "number"),
)
