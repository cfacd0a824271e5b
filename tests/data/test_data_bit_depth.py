"""One scale for the 16-bit images of a data set."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from visiontasks.data import bit_depth
from visiontasks.data.bit_depth import is_deep_file
from visiontasks.data.deep import is_deep
from visiontasks.data.images import decode_image, read_image
from visiontasks.data.load import load_data
from visiontasks.data.report import Report
from visiontasks.data.sources.folder import Folder
from visiontasks.errors import BadImage
from visiontasks.inference.predictor import Predictor
from visiontasks.model_arrays import is_loader
from visiontasks.preprocess import Preprocess


def values(bits, channels=3):
    shape = (24, 30, channels) if channels > 1 else (24, 30)
    random = np.random.default_rng(bits).integers(0, 2**bits, shape, np.uint16)
    random.flat[:2] = 0, 2**bits - 1
    return random


def tiff(pixels, order="<", orientation=1):
    """An uncompressed RGB TIFF of 16 bits, written by the format's specification."""
    height, width, channels = pixels.shape
    body, place = pixels.astype(f"{order}u2").tobytes(), 8 + 2 + 12 * 11 + 4
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, place), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, place + 6), (274, 3, 1, orientation), (277, 3, 1, channels), (278, 4, 1, height)]
    tags += [(279, 4, 1, len(body)), (284, 3, 1, 1)]
    data = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    for tag, kind, count, value in tags:
        short = kind == 3 and count == 1
        data += struct.pack(f"{order}HHI" + ("HH" if short else "I"), tag, kind, count, value, *[0] * short)
    return data + bytes(4) + struct.pack(f"{order}3H", 16, 16, 16) + body


def encoded(suffix, pixels):
    return cv2.imencode(suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()


def by_pillow(kind, pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def classes(root, bits, count=3):
    """Class folders of 16-bit PNGs."""
    for name in ("clear", "nodule"):
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number}.png").write_bytes(encoded(".png", values(bits, 1)))
    return root


@pytest.mark.parametrize("bits", [5, 8, 10, 12, 14, 15])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".tiff", ".ppm"])
def test_the_highest_eight_of_the_bits_are_kept(suffix, channels, bits):
    pixels = values(bits, channels)
    image = decode_image(encoded(".pgm" if (suffix, channels) == (".ppm", 1) else suffix, pixels), bits=bits)
    expected = (pixels.astype(float) / 2 ** (bits - 8)).astype(np.uint8)
    np.testing.assert_array_equal(
        image, np.broadcast_to(expected if channels > 1 else expected[..., None], image.shape)
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiffs_of_both_byte_orders_are_upright(order, orientation):
    pixels = values(12)
    image = decode_image(tiff(pixels, order, orientation), bits=12)
    eight = decode_image(tiff(pixels >> 4 << 8, order, orientation))
    np.testing.assert_array_equal(image, eight)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "TIFF"):
        data = by_pillow(kind, values(12, 1), exif=exif)
        upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
        np.testing.assert_array_equal(decode_image(data, bits=12)[..., 0], upright >> 4)


def test_alpha_is_dropped_and_big_endian_gray_is_read():
    pixels = values(12, 4)
    np.testing.assert_array_equal(
        decode_image(cv2.imencode(".png", pixels)[1].tobytes(), bits=12), pixels[..., 2::-1] >> 4
    )
    gray = values(12, 1)
    image = decode_image(by_pillow("TIFF", gray.astype(">u2")), bits=12)
    np.testing.assert_array_equal(image[..., 1], gray >> 4)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_that_says_its_highest_value_is_scaled_by_it(tmp_path, channels):
    pixels = values(12, channels)
    header = f"P{5 if channels == 1 else 6}\n30 24\n4095\n".encode()
    path = tmp_path / "a.ppm"
    path.write_bytes(header + pixels.astype(">u2").tobytes())
    image = read_image(path, bits=10)  # which is not asked for
    assert np.abs(image - pixels.reshape(24, 30, -1) * (255 / 4095)).max() <= 1 and not is_deep_file(path)


def test_more_bits_than_the_set_has_are_an_error_and_not_clipped():
    with pytest.raises(BadImage, match=r"values up to 8191, beyond the 12 bits of its set \(bits=13\)"):
        decode_image(encoded(".png", values(13)), "a.png", bits=12)


