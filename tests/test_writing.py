"""Files are whole or not there: their names, what an interruption leaves, and what the next process removes."""

import errno
import os
from pathlib import Path

import pytest

from visiontasks.errors import UserError
from visiontasks.writing import (
    LONGEST,
    is_live,
    is_unfinished,
    remove_unfinished,
    replace_atomically,
    temporary_folder,
    temporary_of,
    write_bytes,
    write_text,
)


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


def of_a_killed_process(path):
    """Where such a one would have written a file: none has this number."""
    temporary = temporary_of(path)
    return temporary.with_name(temporary.name.replace(f"-{os.getpid()}-", "-2147483647-"))


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("a.json", "below/b.png", "below/" + "x" * LONGEST):
        of_a_killed_process(tmp_path / name).write_bytes(b"half")
        temporary_of(tmp_path / name).write_bytes(b"of this one")
        (tmp_path / name).write_bytes(b"whole")
    (tmp_path / ".writing-a.json").write_bytes(b"of an older version")
    folder = of_a_killed_process(tmp_path / "weights")
    folder.mkdir()
    (folder / "model.weights.h5").write_bytes(b"half")
    remove_unfinished(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(map(Path.read_bytes, files)) == [b"of this one"] * 3 + [b"whole"] * 3 and not folder.exists()


def test_two_processes_that_write_one_file_do_not_meet(tmp_path):
    """The slower one finds its own content where it wrote it, whatever the faster one did in between."""
    path = tmp_path / "a.json"

    def slower(temporary):
        temporary.write_bytes(b"slow")
        write_bytes(path, b"fast")

    replace_atomically(path, slower)
    assert path.read_bytes() == b"slow" and [*tmp_path.iterdir()] == [path]


def test_who_has_begun_a_file(tmp_path, monkeypatch):
    mine, other = temporary_of(tmp_path / "a"), of_a_killed_process(tmp_path / "a")
    assert is_live(mine) and not is_live(other) and not is_live(tmp_path / ".writing-a")
    _, machine, number, started, rest = mine.name.split("-", 4)
    if started != "0":  # Linux: its number is another process's by now
        assert not is_live(tmp_path / f".writing-{machine}-{number}-{int(started) - 1}-{rest}")
    elsewhere = tmp_path / f".writing-{'0' * 8}-{number}-{started}-{rest}"
    elsewhere.touch()
    assert is_live(elsewhere)
    os.utime(elsewhere, (0, 0))
    assert not is_live(elsewhere)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX's")
def test_a_process_that_has_ended_is_not_live_before_its_parent_asks(tmp_path):
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, os.fsencode(temporary_of(tmp_path / "a").name))
        os._exit(0)
    path = tmp_path / os.fsdecode(os.read(read, LONGEST))
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it has ended, and is listed still
    if os.path.exists("/proc/self/stat"):
        assert not is_live(path)
    os.waitpid(child, 0)
    assert not is_live(path)
    os.close(read)
    os.close(write)


def test_a_folder_is_there_within_the_block_and_goes_with_a_killed_process(tmp_path):
    with temporary_folder(tmp_path / "weights") as folder:
        (folder / "a").touch()
        assert is_unfinished(folder) and folder.parent == tmp_path
    assert not [*tmp_path.iterdir()]
