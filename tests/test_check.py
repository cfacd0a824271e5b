"""The command check: on small data made here, with one fault of each kind planted in it."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

import visiontasks as vt
from visiontasks.check import check_command
from visiontasks.errors import UserError
from visiontasks.evaluation.results import file_part


def scene(seed, size=(120, 160)):
    """An image that no other seed gives: soft blobs, as photographs have them, and some detail."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(rng.integers(0, 80, (24, 32, 3), dtype=np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    return cv2.add(coarse // 2 + 30, fine)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def kinds(checkup):
    return {finding.kind for finding in checkup.findings}


@pytest.fixture
def folders(tmp_path):
    """Class folders without a fault."""
    for number in range(16):
        split = "val" if number >= 10 else "train"
        write(tmp_path / "data" / split / ("cat", "dog")[number % 2] / f"{number}.png", scene(number))
    return tmp_path / "data"


def test_clean_data_end_with_0_and_are_drawn(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert check_command([f"data={folders}"]) == 0
    printed = capsys.readouterr().out
    assert "read as folder" in printed and "clean: 0 errors, 0 warnings, 0 notes" in printed
    for name in ("classes.png", "sizes.png", "check.json", "sheets/cat.png", "sheets/dog.png", ".visiontasks"):
        assert (tmp_path / "check" / name).exists(), name
    check_command([f"data={folders}"])
    assert (tmp_path / "check_2" / "check.json").exists()


def test_results_within_the_data_are_no_data(folders, monkeypatch, capsys):
    (folders.parent / "flat").mkdir()
    for name in ("cat", "dog"):
        (folders / "train" / name).rename(folders.parent / "flat" / name)
    monkeypatch.chdir(folders.parent / "flat")
    assert check_command(["data=."]) == check_command(["data=."]) == 0
    with pytest.raises(UserError, match="out: .*cat is not empty"):
        check_command(["data=.", "out=cat"])


def test_json_is_alone_and_has_a_version(folders, tmp_path):
    (folders / "train" / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    done = subprocess.run(
        [sys.executable, "-m", "visiontasks.check", f"data={folders}", "json=true"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    assert done.returncode == 1 and found["version"] == 1 and found["status"] == "warnings"
    assert found["splits"]["train"]["classes"] == {"label": {"cat": 5, "dog": 5}}
    assert found["splits"]["train"]["images"] == 11 and found["splits"]["train"]["readable"] == 10
    (finding,) = found["findings"]
    assert finding["kind"] == "skipped" and finding["split"] == "train" and "broken.jpg" in finding["names"][0]
    assert not (tmp_path / "check").exists()


def test_json_of_what_cannot_be_read_says_why(tmp_path, capsys):
    assert check_command([f"data={tmp_path}", "json=true"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "errors" and "no source recognizes" in found["findings"][0]["text"]


def test_neither_keras_nor_a_backend_is_imported(folders, tmp_path):
    """But JAX, which grain imports where it is installed."""
    code = (
        "import sys; from visiontasks.check import check_command; check_command(sys.argv[1:]);"
        "assert not {'keras', 'tensorflow', 'torch'} & {*sys.modules}"
    )
    for words in ([f"data={folders}"], [f"data={folders}", "recipe=classify"]):
        done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_page_names_where_on_a_line_of_its_own(folders, capsys):
    write(folders / "val" / "cat" / "copy.png", scene(0))
    write(folders / "val" / "cat" / "bright, object.png", np.full((120, 160, 3), 200, np.uint8))
    assert check_command([f"data={folders}", "charts=false"]) == 1
    lines = capsys.readouterr().out.splitlines()
    place = next(
        number
        for number, line in enumerate(lines)
        if line.startswith("warning [validation] 1 × image of a single color")
    )
    assert lines[place + 1].strip() == "val/cat/bright, object.png"
    assert lines[-1] == "warnings: 0 errors, 2 warnings, 0 notes"
    (folders / "val" / "cat" / "copy.png").unlink()
    check_command([f"data={folders}", "charts=false"])
    assert capsys.readouterr().out.splitlines()[-1] == "warnings: 0 errors, 1 warning, 0 notes"


def test_copies_between_and_within_sets_are_found(folders):
    for number, split, copy in (
        (0, "val", lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [1, 60])[1], 1)),
        (1, "val", lambda image: cv2.resize(image, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)),
        (2, "train", lambda image: np.ascontiguousarray(image[3:, 4:])),
        (3, "train", lambda image: image),
    ):
        name = ("cat", "dog")[number % 2]
        write(folders / split / name / f"copy_{number}.png", copy(scene(number)))
    found = {(one.kind, one.split): one for one in vt.check(folders).findings}
    assert found["duplicates_between", ""].count == 2 and found["duplicates", "train"].count == 2
    assert len(found) == 2


def test_a_copy_with_another_label_is_said(folders):
    write(folders / "train" / "dog" / "copy.png", scene(0))
    assert {"duplicates", "duplicates_labels"} == kinds(vt.check(folders))


def test_a_recipe_says_what_is_looked_at(folders, capsys):
    assert vt.check(folders, "classify").fields == ("label",)
    with pytest.raises(UserError, match="learns from"):
        vt.check(folders, "unet_seg")
    own = vt.check(None, "lenet_digits", "data.train={source: shapes, count: 4}", "data.val={source: shapes, count: 4}")
    assert own.fields == ("label",)


def test_words_are_checked():
    with pytest.raises(UserError, match="expected data=DIR"):
        check_command(["charts=true"])
    with pytest.raises(UserError, match="without recipe="):
        vt.check({"train": {"source": "shapes"}}, None, "train.epochs=3")


def test_masks_of_other_values_are_read_with_an_override(tmp_path):
    for number in range(6):
        mask = np.zeros((120, 160), np.uint8)
        mask[30:60, 30:60] = 255 * (number > 0)
        write(tmp_path / "images" / f"{number}.png", scene(number))
        write(tmp_path / "masks" / f"{number}.png", mask)
    with pytest.raises(UserError, match=r"Set data.train.values=\[0,255\]"):
        vt.check(tmp_path)
    found = {one.kind: one for one in vt.check(tmp_path, None, "data.train.values=[0,255]").findings}
    assert found.keys() == {"empty_mask"} and found["empty_mask"].names[0].endswith("0.png")


def test_boxes_are_drawn_on_sheets_of_their_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = [{"id": n, "file_name": f"{n}.png", "height": 120, "width": 160} for n in range(4)]
    objects = [
        {"id": n, "image_id": n, "category_id": 1 + n, "bbox": [20, 20, 50, 40], "area": 2000, "iscrowd": 0}
        for n in range(4)
    ]
    long = "x" * 120  # begins as another does
    categories = [{"id": 1, "name": "a/b"}, {"id": 2, "name": "né"}, {"id": 3, "name": f"{long}1"}]
    categories.append({"id": 4, "name": f"{long}2"})
    for split, seed in (("train", 0), ("val", 10)):
        for number in range(4):
            write(tmp_path / "data" / split / f"{number}.png", scene(seed + number))
        (tmp_path / "data" / "annotations").mkdir(exist_ok=True)
        (tmp_path / "data" / "annotations" / f"instances_{split}.json").write_text(
            json.dumps({"images": images, "annotations": objects, "categories": categories})
        )
    assert check_command(["data=data", "out=found", "recipe=ssd_det"]) == 0
    written = {path.relative_to(tmp_path / "found").as_posix() for path in (tmp_path / "found").rglob("*.png")}
    sheets = {"a%2Fb", "né", file_part(f"{long}1"), file_part(f"{long}2")}
    assert {*(f"sheets/{name}.png" for name in sheets), "boxes.png", "classes.png", "sizes.png"} == written
    found = json.loads((tmp_path / "found" / "check.json").read_text(encoding="utf-8"))
    assert found["splits"]["train"]["objects"][""]["count"] == 4


def test_images_of_fewer_than_16_bits_are_looked_at_as_training_sees_them(tmp_path):
    for number in range(6):
        gray = cv2.cvtColor(scene(number), cv2.COLOR_RGB2GRAY)
        write(tmp_path / ("cat", "dog")[number % 2] / f"{number}.png", gray.astype(np.uint16) * 2)  # 9 bits
    checkup = vt.check(tmp_path)
    assert "one_color" not in kinds(checkup)
    assert checkup.to_json()["splits"]["train"]["brightness"]["median"] > 50
    assert any("the set fills 9 bits" in finding.text for finding in checkup.findings)
