"""Country of an IP address, from a database that the operator brings (.mmdb, any vendor's).

No database comes with the product: none with a clean licence is on the package index. Public
domain ones: the PDDL country files of the ip-location-db project.
"""

from functools import lru_cache
from typing import Any

import maxminddb

_CACHED = 16_384  # addresses
_LETTERS = 2  # ISO 3166-1 alpha-2


class CountryDatabase:
    """Raises OSError or maxminddb.InvalidDatabaseError when the file can't be used."""

    def __init__(self, path: str) -> None:
        self._reader = maxminddb.open_database(path)
        built = self._reader.metadata()
        self.version = f"{built.database_type} {built.build_epoch}"
        self.country = lru_cache(_CACHED)(self._country)

    def close(self) -> None:
        self._reader.close()

    def _country(self, ip: str) -> str | None:
        """Upper case; None when the address is not in the database, or is none."""
        try:
            return _code(self._reader.get(ip))
        except ValueError:  # not an address, or IPv6 in an IPv4 database
            return None


def _code(record: Any) -> str | None:
    """GeoLite2 and DB-IP nest it (`country.iso_code`), ip-location-db has `country_code`."""
    if not isinstance(record, dict):
        return None
    country = record.get("country")
    nested = country.get("iso_code") if isinstance(country, dict) else country
    code = nested or record.get("country_code")
    return code.upper() if isinstance(code, str) and len(code) == _LETTERS else None
