"""Which files are images, and which of them can be decoded here."""

import io
import sys

import numpy as np
import pytest
from PIL import Image, features

from visiontasks.data import formats
from visiontasks.data.detect import detect
from visiontasks.data.images import image_size, list_images, read_image
from visiontasks.data.report import Report
from visiontasks.data.sources.folder import Folder
from visiontasks.data.sources.images import Images
from visiontasks.errors import BadImage, DataError

HEIC = b"\0\0\0\x18ftypheic" + bytes(12)
AVIF = HEIC.replace(b"heic", b"avif")


@pytest.fixture
def bare(monkeypatch):
    """Neither pillow-heif nor a decoder of AVIF is there."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(features, "check", lambda name: False)
    formats.readable_formats.cache_clear()
    yield
    formats.readable_formats.cache_clear()


def png(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 9, 3), value, np.uint8)).save(path, "PNG")


def test_phones_pictures_that_cannot_be_read_are_counted_and_named(tmp_path, bare):
    for name in ("cat/a.png", "dog/b.png"):
        png(tmp_path / name)
    for name, data in (("dog/IMG_1.HEIC", HEIC), ("dog/c.heif", HEIC), ("cat/d.Avif", AVIF)):
        (tmp_path / name).write_bytes(data)
    png(tmp_path / "cat/named_wrong.heic")
    source = Folder(str(tmp_path))
    assert len(source) == 6
    (heic, avif) = sorted(str(source.report).splitlines())[::-1]
    assert "2 × HEIC, which needs pillow-heif, pip install 'visiontasks[heif]'" in heic and "IMG_1.HEIC" in heic
    assert "1 × AVIF, which needs Pillow 11.3" in avif and "d.Avif" in avif
    before = source.report.whole()
    for index in range(6):  # what reading says of them is the same note
        try:
            assert source[index].image.shape == (8, 9, 3)
        except BadImage as bad:
            source.report.skipped(f"{bad.reason}, skipped", bad.path)
    assert source.report.whole() == before


def test_a_class_of_nothing_else_stays_a_class(tmp_path, bare):
    png(tmp_path / "cat/a.png")
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog/b.HEIC").write_bytes(HEIC)
    splits, _ = detect(tmp_path)
    assert splits["train"]["source"] == "folder"


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no decoder of AVIF")
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_avif_is_read_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16], pixels[:, :24, 2] = (200, 40, 40), 220
    path, report = tmp_path / "a.AVIF", Report()
    Image.fromarray(pixels).save(path, "AVIF", quality=95, exif=exif)
    turned = np.rot90(pixels, {1: 0, 3: 2, 6: -1}[orientation])
    image = read_image(path)
    assert image.shape == turned.shape and image_size(path) == image.shape[:2]
    assert np.abs(image.astype(int) - turned).mean() < 5
    assert list_images(tmp_path, report=report) == [path] and not report


def test_heic_is_read_where_its_library_is(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16] = 200
    heif.from_pillow(Image.fromarray(pixels)).save(file, quality=95)
    (tmp_path / "a.HEIC").write_bytes(file.getvalue())
    report = Report()
    assert list_images(tmp_path, report=report) == [tmp_path / "a.HEIC"] and not report
    assert np.abs(read_image(tmp_path / "a.HEIC").astype(int) - pixels).mean() < 5


def test_pictures_of_other_formats_are_counted_with_their_names(tmp_path):
    for name in ("cat/a.png", "dog/b.png"):
        png(tmp_path / name)
    others = ("cat/a.psd", "cat/b.PSD", "dog/scan.dcm", "dog/raw.CR2", "dog/.x.dng", "dog/notes.txt", "dog/v.nii.gz")
    for name in others:
        (tmp_path / name).write_bytes(b"x")
    report = str(Folder(str(tmp_path)).report)
    assert "2 × .psd file, a format that is not read, skipped; convert it to PNG or JPEG" in report
    assert all(name in report for name in ("a.psd", "b.PSD", "scan.dcm", "raw.CR2", "v.nii.gz"))
    assert ".dng" not in report and "notes" not in report
    assert str(Images(str(tmp_path)).report).count("not read") == 4


def test_a_folder_of_nothing_but_them_says_so(tmp_path):
    for name in ("cat/a.dcm", "dog/b.dcm"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match="holds 2 pictures of formats that are not read, such as a.dcm; convert them"):
        detect(tmp_path, ["label"])


def test_images_without_a_suffix_are_counted(tmp_path):
    for name in ("cat/a.png", "dog/b.png", "cat/c", "dog/d"):
        png(tmp_path / name)
    (tmp_path / "dog" / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(9))
    (tmp_path / "dog" / "LICENSE").write_text("CC0")
    report = Report()
    assert len(list_images(tmp_path, report=report)) == 2
    assert report.count("image without a suffix, skipped; add its own, such as .png") == 3
