"""segment-analytics-python and rudder-sdk-python as they are published, against an instance."""

from collections import Counter
from urllib.parse import urlsplit

import pytest

SDKS = {"segment": "segment.analytics.client", "rudderstack": "rudderstack.analytics.client"}
ALL_CALLS = """
import datetime, os
from {module} import Client
when = datetime.datetime(2024, 5, 6, 7, 8, 9, 123000, tzinfo=datetime.timezone.utc)
client = Client(os.environ["KEY"], host=os.environ["HOST"])
client.identify("user-1", {{"email": "ada@example.com", "plan": "pro"}}, timestamp=when)
client.track("user-1", "Order Completed", {{"revenue": 19.9, "items": [{{"sku": "A1"}}]}})
client.track(anonymous_id="anon-1", event="Landing Viewed", context={{"ip": "203.0.113.7"}})
client.page("user-1", "Docs", "Pricing", {{"url": "https://example.com/pricing"}})
client.screen("user-1", "Main", "Home", {{"n": 1}})
client.group("user-1", "acme", {{"name": "Acme", "seats": 5}})
client.alias("anon-1", "user-1")
client.flush()
client.join()
"""
MANY = """
import logging, os
from {module} import Client
logging.basicConfig(level=logging.DEBUG)
client = Client(os.environ["KEY"], host=os.environ["HOST"])
for number in range(250):
    client.track("user-%d" % (number % 3), "Tick", {{"number": number}})
client.flush()
client.join()
"""


@pytest.fixture(params=SDKS)
def sdk(request) -> str:
    return SDKS[request.param]


def test_all_calls_arrive(sdk, tenant, start_script):
    host = str(tenant.http.base_url)
    process = start_script(ALL_CALLS.format(module=sdk), KEY=tenant.write_key, HOST=host)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    found = {event["event_name"]: event for event in tenant.events()}
    assert set(found) == {"Order Completed", "Landing Viewed", "Docs Pricing", "Main Home"}
    order = found["Order Completed"]
    assert order["properties"] == {"revenue": 19.9, "items": [{"sku": "A1"}]}
    assert (order["kind"], order["user_id"]) == ("track", "user-1")
    assert found["Landing Viewed"]["anonymous_id"] == "anon-1"
    assert found["Docs Pricing"]["kind"] == "page"
    assert found["Main Home"]["properties"]["n"] == 1
    user = tenant.ask("/v1/users/user-1")["user"]
    assert user["traits"] == {"email": "ada@example.com", "plan": "pro"}
    assert user["trait_sources"]["plan"]["timestamp"].startswith("2024-05-06T07:08:")
    assert tenant.ask("/v1/failed-events", min_position=tenant.head())["total"] == 0


def ticks(tenant) -> Counter[int]:
    return Counter(event["properties"]["number"] for event in tenant.events(event_name="Tick"))


def test_many_events_arrive_once(sdk, tenant, start_script):
    host = str(tenant.http.base_url)
    process = start_script(MANY.format(module=sdk), KEY=tenant.write_key, HOST=host)
    process.communicate()
    assert process.returncode == 0
    assert ticks(tenant) == Counter(range(250))


def test_events_that_met_a_store_out_of_reach_are_sent_again_and_stored_once(
    sdk, tenant, start_script, start_api, settings_in_force, wire
):
    """The SDK is told 503 at least once, by its own account, before the store comes back."""
    address = urlsplit(settings_in_force["APPIZER_DATABASE_URL"])
    laid = wire(address.hostname, address.port)
    place = f"{address.username}:{address.password}@127.0.0.1:{laid.port}{address.path}"
    api = start_api(database_url=f"postgresql://{place}")
    laid.cut()
    host = str(api.base_url)
    process = start_script(MANY.format(module=sdk), KEY=tenant.write_key, HOST=host)
    for line in process.stderr:
        if '"POST /v1/batch HTTP/1.1" 503' in line:
            laid.mend()
            break
    else:
        pytest.fail("the SDK never met the outage")
    process.communicate()
    assert process.returncode == 0
    assert ticks(tenant) == Counter(range(250))
