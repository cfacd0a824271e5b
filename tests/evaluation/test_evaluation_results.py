"""Folders of results, and names within them."""

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
        patched.setattr(Path, "write_text", full)
        with pytest.raises(UserError, match=r"cannot write .*a\.json: No space left on device\. Free the disk"):
            write_json(tmp_path / "a.json", {"top1": 0})
    assert json.loads((tmp_path / "a.json").read_text()) == {"top1": 1}


def test_item_89_names_of_files_that_are_no_unicode_come_back_from_json(tmp_path):
    name = os.fsdecode(b"a\xff.png")
    with Records(tmp_path / "a.json") as records:
        records.add({"path": name})
    write_json(tmp_path / "b.json", {"path": name})
    assert [json.loads((tmp_path / f"{stem}.json").read_text()) for stem in "ab"] == [[{"path": name}], {"path": name}]
