"""docker-compose.yml, checked as far as it can be without an engine."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from api.cli.run import ROLES
from infrastructure.settings import SECRETS, Settings

ROOT = Path(__file__).parents[2]
SCHEMA = Path(__file__).parent / "compose-spec" / "compose_spec.json"
# `engine` hosts the embedded analytics, ClickHouse stands in its place; `api` is commands and
# queries on one port, which the proxy is here for.
EMBEDDED_ONLY = {"engine", "api"}
OURS = ("commands", "queries", "projector", "relay", "reactor", "migrate")
CONDITIONS = {"service_healthy", "service_completed_successfully"}


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def services(compose) -> dict:
    return compose["services"]


def test_the_file_follows_the_compose_specification(compose):
    jsonschema.Draft201909Validator(json.loads(SCHEMA.read_text())).validate(compose)


def test_the_schema_refuses_a_key_that_compose_does_not_know(compose):
    wrong = {**compose, "services": {"postgres": {"image": "postgres:18", "helthcheck": {}}}}
    with pytest.raises(jsonschema.ValidationError, match="helthcheck"):
        jsonschema.Draft201909Validator(json.loads(SCHEMA.read_text())).validate(wrong)


def test_every_role_has_a_service_that_runs_it(services):
    run = {s["command"][1] for s in services.values() if s.get("command", [""])[0] == "run"}
    assert run == (set(ROLES) - EMBEDDED_ONLY) | {"migrate"}


def test_all_roles_share_one_image(services):
    assert len({services[name]["image"] for name in OURS}) == 1


def test_every_service_that_stays_has_a_health_check_and_comes_back(services):
    for name, service in services.items():
        if name == "migrate":
            continue
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name


def test_roles_wait_until_servers_are_healthy_and_the_schema_is_there(services):
    for name in set(OURS) - {"migrate"}:
        waits = {other: how["condition"] for other, how in services[name]["depends_on"].items()}
        assert waits == {
            "migrate": "service_completed_successfully",
            "nats": "service_healthy",
            "clickhouse": "service_healthy",
        }
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_what_is_depended_on_exists(services):
    for service in services.values():
        for other, how in service.get("depends_on", {}).items():
            assert other in services
            assert how["condition"] in CONDITIONS


def test_images_are_pinned_to_a_version(services):
    for name, service in services.items():
        image = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", service["image"])
        _, _, tag = image.rpartition(":")
        assert re.match(r"\d+\.\d+", tag), f"{name}: {image}"


def test_no_environment_holds_a_secret(services):
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if variable.endswith("_FILE"):
                assert value.startswith("/run/secrets/"), f"{name}: {variable}"
                continue
            assert not re.search("password|secret|token|_url$|key", variable, re.IGNORECASE) or (
                variable == "APPIZER_PUBLIC_URL"
            ), f"{name}: {variable}"


def test_every_variable_of_a_role_is_a_setting(services):
    fields = set(Settings.__struct_fields__)
    for name in OURS:
        for variable in services[name]["environment"]:
            setting = variable.removeprefix("APPIZER_").lower()
            assert setting.removesuffix("_file") in fields, f"{name}: {variable}"


def test_roles_get_every_secret_setting_from_a_file(services):
    for name in OURS:
        for secret in SECRETS:
            assert f"APPIZER_{secret.upper()}_FILE" in services[name]["environment"]
            assert secret in services[name]["secrets"]


def test_every_secret_file_variable_names_a_secret_that_is_mounted(services):
    for name, service in services.items():
        mounted = {s if isinstance(s, str) else s["source"] for s in service.get("secrets", [])}
        for variable, value in service.get("environment", {}).items():
            if variable.endswith("_FILE"):
                assert Path(value).name in mounted, f"{name}: {variable}"


def test_secrets_and_volumes_that_are_used_are_declared(compose, services):
    for service in services.values():
        for secret in service.get("secrets", []):
            assert (secret if isinstance(secret, str) else secret["source"]) in compose["secrets"]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).is_file(), source
            else:
                assert source in compose["volumes"]


def test_postgres_keeps_its_data_where_version_18_does_and_flushes(services):
    postgres = services["postgres"]
    assert postgres["volumes"] == ["postgres:/var/lib/postgresql"]
    assert "-cfsync=on" in postgres["command"]
    assert "-csynchronous_commit=on" in postgres["command"]


def test_only_the_proxy_is_published(services):
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]


def test_logs_are_rotated(services):
    for name, service in services.items():
        assert service["logging"]["options"]["max-size"], name


def test_variables_to_fill_in_are_in_the_example():
    text = (ROOT / "docker-compose.yml").read_text()
    example = (ROOT / ".env.example").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    assert asked <= set(re.findall(r"^(\w+)=", example, re.MULTILINE))
