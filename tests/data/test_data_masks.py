"""Images with masks of class numbers."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.data import scan as scan_module
from visiontasks.data.images import write_image
from visiontasks.data.sources.masks import Masks
from visiontasks.errors import BadImage, DataError

NUCLEI = Path(__file__).resolve().parents[2] / "../shared/data/nuclei"


def pair(root, stem, mask, suffix="", size=None, folders=("images", "masks")):
    mask = np.asarray(mask)
    height, width = size or mask.shape[:2]
    for folder in folders:
        (root / folder / stem).parent.mkdir(parents=True, exist_ok=True)
    write_image(root / folders[0] / f"{stem}.jpg", np.full((height, width, 3), 90, np.uint8))
    Image.fromarray(mask).save(root / folders[1] / f"{stem}{suffix}.png")


def numbers(*values, shape=(6, 8)):
    return np.resize(np.array(values, np.uint8), shape)


def masks(root, **arguments):
    return Masks(str(root / "images"), str(root / "masks"), **arguments)


@pytest.mark.parametrize("suffix", ["", "_mask", "-label", "_SEG"])
def test_pairs_are_matched_by_stem(tmp_path, suffix):
    pair(tmp_path, "b", numbers(0, 1, 255), suffix)
    pair(tmp_path, "sub/a", numbers(0, 2), suffix)
    source = masks(tmp_path)
    assert [source[i].id for i in range(2)] == ["b.jpg", "sub/a.jpg"]
    assert source.names == {"mask": ("0", "1", "2")} and source.fields == {"mask"}
    np.testing.assert_array_equal(source[0].mask, numbers(0, 1, 255))
    assert source[0].mask.dtype == np.int32 and source.describe(0) == source[0].path


def test_images_and_masks_in_one_folder(tmp_path):
    for stem in ("a", "b"):
        pair(tmp_path, stem, numbers(0, 1), "_mask", folders=("images", "images"))
    source = Masks(str(tmp_path / "images"), str(tmp_path / "images"))
    assert [source[i].id for i in range(len(source))] == ["a.jpg", "b.jpg"]


def test_what_has_no_partner_is_reported(tmp_path):
    pair(tmp_path, "a", numbers(0, 1))
    pair(tmp_path, "b", numbers(0, 1))
    pair(tmp_path, "c", numbers(0, 1))
    (tmp_path / "masks/b.png").unlink()
    (tmp_path / "images/c.jpg").unlink()
    source = masks(tmp_path)
    assert len(source) == 1
    assert source.report.count("image without a mask, skipped") == 1
    assert source.report.count("mask without an image, skipped") == 1


def test_no_pair_at_all(tmp_path):
    pair(tmp_path, "a", numbers(0, 1))
    (tmp_path / "masks/a.png").rename(tmp_path / "masks/z.png")
    with pytest.raises(DataError, match=r"got 1 images and 1 masks, but no pair \(such as a\.jpg, z\.png\)"):
        masks(tmp_path)
    with pytest.raises(DataError, match="images: expected a folder"):
        Masks(str(tmp_path / "gone"), str(tmp_path / "masks"))


def test_item_01_broken_pairs_are_skipped_and_counted(tmp_path):
    for stem in ("a", "b", "c"):
        pair(tmp_path, stem, numbers(0, 1))
    (tmp_path / "images/a.jpg").write_bytes(b"")
    whole = (tmp_path / "masks/b.png").read_bytes()
    (tmp_path / "masks/b.png").write_bytes(whole[:-20])
    source = masks(tmp_path)
    assert [source[i].id for i in range(len(source))] == ["c.jpg"]
    assert source.report.count("empty file, skipped") == 1
    assert source.report.count("truncated PNG: its end marker is missing, skipped") == 1


def test_item_49_void_is_no_class(tmp_path):
    pair(tmp_path, "a", numbers(0, 1, 2, 255))
    assert masks(tmp_path).names["mask"] == ("0", "1", "2")


def test_item_50_colors_are_refused_before_training(tmp_path):
    pair(tmp_path, "a", numbers(0, 1))
    pair(tmp_path, "bad", np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"bad\.png: expected one class index per pixel"):
        masks(tmp_path)


def test_item_50_a_number_without_a_name(tmp_path):
    pair(tmp_path, "a", numbers(0, 1))
    pair(tmp_path, "bad", numbers(0, 7))
    with pytest.raises(DataError, match=r"bad\.png: expected class indices below 2 \(names: sky, sea\).*got 7"):
        masks(tmp_path, names=["sky", "sea"])


def test_names_in_another_order_than_the_list_beside_the_masks(tmp_path):
    """A run that knows (sky, sea) would be scored with its classes swapped."""
    pair(tmp_path, "a", numbers(0, 1))
    (tmp_path / "masks/classes.txt").write_text("sea\nsky\n")
    with pytest.raises(DataError, match="names: 'sea' is class 1 in names and class 0 in the list beside"):
        masks(tmp_path, names=["sky", "sea"])
    assert masks(tmp_path, names=["sea", "heaven"]).names == {"mask": ("sea", "heaven")}  # another name is none


def test_item_51_binary_masks_get_a_hint_that_works(tmp_path):
    pair(tmp_path, "a", numbers(0))
    pair(tmp_path, "b", numbers(0, 255))
    with pytest.raises(DataError, match=r"b\.png: expected class indices .*values=\[0,255\]"):
        masks(tmp_path)
    source = masks(tmp_path, values=[0, 255])
    np.testing.assert_array_equal(source[1].mask, numbers(0, 1))
    assert len(source.names["mask"]) == 2


def test_values_stand_for_classes(tmp_path):
    pair(tmp_path, "a", numbers(10, 20, 200))
    source = masks(tmp_path, values=[20, 10, 200], names=["x", "y", "z"])
    np.testing.assert_array_equal(source[0].mask, numbers(1, 0, 2))
    with pytest.raises(DataError, match=r"a\.png: expected the values \[20, 10\], got 200; add it"):
        masks(tmp_path, values=[20, 10])
    for wrong in ([], [1, 1], [-1, 0], [0, 70000]):
        with pytest.raises(DataError, match="values: expected unique pixel values"):
            masks(tmp_path, values=wrong)


def test_item_52_mask_of_another_size(tmp_path):
    pair(tmp_path, "a", numbers(0, 1))
    pair(tmp_path, "bad", numbers(0, 1), size=(6, 9))
    with pytest.raises(DataError, match=r"bad\.png: expected the height and width \(6, 9\).*got \(6, 8\)"):
        masks(tmp_path)


def test_item_52_the_size_is_the_upright_one(tmp_path):
    pair(tmp_path, "a", numbers(0, 1, shape=(8, 6)))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / "images/a.jpg", exif=exif)
    assert masks(tmp_path)[0].image.shape == (8, 6, 3)


def test_instance_numbers_are_no_classes(tmp_path):
    pair(tmp_path, "a", np.arange(600, dtype=np.uint16).reshape(20, 30))
    with pytest.raises(DataError, match="expected 1 to 255 classes .*got 600; do the masks hold instance numbers"):
        masks(tmp_path)


@pytest.mark.parametrize("place", ["masks/train", "masks", "."])
def test_a_list_of_names_beside_the_masks_is_honoured(tmp_path, place):
    pair(tmp_path, "train/a", numbers(0, 1))
    (tmp_path / place / "classes.txt").write_text("\ufeffbackground\n\ncell wall\nnucleus\n", encoding="utf-8")
    source = Masks(str(tmp_path / "images/train"), str(tmp_path / "masks/train"))
    assert source.names["mask"] == ("background", "cell wall", "nucleus")
    assert source.report.count("class that occurs in no mask") == 1 and "nucleus" in str(source.report)
    (tmp_path / place / "classes.txt").write_text("a\na\n")
    with pytest.raises(DataError, match=r"classes\.txt: expected one unique class name per line, got 'a' twice"):
        Masks(str(tmp_path / "images/train"), str(tmp_path / "masks/train"))


def test_a_list_of_names_outside_the_data_set_is_not_taken(tmp_path):
    pair(tmp_path / "set", "a", numbers(0, 1))
    (tmp_path / "classes.txt").write_text("x\ny\nz\n")
    assert masks(tmp_path / "set").names["mask"] == ("0", "1")


def test_a_long_scan_shows_progress(tmp_path, monkeypatch, capsys):
    for k in range(3):
        pair(tmp_path, f"a{k}", numbers(0, 1))
    monkeypatch.setattr(scan_module, "QUIET_SECONDS", math.inf)
    masks(tmp_path)
    assert "Checking masks" not in capsys.readouterr().out
    monkeypatch.setattr(scan_module, "QUIET_SECONDS", 0.0)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    masks(tmp_path)
    assert "Checking masks" in capsys.readouterr().out


def test_pickles_for_worker_processes(tmp_path):
    pair(tmp_path, "a", numbers(0, 255))
    source = pickle.loads(pickle.dumps(masks(tmp_path, values=[0, 255])))
    np.testing.assert_array_equal(source[0].mask, numbers(0, 1))


@pytest.mark.skipif(not NUCLEI.is_dir(), reason="../shared/data/nuclei is not beside this checkout")
def test_nuclei():
    source = Masks(str(NUCLEI / "images/val"), str(NUCLEI / "masks/val"))
    assert len(source) == 40 and source.names["mask"] == ("0", "1") and not source.report
    sample = source[0]
    np.testing.assert_array_equal(sample.mask, np.asarray(Image.open(NUCLEI / "masks/val" / Path(sample.path).name)))


@pytest.mark.parametrize("changed", [numbers(0, 7), numbers(0, 1, shape=(3, 4))], ids=["other values", "other size"])
def test_item_95_a_mask_that_changes_after_the_check_is_skipped(tmp_path, changed):
    for stem in "ab":
        pair(tmp_path, stem, numbers(0, 1, 255))
    source = masks(tmp_path)
    Image.fromarray(changed).save(tmp_path / "masks" / "b.png")
    assert source[0].mask.max() == 255
    with pytest.raises(BadImage, match=r"b\.png: mask that has changed since it was checked"):
        source[1]


def test_two_images_with_one_mask_are_said(tmp_path):
    pair(tmp_path, "a", numbers(0, 1))
    pair(tmp_path, "b", numbers(0, 1))
    write_image(tmp_path / "images/a.png", np.full((6, 8, 3), 9, np.uint8))
    source = masks(tmp_path)
    files = [str(tmp_path / f"images/a.{suffix}") for suffix in ("jpg", "png")]
    assert len(source) == 3
    assert ("image with the mask of another of its name, as a.jpg and a.png", files, False) in source.report.items()


def test_names_with_spaces_in_a_list(tmp_path):
    for stem in ("old car 1", "old car 2", "old bus"):
        pair(tmp_path, stem, numbers(0, 1))
    (tmp_path / "train.txt").write_text("old car 1\nold bus.jpg\n")
    source = masks(tmp_path, list=str(tmp_path / "train.txt"))
    assert [source[number].id for number in range(2)] == ["old car 1.jpg", "old bus.jpg"] and len(source) == 2
