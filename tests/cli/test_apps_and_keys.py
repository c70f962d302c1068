"""Apps and keys from the command line: what is made can be used, and secrets are told once."""

import io
import json
import sys
from uuid import UUID

import pytest

from api.cli.exits import Exit
from domain.keys import digest, is_well_formed


def lines(answer):
    return [json.loads(line) for line in answer.out.splitlines()]


@pytest.fixture
def made(appizer, app_id, project):
    def make(*options):
        answer = appizer("keys", "create", "--app", app_id, *options, "--json")
        assert answer.code == Exit.OK
        project()
        return lines(answer)[0]

    return make


def test_an_app_that_is_created_is_listed_and_shown(appizer, project):
    created = lines(appizer("apps", "create", "Web shop", "--timezone", "Europe/Berlin", "--json"))
    project()
    listed = lines(appizer("apps", "list", "--json"))
    assert [app["name"] for app in listed] == ["My app", "Web shop"]
    shown = lines(appizer("apps", "show", created[0]["id"], "--json"))[0]
    assert (shown["name"], shown["timezone"], shown["keys"]) == ("Web shop", "Europe/Berlin", [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("apps", "create", "x", "--timezone", "Europe/Bern"), "Europe/Berlin"),
        (("apps", "create", " "), "name"),
        (("apps", "show", "00000000-0000-4000-8000-000000000000"), "appizer apps list"),
        (("apps", "show", "mine"), "not an id"),
        (("keys", "revoke", "00000000-0000-4000-8000-000000000000"), "appizer keys list"),
        (("keys", "create", "--kind", "organisation"), "write"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_mend(appizer, arguments, said):
    answer = appizer(*arguments)
    assert answer.code in (Exit.FAILED, Exit.USAGE)
    assert said in answer.err
    assert answer.out == ""


def test_a_new_key_is_printed_once_and_only_its_digest_is_kept(made, appizer, query):
    key = made("--kind", "secret", "--label", "reports")
    assert is_well_formed(key["key"])
    assert (digest(key["key"]),) in query("SELECT digest FROM apps.keys")
    listed = appizer("keys", "list", "--json")
    assert key["key"] not in listed.out
    assert key["key"][-4:] in {one["last_four"] for one in lines(listed)}
    assert (
        query(
            f"SELECT FROM log.events WHERE position(convert_to('{key['key']}', 'UTF8') in state) > 0"
        )
        == []
    )


@pytest.mark.parametrize(
    ("kind", "prefix"), [("write", "ak_"), ("secret", "as_"), ("admin", "ad_")]
)
def test_an_app_has_keys_of_three_kinds(made, appizer, kind, prefix):
    key = made("--kind", kind)
    assert key["key"].startswith(prefix)
    listed = {one["key_id"]: one["kind"] for one in lines(appizer("keys", "list", "--json"))}
    assert listed[key["key_id"]] == kind


def test_without_json_stdout_is_the_key_alone(appizer, app_id):
    answer = appizer("keys", "create", "--app", app_id, "--kind", "write")
    assert is_well_formed(answer.out.strip())


def test_a_key_is_revoked_for_ever(made, appizer, project):
    key = made("--kind", "write")
    assert appizer("keys", "revoke", key["key_id"], "--yes").code == Exit.OK
    project()
    listed = {one["key_id"]: one["revoked"] for one in lines(appizer("keys", "list", "--json"))}
    assert listed[key["key_id"]] is True
    again = appizer("keys", "revoke", key["key_id"], "--yes")
    assert (again.code, "revoked already" in again.err) == (Exit.FAILED, True)


@pytest.mark.parametrize("answered", ["n\n", ""])
def test_revoking_asks_first_and_a_no_is_told(made, appizer, query, monkeypatch, answered):
    monkeypatch.setattr(sys, "stdin", io.StringIO(answered))
    key = made("--kind", "write")
    answer = appizer("keys", "revoke", key["key_id"])
    assert answer.code == Exit.FAILED
    assert answer.err.endswith("error: not revoked\n")
    assert query("SELECT FROM log.events WHERE topic = 'key.revoked.v1'") == []


def test_keys_of_one_app_are_listed_alone(made, appizer, app_id):
    made("--kind", "write", "--label", "site")
    listed = lines(appizer("keys", "list", "--app", app_id, "--json"))
    assert {UUID(one["app_id"]) for one in listed} == {UUID(app_id)}
    assert "site" in {one["label"] for one in listed}


def test_read_models_that_are_not_there_yet_are_told_with_the_mend(appizer, change):
    change("DROP SCHEMA apps CASCADE")
    answer = appizer("apps", "list")
    assert (answer.code, "start the projector" in answer.err) == (Exit.FAILED, True)


def test_what_is_no_key_leads_to_the_list_of_keys(appizer):
    answer = appizer("keys", "revoke", "nosuch")
    assert (answer.code, "appizer keys list" in answer.err) == (Exit.USAGE, True)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("apps", "show", "00000000-0000-4000-8000-000000000000"), Exit.FAILED, "NOT_FOUND"),
        (("apps", "create", " "), Exit.FAILED, "INVALID_REQUEST"),
        (("apps", "show", "mine"), Exit.USAGE, "USAGE"),
        (("apps", "list", "--data", "/nowhere"), Exit.NOT_RUNNING, "NOT_RUNNING"),
        (("apps", "list", "--data", ""), Exit.USAGE, "USAGE"),
    ],
)
def test_with_json_an_error_is_json_on_stderr(appizer, arguments, exit_code, code):
    answer = appizer(*arguments, "--json")
    assert (answer.code, answer.out) == (exit_code, "")
    said = json.loads(answer.err)
    assert said.keys() == {"error", "message", "code", "details"}
    assert said["code"] == code
    assert said["message"]


def test_without_json_every_error_begins_the_same(appizer):
    for arguments in (("apps", "show", "mine"), ("apps", "list", "--data", "/nowhere"), ("fly",)):
        assert appizer(*arguments).err.splitlines()[-1].startswith("error: ")
