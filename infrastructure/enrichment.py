"""What the projector adds to an event: place and device. It runs behind the log, so the raw
facts stay as they came and a rebuild with newer rules gives newer answers.
"""

from typing import NamedTuple

from domain.tracking import Client
from infrastructure.geolocation import CountryDatabase
from infrastructure.user_agents import RULES, Agent, read_agent

_NO_COUNTRY = ("XX", "T1")  # Cloudflare's: unknown, Tor
_NO_AGENT = Agent()


class Enriched(NamedTuple):
    """`country` is ISO 3166-1 alpha-2; the rest are the families of `read_agent`."""

    country: str | None
    browser: str | None
    os: str | None
    device: str | None


class Enrichment:
    """`country_database` is the path of an .mmdb file, or empty. `fingerprint` names the rules:
    another one may give other answers for the same event.
    """

    def __init__(self, country_database: str = "") -> None:
        self._countries = CountryDatabase(country_database) if country_database else None
        place = self._countries.version if self._countries else "no country database"
        self.fingerprint = f"{RULES}; {place}"

    def of(self, client: Client) -> Enriched:
        agent = read_agent(client.user_agent) if client.user_agent else _NO_AGENT
        return Enriched(self._country(client), *agent)

    def _country(self, client: Client) -> str | None:
        """The CDN knows best: it saw the connection."""
        told = client.country
        if told and told.upper() not in _NO_COUNTRY:
            return told.upper()
        if self._countries is None or client.ip is None:
            return None
        return self._countries.country(client.ip)
