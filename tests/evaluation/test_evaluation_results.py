"""Folders of results, and names within them."""

import contextlib
import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visiontasks.data.layout import RESULTS, in_results
from visiontasks.errors import UserError
from visiontasks.evaluation.results import Records, file_part, results_folder, shortened, write_json
from visiontasks.signals import Stopped
from visiontasks.writing import temporary_of


def test_a_folder_of_an_evaluation_may_be_replaced_and_no_other(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "01_a.png").write_text("")
    with pytest.raises(UserError, match=r"out: .*mine is not empty \(01_a.png\)"):
        results_folder(str(tmp_path / "mine"), tmp_path, replace=True)
    assert not (tmp_path / "mine" / RESULTS).exists()
    made = results_folder(str(tmp_path / "new"), tmp_path, replace=True)
    (made / "evaluation.json").write_text("{}")
    assert results_folder(str(tmp_path / "new"), tmp_path, replace=True) == made
    assert results_folder(None, made, replace=True) == made
    assert results_folder(None, made) == tmp_path / "new_2"
    assert in_results(made / "predictions" / "a.png") and not in_results(tmp_path / "mine" / "01_a.png")


def test_results_of_other_images_are_not_replaced_and_those_of_the_same_are(tmp_path):
    first = results_folder(None, tmp_path / "new", replace=True, of="/a/new")
    assert first == tmp_path / "new" and in_results(first / "evaluation.json")
    assert results_folder(None, tmp_path / "new", replace=True, of="/b/new") == tmp_path / "new_2"
    for of, name in (("/a/new", "new"), ("/b/new", "new_2"), ("/c/new", "new_3"), ("/b/new", "new_2")):
        assert results_folder(None, tmp_path / "new", replace=True, of=of) == tmp_path / name
    assert results_folder(str(first), tmp_path, replace=True, of="/b/new") == first  # as asked for


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="out: cannot write to .*below"):
        results_folder(str(tmp_path / "file" / "below"), tmp_path)


@given(st.text(), st.text())
def test_names_of_heads_become_names_of_files_one_to_one(one, other):
    parts = [file_part(name) for name in (one, other)]
    assert (parts[0] == parts[1]) == (one == other)
    assert all(len(Path("folder", part).parts) == 2 for part in parts if part)


def test_usual_names_stay_as_they_are():
    for name in ("unet", "zellen é", "a-b.c_2"):
        assert file_part(name) == name
    assert file_part("a/b") == "a%2Fb" and file_part("..") == "%2E."


def test_records_are_json_with_null_for_nan(tmp_path):
    with Records(tmp_path / "a.json") as records:
        records.add({"scores": [float("nan"), 0.5]})
    assert json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail) == [{"scores": [None, 0.5]}]


@pytest.mark.parametrize(
    ("error", "partial", "left"),
    [
        (None, False, [1, 2]),
        (Stopped, True, [1, 2]),
        (ValueError, True, [1, 2]),
        (Stopped, False, "before"),
        (KeyboardInterrupt, True, "before"),  # a second signal, at any moment
    ],
)
def test_records_are_whole_or_what_was_there(error, partial, left, tmp_path):
    write_json(tmp_path / "a.json", "before")
    with contextlib.suppress(ValueError, KeyboardInterrupt), Records(tmp_path / "a.json", partial=partial) as records:
        for number in (1, 2):
            records.add(number)
            assert json.loads((tmp_path / "a.json").read_text()) == "before"
        if error:
            raise error
    assert json.loads((tmp_path / "a.json").read_text()) == left and len([*tmp_path.iterdir()]) == 1


def test_an_error_before_the_first_record_leaves_no_file(tmp_path):
    with contextlib.suppress(ValueError), Records(tmp_path / "a.json", partial=True):
        raise ValueError
    assert not [*tmp_path.iterdir()]