@pytest.mark.parametrize(("bits", "says"), [(12, "divided by 16"), (14, "divided by 64"), (6, "multiplied by 4")])
def test_a_set_has_one_scale_found_in_its_files_and_said(tmp_path, bits, says):
    root = classes(tmp_path, bits)
    (root / "clear" / "dim.png").write_bytes(encoded(".png", values(bits, 1) // 7))
    (root / "clear" / "photo.jpg").write_bytes(encoded(".jpg", np.zeros((9, 9, 3), np.uint8)))
    train, val = load_data(str(root), size=(24, 30), batch=2)
    assert train.bits == val.bits == bits and is_loader(train)
    assert (
        train.source.report.count(f"16-bit image looked at: the set fills {bits} bits, so all are {says} (bits)") == 7
    )
    assert max(batch["image"].max() for batch in (*train, *val)) > 240
    assert "divided by 256" not in str(train.source.report)


def test_the_whole_range_is_divided_by_256_and_eight_bits_are_none(tmp_path):
    train, _ = load_data(str(classes(tmp_path / "deep", 16)), size=(24, 30), batch=2)
    assert train.bits == 16 and not train.source.report.count("16-bit image, divided by 256")
    pixels = cv2.imread(str(tmp_path / "deep/clear/0.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(train.source[0].image[..., 0], pixels >> 8)
    root = tmp_path / "plain"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(3):
            (root / name / f"{number}.png").write_bytes(encoded(".png", np.full((9, 9, 3), number, np.uint8)))
    train, _ = load_data(str(root), size=(8, 8), batch=2)
    assert train.bits is None and "16-bit" not in str(train.source.report)


def test_what_is_given_counts_and_both_parts_have_the_same(tmp_path):
    train, val = Folder(str(classes(tmp_path / "train", 10))), Folder(str(classes(tmp_path / "val", 12)))
    assert [loader.bits for loader in load_data((train, val), size=(24, 30), batch=2)] == [12, 12]
    train, val = (Folder(str(tmp_path / part)) for part in ("train", "val"))
    loaders = load_data((train, val), size=(24, 30), batch=2, bits=14)
    assert [loader.bits for loader in loaders] == [14, 14] and train[0].image.max() == 1023 >> 6
    mixed, _ = load_data([{"source": "folder", "root": str(tmp_path / part)} for part in ("train", "val")], batch=2)
    assert mixed.bits == 12


def test_of_many_files_some_are_looked_at(tmp_path, monkeypatch):
    root, read = classes(tmp_path, 12, 20), []
    monkeypatch.setattr(bit_depth, "HEADERS", 30)
    monkeypatch.setattr(bit_depth, "FILES", 10)
    look = bit_depth.bits_of_file
    monkeypatch.setattr(bit_depth, "bits_of_file", lambda path: read.append(path) or look(path))
    report = Report()
    assert bit_depth.find_bits(root.rglob("*.png"), report) == 12
    assert len(read) == 10 and len(str(report).splitlines()) == 1


def test_broken_files_say_nothing_of_the_bits(tmp_path):
    root = classes(tmp_path, 12)
    (root / "clear" / "cut.png").write_bytes(encoded(".png", values(16))[:300])
    (root / "clear" / "none.png").write_bytes(b"")
    assert bit_depth.find_bits([*root.rglob("*.png"), "gone.png"]) == 12


def test_a_single_image_has_the_scale_of_the_training(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png", values(10, 1)))
    seen = []

    class Looks(Predictor):
        def __init__(self, bits):
            self.preprocess = Preprocess((24, 30), bits=bits)

        def stream(self, samples, **options):
            return iter([seen.append(sample.image.max()) for sample in samples])

    for bits in (12, None):
        Looks(bits)(str(path))
        Looks(bits)([path])
    assert seen == [1023 >> 4] * 2 + [255] * 2
    assert Preprocess((8, 8), bits=12).get_config() == {"size": [8, 8], "resize": "stretch", "bits": 12}


def test_eight_bits_are_not_deep():
    for kind in ("PNG", "TIFF", "PPM", "JPEG"):
        assert not is_deep(Image.open(io.BytesIO(by_pillow(kind, np.zeros((5, 6, 3), np.uint8)))))
