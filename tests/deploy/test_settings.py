"""A setting that makes no sense is refused before anything starts, by its variable's name."""

import pytest

from infrastructure.settings import SettingsError, load, unknown

GIVEN = {"APPIZER_DATABASE_URL": "postgresql://localhost/appizer"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("APPIZER_PORT", "99999"),
        ("APPIZER_PORT", "http"),
        ("APPIZER_METRICS_PORT", "-1"),
        ("APPIZER_QUEUE_EVENTS", "0"),
        ("APPIZER_COMMIT_EVENTS", "-5"),
        ("APPIZER_TRUSTED_PROXIES", "-1"),
        ("APPIZER_QUERY_SECONDS", "0"),
        ("APPIZER_QUERY_MEMORY_MIB", "0"),
        ("APPIZER_SHUTDOWN_SECONDS", "-1"),
        ("APPIZER_LOG_LEVEL", "loud"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(variable, value):
    with pytest.raises(SettingsError, match=f"^{variable}: "):
        load({**GIVEN, variable: value})


def test_values_in_range_are_taken():
    taken = load({**GIVEN, "APPIZER_PORT": "0", "APPIZER_QUERY_SECONDS": "0.5"})
    assert (taken.port, taken.query_seconds) == (0, 0.5)


def test_a_setting_that_is_missing_is_named_with_an_example():
    with pytest.raises(SettingsError, match="APPIZER_DATABASE_URL is not set; say postgresql://"):
        load({})


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("APPIZER_PROT", "APPIZER_PROT is no setting; did you mean APPIZER_PORT?"),
        (
            "APPIZER_NATS_URI_FILE",
            "APPIZER_NATS_URI_FILE is no setting; did you mean APPIZER_NATS_URL_FILE?",
        ),
        ("APPIZER_ZZZZ", "APPIZER_ZZZZ is no setting and does nothing"),
    ],
)
def test_a_variable_that_is_no_setting_is_named_with_the_closest_one(variable, said):
    assert unknown({**GIVEN, "APPIZER_PORT": "1", "PATH": "/bin", variable: "x"}) == [said]