@contextlib.contextmanager
def full():
    """Within the block a disk that takes no more than 1000 bytes of a file; what pytest prints is written after it."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # Python ignores the signal that would end it
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("count", [20, 2000])  # the disk is full when the rest is written, and before
@pytest.mark.parametrize(("partial", "length", "taken"), [(False, 90, 0), (True, 90, 9), (True, 109, 7)])
def test_item_91_records_on_a_full_disk_are_an_error_that_names_the_folder(count, partial, length, taken, tmp_path):
    write_json(tmp_path / "a.json", "before")
    with (
        pytest.raises(
            UserError, match=r"^out: cannot write .*a\.json: File too large\. Free the disk, or give another"
        ),
        full(),
        Records(tmp_path / "a.json", argument="out", partial=partial) as records,
    ):
        for _ in range(count):
            records.add({"path": "x" * length})
    left = json.loads((tmp_path / "a.json").read_text())
    assert len([*tmp_path.iterdir()]) == 1
    if partial:  # 106 or 125 bytes each, and the list's end, for which the eighth of 125 leaves no room
        assert left == [{"path": "x" * length}] * taken and records.count == taken
    else:
        assert left == "before"


@pytest.mark.parametrize("name", ["predictions.json", "drawn.mp4"])
def test_a_folder_that_another_process_writes_to_is_not_taken_from_it(name, tmp_path):
    made = results_folder(str(tmp_path / "made"), tmp_path)
    live = temporary_of(made / name)
    live.write_bytes(b"hours of work")
    for replace in (False, True):
        with pytest.raises(UserError, match=r"^out: another process writes to .*made\. Give another folder"):
            results_folder(str(made), tmp_path, replace=replace)
    assert live.exists()


def test_what_a_killed_command_left_does_not_count_and_goes(tmp_path):
    made = results_folder(str(tmp_path / "made"), tmp_path)
    live = temporary_of(made / "predictions.json")
    killed = live.with_name(live.name.replace(f"-{os.getpid()}-", "-2147483647-"))
    killed.touch()
    assert results_folder(str(made), tmp_path) == made and [path.name for path in made.iterdir()] == [RESULTS]
    (made / "recipe.yaml").touch()
    live.touch()  # as a process that trains this run
    killed.touch()
    results_folder(None, made, replace=True)
    assert live.exists() and not killed.exists()


@pytest.mark.parametrize("name", ["recipe.yaml", "predictions.json", "check.json"])
def test_item_84_a_run_and_results_of_other_commands_are_not_replaced(tmp_path, name):
    made = results_folder(str(tmp_path / "made"), tmp_path)
    (made / name).write_text("{}")
    with pytest.raises(UserError, match=r"out: .*made is not empty"):
        results_folder(str(made), tmp_path, replace=True)


def test_a_folder_that_an_error_left_without_results_is_used_again(tmp_path):
    made = results_folder(str(tmp_path / "made"), tmp_path)
    assert results_folder(str(made), tmp_path) == made


def test_item_70_two_processes_get_a_folder_each(tmp_path):
    first, second = (results_folder(None, tmp_path / "predictions") for _ in range(2))
    assert first != second and in_results(first / "a.png") and in_results(second / "a.png")


def test_item_87_long_names_are_shortened_and_stay_apart(tmp_path):
    names = ["x" * 300, "x" * 299 + "y", "赤" * 90, "赤" * 89 + "y", "x" * 300 + "/", "x" * 300 + "%2F"]
    for short in ([shortened(name, 255 - 9) for name in names[:4]], [file_part(name) for name in names]):
        assert len(set(short)) == len(short)
        for name in short:
            (tmp_path / f"{name}_mask.png").touch()


def test_item_91_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_json(tmp_path / "a.json", {"top1": 1})
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(UserError, match=r"cannot write .*a\.json: No space left on device\. Free the disk"):
            write_json(tmp_path / "a.json", {"top1": 0})
    assert json.loads((tmp_path / "a.json").read_text()) == {"top1": 1}


def test_item_89_names_of_files_that_are_no_unicode_come_back_from_json(tmp_path):
    name = os.fsdecode(b"a\xff.png")
    with Records(tmp_path / "a.json") as records:
        records.add({"path": name})
    write_json(tmp_path / "b.json", {"path": name})
    assert [json.loads((tmp_path / f"{stem}.json").read_text()) for stem in "ab"] == [[{"path": name}], {"path": name}]
