import pytest

from domain.tracking import Client
from infrastructure.enrichment import Enriched, Enrichment

PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1"
)
NETWORKS = {
    "203.0.113.0/24": {"country": {"iso_code": "DE"}},
    "198.51.100.0/25": {"country_code": "fr"},
    "192.0.2.0/24": {"country": {"names": {"en": "Nowhere"}}},
}


def test_a_user_agent_tells_browser_system_and_device():
    found = Enrichment().of(Client(user_agent=PHONE))
    assert found == Enriched(None, "Mobile Safari", "iOS", "iPhone")


@pytest.mark.parametrize("agent", ["analytics-python/2.4.0", "", "x" * 100_000, "\n\t😀"])
def test_a_user_agent_that_tells_nothing_adds_nothing(agent):
    assert Enrichment().of(Client(user_agent=agent)) == Enriched(None, None, None, None)


@pytest.mark.parametrize(
    ("ip", "country"),
    [
        ("203.0.113.7", "DE"),
        ("198.51.100.4", "FR"),
        ("198.51.100.200", None),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("not an address", None),
        (None, None),
    ],
)
def test_the_country_comes_from_the_operators_database(country_database, ip, country):
    enrichment = Enrichment(str(country_database(NETWORKS)))
    assert enrichment.of(Client(ip=ip)).country == country


def test_the_cdns_country_goes_before_the_database(country_database):
    enrichment = Enrichment(str(country_database(NETWORKS)))
    assert enrichment.of(Client(ip="203.0.113.7", country="us")).country == "US"


@pytest.mark.parametrize("unknown", ["XX", "T1", ""])
def test_a_cdn_that_does_not_know_leaves_it_to_the_database(country_database, unknown):
    enrichment = Enrichment(str(country_database(NETWORKS)))
    assert enrichment.of(Client(ip="203.0.113.7", country=unknown)).country == "DE"


def test_without_a_database_there_is_no_country():
    assert Enrichment().of(Client(ip="203.0.113.7")).country is None


def test_another_database_is_another_fingerprint(country_database):
    paths = [country_database(NETWORKS, build_epoch=epoch) for epoch in (1, 2)]
    prints = {Enrichment(str(path)).fingerprint for path in paths} | {Enrichment().fingerprint}
    assert len(prints) == 3


def test_a_database_that_is_none_is_an_error_at_the_start(tmp_path):
    (tmp_path / "x.mmdb").write_bytes(b"no database")
    with pytest.raises(Exception, match=r"Error opening|valid"):
        Enrichment(str(tmp_path / "x.mmdb"))
