"""Marks of footnotes."""

from results.marks import Notes
from results.table import Note


def test_a_text_has_one_mark_and_marks_go_by_first_appearance() -> None:
    notes = Notes()
    assert [notes.mark(text) for text in ("one GPU", "half the schedule", "one GPU")] == ["a", "b", "a"]
    assert notes.all() == (Note("a", "one GPU"), Note("b", "half the schedule"))


def test_marks_of_one_place_stand_in_the_order_of_their_notes() -> None:
    notes = Notes()
    first = [str(number) for number in range(28)]
    assert notes.marks(first)[-3:] == ("z", "aa", "ab")
    assert notes.marks(("27", "3", "25")) == ("d", "z", "ab")


def test_letters_go_on_behind_z_as_columns_of_a_spreadsheet_do() -> None:
    notes = Notes()
    marks = [notes.mark(str(number)) for number in range(703)]
    assert marks[24:29] == ["y", "z", "aa", "ab", "ac"]
    assert marks[51:53] == ["az", "ba"]
    assert marks[701:] == ["zz", "aaa"]
    assert len(set(marks)) == 703
