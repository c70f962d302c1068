"""Files with faults: nothing is lost or changed in silence, and what is said helps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli.exits import Exit
from infrastructure.csv_rows import LONGEST_ROW

ROOT = Path(__file__).parents[2]
HEAD = "event,user,time,note\n"
GOOD = '{"event":"ok","user":"u","time":"2026-01-01"}\n'


def summary(answer):
    return json.loads(answer.out.splitlines()[-1])


@pytest.fixture
def imported(appizer, tmp_path):
    """Writes a file, imports it, and tells what the command line answered."""

    def run(kind, content, *options):
        file = tmp_path / f"rows.{kind}"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return appizer("import", kind, file, "--no-wait", *options)

    return run


@pytest.mark.parametrize("rows", [300, 3000])
def test_a_forgotten_quote_costs_one_row_and_is_told_by_its_line(imported, stored, rows):
    lines = [f"e,u{n},2026-01-01,plain\n" for n in range(rows)]
    lines[1] = 'e,u1,2026-01-01,"open\n'
    answer = imported("csv", HEAD + "".join(lines), "--json")
    assert answer.code == Exit.FAILED
    assert (summary(answer)["accepted"], summary(answer)["rejected"]) == (rows - 1, 1)
    assert "row 2: has a quoted field, begun in line 3, that is not closed" in answer.err
    assert len(stored()) == rows - 1


def test_text_after_a_closing_quote_is_refused_and_not_glued(imported, stored):
    answer = imported("csv", HEAD + 'e,u,2026-01-01,"5" monitor\ne,u,2026-01-01,"5"" monitor"\n')
    assert answer.code == Exit.FAILED
    assert "row 1: has text after the closing quote of a field in line 2" in answer.err
    assert [event["properties"]["note"] for event in stored()] == ['5" monitor']


def test_a_first_line_that_is_too_long_is_one_line_of_error(imported):
    answer = imported("csv", "[" + "1, " * LONGEST_ROW)
    assert answer.code == Exit.FAILED
    assert f"the names, is longer than {LONGEST_ROW:,} characters" in answer.err


def test_faulty_rows_are_each_kept_as_they_are(imported, query):
    imported("csv", HEAD + 'e,u,2026-01-01,"5" a\ne,u,2026-01-01,"6" b\n')
    assert query("SELECT count(*) FROM log.events WHERE topic = 'refused.v1'") == [(2,)]


def test_a_row_of_several_lines_with_a_wrong_count_names_them(imported):
    answer = imported("csv", HEAD + 'e,u,2026-01-01,"two\nlines",more\n')
    assert "has 5 cells, the header has 4; it goes from line 2 to 3" in answer.err


def test_a_cell_of_ten_megabytes_is_one_refusal(imported, stored):
    big = "x" * 10_000_000
    answer = imported("csv", f"{HEAD}e,u,2026-01-01,{big}\ne,u,2026-01-01,y\n", "--json")
    assert (summary(answer)["accepted"], summary(answer)["rejected"]) == (1, 1)
    assert f"row 1: is longer than {LONGEST_ROW:,} characters" in answer.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"event":"e","user":"u","time":"2026-01-01","x":1,"x":2}', "x: comes twice"),
        ('{"event":"e","user":"u","time":"2026-01-01","x" :1,"x":2}', "x: comes twice"),
        (
            '{"event":"e","user":"u","time":"2026-01-01","properties":{"x":1,"x":2}}',
            "properties.x: comes twice",
        ),
        (
            '{"event":"e","user":"u","time":"2026-01-01","properties":{"b":1},"b":2}',
            "b stands beside `properties` and in it",
        ),
        (
            '{"event":"e","user":42,"time":"2026-01-01"}',
            "user_id expected `string` or null, got `integer`",
        ),
        (
            '{"event":7,"user":"u","time":"2026-01-01"}',
            "event_name expected `string` or null, got `integer`",
        ),
        (
            '{"event":"e","user":"u","time":"2026-01-01","message_id":1}',
            "message_id expected `string` or null, got `integer`",
        ),
        ('{"event":"e","user":"u","time":null}', "timestamp is missing"),
        ('{"event":"e","user":"u","time":"2026-01-01","x":1e999}', "x: is a number outside"),
        (
            '{"event":"e","user":"u","time":"2026-01-01","properties":5}',
            "properties must be a JSON object",
        ),
        ("1e999", "must be a JSON object, not a single value"),
        ("[1,2]", "must be a JSON object, not an array"),
        ("{", "is not valid JSON"),
    ],
)
def test_a_line_that_breaks_a_rule_of_the_api_is_refused_with_the_reason(
    imported, stored, line, said
):
    answer = imported("jsonl", f"{GOOD}{line}\n", "--json")
    assert (summary(answer)["accepted"], summary(answer)["rejected"]) == (1, 1)
    assert f"row 2: {said}" in answer.err
    assert [event["event"] for event in stored()] == ["ok"]


def test_colons_and_quotes_in_strings_are_no_doubled_keys(imported, stored):
    line = '{"event":"e","user":"u","time":"2026-01-01T10:00:00Z","x":"\\":\\":","y":{"x":[{"x":1}]}}\n'
    assert imported("jsonl", line).code == Exit.OK
    assert stored()[0]["properties"] == {"x": '":":', "y": {"x": [{"x": 1}]}}


def test_a_byte_order_mark_before_json_is_passed_over(imported, stored):
    assert imported("jsonl", b"\xef\xbb\xbf" + GOOD.encode()).code == Exit.OK
    assert len(stored()) == 1


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_told_by_name_with_what_mends_it(imported, kind, encoding):
    text = {"csv": HEAD + "e,u,2026-01-01,n\n", "jsonl": GOOD}[kind]
    answer = imported(kind, text.encode(encoding))
    assert answer.code == Exit.FAILED
    assert "is UTF-16" in answer.err
    assert f"iconv -f {encoding.upper()} -t UTF-8" in answer.err


def test_utf_16_is_read_when_that_is_said(imported, stored):
    text = HEAD + "e,ué,2026-01-01,n\n"
    assert imported("csv", text.encode("utf-16"), "--encoding", "utf-16").code == Exit.OK
    assert stored()[0]["user_id"] == "ué"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_is_an_error_of_either_kind(imported, kind, content):
    answer = imported(kind, content)
    assert answer.code == Exit.FAILED
    assert "is empty" in answer.err


def test_a_file_without_a_single_readable_line_says_why(imported):
    answer = imported("jsonl", "[1,2]\n[3]\n")
    assert answer.code == Exit.FAILED
    assert "row 1 must be a JSON object, not an array" in answer.err


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_the_null_device_is_empty(appizer, kind):
    answer = appizer("import", kind, "/dev/null", "--no-wait")
    assert (answer.code, "/dev/null is empty" in answer.err) == (Exit.FAILED, True)


def test_a_file_in_the_place_of_its_kind_is_told_which_kinds_there_are(appizer, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text(HEAD)
    answer = appizer("import", file)
    assert answer.code == Exit.USAGE
    assert f"appizer import csv {file}" in answer.err


def test_a_named_pipe_is_read_once_and_wholly(appizer, tmp_path, database_url, stored):
    """As the shell's <(zcat rows.csv.gz) is; an instance would read a file twice."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    script = (
        f"print({HEAD!r}, *(f'e,u{{n}},2026-01-01,x\\n' for n in range(20000)), sep='', end='')"
    )
    with subprocess.Popen(["sh", "-c", '"$0" -c "$1" > "$2"', sys.executable, script, str(pipe)]):
        answer = appizer("import", "csv", pipe, "--no-wait", "--json")
    assert (answer.code, summary(answer)["accepted"]) == (Exit.OK, 20000)
