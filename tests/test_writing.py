"""Files are whole or not there: their names, what an interruption leaves, and what the next process removes."""

import errno
import os

import pytest

from visiontasks.errors import UserError
from visiontasks.writing import LONGEST, remove_unfinished, replace_atomically, temporary_of, write_bytes, write_text


def test_text_and_bytes_replace_what_is_there(tmp_path):
    write_text(tmp_path / "a.txt", "größer\n")
    assert (tmp_path / "a.txt").read_bytes() == "größer\n".encode()
    write_bytes(tmp_path / "a.txt", b"\x00\r\n", durable=False)
    assert (tmp_path / "a.txt").read_bytes() == b"\x00\r\n" and len([*tmp_path.iterdir()]) == 1
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "ö", encoding="ascii")
    assert (tmp_path / "a.txt").read_bytes() == b"\x00\r\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError("no suffix"), OSError(errno.ENOSPC, "No space left")])
def test_whatever_interrupts_a_write_leaves_the_file_before_and_nothing_else(error, tmp_path):
    def write(path):
        path.write_bytes(b"half")
        raise error

    path = tmp_path / "a.png"
    path.write_bytes(b"before")
    expected = UserError if isinstance(error, OSError) else error if isinstance(error, type) else type(error)
    with pytest.raises(expected, match="^out: cannot write .*a.png: No space" if expected is UserError else None):
        replace_atomically(path, write, "out")
    assert path.read_bytes() == b"before" and len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize("name", ["a.png", "x" * (LONGEST - 4) + ".png", "赤" * 83 + ".png", "x" * LONGEST])
def test_every_name_that_a_file_may_have_can_be_written(name, tmp_path):
    temporary = temporary_of(tmp_path / name)
    assert temporary.suffix == (tmp_path / name).suffix and len(os.fsencode(temporary.name)) <= LONGEST
    write_bytes(tmp_path / name, b"1")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("a.json", "below/b.png", "below/" + "x" * LONGEST):
        temporary_of(tmp_path / name).write_bytes(b"half")
        (tmp_path / name).write_bytes(b"whole")
    remove_unfinished(tmp_path)
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 3
