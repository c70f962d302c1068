"""Whose address a request comes from, when proxies stand before us."""

import pytest

from api.ingest import _address, request_of


@pytest.mark.parametrize(
    ("forwarded", "trusted", "address"),
    [
        (None, 0, "peer"),
        (None, 1, "peer"),
        ("203.0.113.7", 0, "peer"),
        ("203.0.113.7", 1, "203.0.113.7"),
        ("made up, 203.0.113.7", 1, "203.0.113.7"),
        ("made up, 203.0.113.7, 10.0.0.1", 2, "203.0.113.7"),
        ("203.0.113.7", 2, "peer"),
        (" 203.0.113.7 ", 1, "203.0.113.7"),
        ("", 1, "peer"),
        ("2001:db8::1", 1, "2001:db8::1"),
    ],
)
def test_only_what_trusted_proxies_added_is_believed(forwarded, trusted, address):
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    assert _address(request_of("/v1/events", b"", headers, "peer"), trusted) == address


def test_a_proxy_that_adds_a_line_is_believed_and_the_senders_own_line_is_not():
    headers = [(b"x-forwarded-for", b"made up"), (b"x-forwarded-for", b"203.0.113.7")]
    assert _address(request_of("/v1/events", b"", headers, "peer"), 1) == "203.0.113.7"


def test_what_no_proxy_was_trusted_to_say_changes_nothing(tenant):
    event = {"event_name": "E", "user_id": "u"}
    forged = {"X-Forwarded-For": "203.0.113.7, x" * 50, "CF-IPCountry": "de", "User-Agent": "\x80"}
    answer = tenant.http.post(
        "/v1/events",
        json=event,
        headers=[
            *tenant.bearer(tenant.write_key).items(),
            *((name, value.encode("latin-1")) for name, value in forged.items()),
        ],
    )
    assert answer.status_code == 202
    (found,) = tenant.events()
    assert found["country"] == "DE"
    assert found["browser"] is None


@pytest.mark.parametrize("header", ["XX1", "D", "1A", "", "T1"])
def test_a_country_that_is_none_is_not_kept(tenant, header):
    tenant.send({"event_name": "E", "user_id": "u"}, **{"CF-IPCountry": header})
    (found,) = tenant.events()
    assert found["country"] is None
