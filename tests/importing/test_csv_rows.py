"""CSV by RFC 4180; a quote that is forgotten costs the row that it stands in."""

import io
import time

import pytest

from infrastructure.csv_rows import LONGEST_ROW, CsvRows, Fault, Unreadable


def read(text, **options):
    """Cells of good rows, the issues of the others."""
    rows = CsvRows(io.StringIO(text, newline=""), **options)
    return [row.issue if isinstance(row, Fault) else row.values for row in rows]


def test_a_quoted_field_may_hold_lines_delimiters_and_doubled_quotes():
    text = 'a,b\r\n"one\r\n\r\ntwo, and ""three""",4\r\n\r\n5," 6"\r\n'
    assert read(text) == [["a", "b"], ['one\r\n\r\ntwo, and "three"', "4"], ["5", " 6"]]


def test_a_quote_inside_an_unquoted_field_is_text():
    assert read('a,b\n27" screen,x\n') == [["a", "b"], ['27" screen', "x"]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_first_line(delimiter):
    assert read(f'a{delimiter}b\n1{delimiter}"x{delimiter}"\n')[1] == ["1", f"x{delimiter}"]


def test_a_quote_that_is_not_closed_at_all_costs_its_row_alone():
    head, bad, *rest = read('a,b\n1,"x\n' + "".join(f"{n},y\n" for n in range(2, 300)))
    assert "begun in line 2" in bad
    assert "before the end of the file" in bad
    assert rest == [[str(n), "y"] for n in range(2, 300)]
    assert head == ["a", "b"]


def test_a_quote_that_another_rows_quote_would_close_costs_its_row_alone():
    _, good, bad, *rest = read('a,b\n0,"x\ny"\n1,"x\n2,y\n3,"z"\n4,z\n')
    assert good == ["0", "x\ny"]
    assert "begun in line 4" in bad
    assert "closing quote in line 6" in bad
    assert rest == [["2", "y"], ["3", "z"], ["4", "z"]]


def test_text_after_a_closing_quote_is_a_fault_of_that_line():
    _, bad, good = read('a,b\n1,"5" monitor\n2,y\n')
    assert "text after the closing quote of a field in line 2" in bad
    assert '""' in bad
    assert good == ["2", "y"]


def test_a_fault_keeps_the_line_that_it_begins_with():
    fault = list(CsvRows(io.StringIO('a,b\n1,"x\n2,y\n', newline="")))[1]
    assert isinstance(fault, Fault)
    assert fault.text == '1,"x\n'


def test_a_quote_that_is_not_closed_is_looked_for_within_bounds():
    rows = "".join(f"{n},y\n" for n in range(2, LONGEST_ROW // 4))
    _, bad, *rest = read('a,b\n1,"x\n' + rows)
    assert f"not closed within {LONGEST_ROW:,} characters" in bad
    assert len(rest) == LONGEST_ROW // 4 - 2


@pytest.mark.parametrize("cell", ["x" * 10_000_000, '"' + "x" * 10_000_000 + '"'])
def test_a_line_that_no_event_can_be_is_one_fault_and_a_quick_one(cell):
    began = time.monotonic()
    _, bad, *rest = read(f"a,b\n1,{cell}\n2,y\n")
    assert rest == [["2", "y"]]
    assert f"{LONGEST_ROW:,} characters" in bad
    assert time.monotonic() - began < 10  # a time-out is for hangs


def test_a_file_whose_quotes_are_beyond_mending_ends_it():
    line = 'x",b,"' + "y" * 5000 + "\n"  # open at its end, whatever stood before
    with pytest.raises(Unreadable, match="quotes are not closed"):
        read("a,b,c\n" + line * 200)
