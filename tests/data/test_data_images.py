"""Reading images: Pillow is the reference for whole files; broken ones are made here."""

import contextlib
import io
import struct
import time
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from visiontasks.data import images, mask_images
from visiontasks.data.report import Report
from visiontasks.data.scan import scan
from visiontasks.errors import BadImage, DataError


def photo(height=61, width=83, seed=0):
    """Smooth colors, so that lossy formats stay near."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (5, 6, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def encoded(kind, content=None, **options):
    file = io.BytesIO()
    content = Image.fromarray(photo()) if content is None else content
    content.save(file, kind, **options)
    return file.getvalue()


def png_of(values, bits):
    """A gray PNG of 1, 2 or 4 bits a pixel, written by the format's specification."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width = values.shape
    rows = (np.unpackbits(values[..., None].astype(np.uint8), axis=-1)[..., -bits:]).reshape(height, -1)
    lines = b"".join(b"\0" + np.packbits(row).tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


def write(path, data):
    path.write_bytes(data)
    return path


def with_thumbnail(data):
    """A JPEG with an EXIF block that embeds a whole smaller JPEG, end marker included, as cameras write."""
    thumbnail = encoded("JPEG", Image.fromarray(photo(12, 16)))
    body = b"Exif\0\0" + thumbnail
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("make", [encoded, lambda kind: with_thumbnail(encoded("JPEG"))], ids=["plain", "thumbnail"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "MPO", "GIF", "WEBP", "TIFF", "BMP"])
def test_item_01_truncated_is_refused_and_left_alone(tmp_path, kind, make, keep):
    whole = make(kind)
    if len(whole) - int(len(whole) * keep) < 3:
        whole += whole[-2:]  # keep a cut that loses the end marker
    path = write(tmp_path / "cut.bin", whole[: min(int(len(whole) * keep), len(whole) - 4)])
    before = path.read_bytes()
    with pytest.raises(BadImage) as caught:
        images.read_image(path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_item_01_bytes_behind_the_end_are_no_harm(tmp_path):
    data = encoded("JPEG")
    path = write(tmp_path / "a.jpg", data + b"\0" * 500 + b"appended by a camera")
    np.testing.assert_array_equal(images.read_image(path), images.decode_image(data))


def test_item_01_tail_filled_with_zeros_is_truncated(tmp_path):
    for kind in ("JPEG", "PNG"):
        data = encoded(kind)
        path = write(tmp_path / kind, data[: len(data) // 2] + bytes(len(data) // 2))
        with pytest.raises(BadImage, match="truncated"):
            images.read_image(path)


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty"), (bytes(5000), "zeros"), (b"<html>no</html>", "not an image of a known format")]
)
def test_item_02_empty_or_zero_filled(tmp_path, data, reason):
    path = write(tmp_path / "a.jpg", data)
    for read in (images.read_image, images.image_size, mask_images.read_mask):
        with pytest.raises(BadImage, match=reason):
            read(path)


def test_item_02_missing_file_is_a_bad_image(tmp_path):
    for read in (images.read_image, images.image_size, mask_images.read_mask):
        with pytest.raises(BadImage, match=r"gone\.jpg: it cannot be read"):
            read(tmp_path / "gone.jpg")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "JPEG", "WEBP", "BMP", "TIFF", "PPM"])
def test_item_03_the_bytes_decide_not_the_suffix(tmp_path, kind):
    data = encoded(kind)
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    for suffix in (".jpg", ".png"):
        np.testing.assert_array_equal(images.read_image(write(tmp_path / f"a{suffix}", data)), reference)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "MPO"])
def test_item_04_upright_by_exif(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(kind, exif=exif)
    reference = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    path = write(tmp_path / "a", data)
    image = images.read_image(path)
    np.testing.assert_array_equal(image, reference)
    assert images.image_size(path) == image.shape[:2]
    assert image.shape == ((83, 61, 3) if orientation >= 5 else (61, 83, 3))


def test_item_05_cmyk(tmp_path):
    data = encoded("JPEG", Image.fromarray(photo()).convert("CMYK"), quality=95)
    image = images.read_image(write(tmp_path / "a.jpg", data))
    assert image.shape == photo().shape and np.abs(image.astype(int) - photo()).mean() < 2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".tiff", ".ppm"])
def test_item_06_sixteen_bits_are_scaled_by_the_range(tmp_path, suffix, channels):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**16, (40, 50, channels), np.uint16)
    values[0, 0], values[0, 1] = 65535, 0
    _, data = cv2.imencode(".pgm" if (suffix, channels) == (".ppm", 1) else suffix, values)
    image = images.read_image(write(tmp_path / f"a{suffix}", data.tobytes()))
    expected = np.broadcast_to(values[..., ::-1] / 257, image.shape)
    assert np.abs(image - expected).max() <= 1
    assert image.max() == 255 and np.unique(image).size > 200  # clipping would leave 255 almost alone


def test_item_06_numbers_without_a_range_are_refused():
    with pytest.raises(BadImage, match="32-bit"):
        images.decode_image(encoded("TIFF", Image.fromarray(np.zeros((4, 4), np.float32))))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_item_07_palette_becomes_rgb(kind):
    palette = Image.fromarray(photo()).quantize(16)
    np.testing.assert_array_equal(images.decode_image(encoded(kind, palette)), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_item_08_alpha_is_dropped(kind):
    alpha = np.full((61, 83), 128, np.uint8)
    rgba = Image.fromarray(np.dstack([photo(), alpha]))
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(images.decode_image(encoded(kind, rgba, **options)), photo())


def test_item_08_gray_with_alpha():
    gray = Image.fromarray(photo()).convert("L")
    both = Image.merge("LA", (gray, gray))
    np.testing.assert_array_equal(images.decode_image(encoded("PNG", both))[..., 1], np.asarray(gray))


@pytest.mark.parametrize(
    ("kind", "mode"), [*((kind, "L") for kind in ("PNG", "JPEG", "TIFF", "BMP")), ("PNG", "1"), ("TIFF", "1")]
)
def test_item_09_gray_becomes_three_equal_channels(kind, mode):
    data = encoded(kind, Image.fromarray(photo()).convert(mode))
    image = images.decode_image(data)
    assert image.shape == (61, 83, 3)
    np.testing.assert_array_equal(image, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_item_10_animation_gives_its_first_frame_and_a_warning(tmp_path, kind):
    frames = [Image.fromarray(np.roll(photo(), 20 * k, axis=0)) for k in range(3)]
    path = write(tmp_path / "a.gif", encoded(kind, frames[0], save_all=True, append_images=frames[1:]))
    report = Report()
    image = images.read_image(path, report)
    np.testing.assert_array_equal(image, np.asarray(Image.open(path).convert("RGB")))
    errors = [np.abs(image.astype(int) - frame).mean() for frame in frames]  # GIF has 256 colors, WebP is lossy
    assert 4 * errors[0] < min(errors[1:])
    assert report.count("image of several frames, only the first is used") == 1 and "a.gif" in str(report)
    still = Report()
    images.read_image(write(tmp_path / "b.gif", encoded(kind)), still)
    assert not still


def test_item_11_decompression_bomb(tmp_path):
    rows = zlib.compress(bytes(1000), 9)
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")):
        bomb += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    path = write(tmp_path / "bomb.png", bomb)
    for read in (images.read_image, images.image_size, mask_images.read_mask):
        with pytest.raises(BadImage, match="60000 x 60000 pixels, more than the limit"):
            read(path)


def test_item_88_large_images_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    """A file of few bytes may hold 0.4 GB of pixels: eight threads would need eight times as much."""
    for number in range(6):
        write(tmp_path / f"{number}.png", encoded("PNG"))
    decode, decoding, most = cv2.imdecode, [], []

    def watched(*arguments):
        decoding.append(None)
        most.append(len(decoding))
        time.sleep(0.01)
        decoding.pop()
        return decode(*arguments)

    monkeypatch.setattr(images.cv2, "imdecode", watched)
    for limit, expected in ((61 * 83, False), (61 * 83 - 1, True)):
        monkeypatch.setattr(images, "_LARGE", limit)
        most.clear()
        list(scan(images.read_image, sorted(tmp_path.glob("*.png")), ""))
        assert (max(most) == 1) is expected


@pytest.mark.parametrize(
    "read", [lambda path: images.read_image(path, Report()), images.image_size, mask_images.read_mask]
)
@pytest.mark.parametrize("kind", ["GIF", "JPEG", "TIFF", "PNG"])
def test_what_a_decoder_raises_is_a_broken_image(tmp_path, read, kind):
    """Pillow raises an IndexError of a GIF that is cut between two images, and other types of others."""
    gray = Image.fromarray(photo()[..., 0])
    more = {"save_all": True, "append_images": [gray]} if kind == "GIF" else {"exif": Image.Exif()}
    data = encoded(kind, gray, **more)
    for end in range(0, len(data), 1 + len(data) // 200):
        for cut in (data[:end], data[:end] + b"\xff" + data[end + 1 :]):
            path = write(tmp_path / "a", cut)
            with contextlib.suppress(BadImage, DataError):
                read(path)


def _out_of_memory(*_):
    error = cv2.error("Insufficient memory")
    error.code = cv2.Error.StsNoMem
    raise error


@pytest.mark.parametrize("decode", [_out_of_memory, lambda *_: np.empty(2**50)])
def test_out_of_memory_is_no_broken_image(tmp_path, monkeypatch, decode):
    path = write(tmp_path / "a.png", encoded("PNG"))
    monkeypatch.setattr(images.cv2, "imdecode", decode)
    with pytest.raises(MemoryError):
        images.read_image(path)


def test_item_11_the_limit_is_an_argument_and_pillows_own_is_untouched(tmp_path):
    path = write(tmp_path / "a.png", encoded("PNG"))
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(BadImage, match="more than the limit of 5000"):
        images.read_image(path, max_pixels=5000)
    assert images.read_image(path, max_pixels=61 * 83).shape == (61, 83, 3)
    # above Pillow's own limit, below ours
    wide = write(tmp_path / "wide.png", encoded("PNG", Image.new("1", (2**15, 4000))))
    assert images.image_size(wide) == (4000, 2**15)
    assert before == Image.MAX_IMAGE_PIXELS


def test_item_12_and_14_listing(tmp_path):
    for name in ("b.JPG", "a.jpeg", "sub/c.PnG", "sub/deep/d.tif", "sub/.hidden/e.jpg", ".ipynb_checkpoints/f.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, encoded("JPEG"))
    for name in (".DS_Store", "._b.JPG", "notes.txt", "Thumbs.db", "sub/._c.png", ".jpg"):
        write(tmp_path / name, b"x")
    result = [p.relative_to(tmp_path).as_posix() for p in images.list_images(tmp_path)]
    assert result == ["a.jpeg", "b.JPG", "sub/c.PnG", "sub/deep/d.tif"]
    assert [p.name for p in images.list_images(tmp_path, recursive=False)] == ["a.jpeg", "b.JPG"]


@pytest.mark.parametrize("name", ["ähnlich größe.jpg", "写真 一.png", "emoji 🌼 (1).JPG", "a b  c.jpg"])
def test_item_13_paths_of_any_characters(tmp_path, name):
    path = write(tmp_path / name, encoded("PNG"))
    np.testing.assert_array_equal(images.read_image(path), photo())
    np.testing.assert_array_equal(images.read_image(str(path)), photo())
    images.write_image(path.with_suffix(".png"), photo(seed=1))
    np.testing.assert_array_equal(images.read_image(path.with_suffix(".png")), photo(seed=1))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, on odd TIFF tags
@settings(max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"]), st.data())
def test_damaged_bytes_give_an_image_or_bad_image(kind, data):
    damaged = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for decode in (images.decode_image, mask_images.decode_mask):
        try:
            result = decode(bytes(damaged), "x", max_pixels=2**20)
            assert result.dtype == (np.uint8 if decode is images.decode_image else np.int32)
        except BadImage as error:
            assert error.reason
        except DataError:
            assert decode is mask_images.decode_mask


def test_mask_of_a_palette_gives_indices(tmp_path):
    values = np.random.default_rng(0).integers(0, 21, (30, 40), np.uint8)
    palette = Image.fromarray(values, "L")
    palette.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes())
    mask = mask_images.read_mask(write(tmp_path / "a.png", encoded("PNG", palette)))
    assert mask.dtype == np.int32
    np.testing.assert_array_equal(mask, values)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_mask_of_few_bits_is_not_stretched(bits):
    values = np.random.default_rng(0).integers(0, 2**bits, (13, 21))
    np.testing.assert_array_equal(mask_images.decode_mask(png_of(values, bits)), values)


def test_mask_of_16_bits():
    values = np.random.default_rng(0).integers(0, 2**16, (13, 21), np.uint16)
    np.testing.assert_array_equal(mask_images.decode_mask(encoded("PNG", Image.fromarray(values))), values)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP"])
def test_mask_of_8_bits(kind):
    values = np.random.default_rng(0).integers(0, 9, (13, 21), np.uint8)
    np.testing.assert_array_equal(mask_images.decode_mask(encoded(kind, Image.fromarray(values))), values)


def test_mask_saved_with_three_equal_channels_is_one():
    values = np.random.default_rng(0).integers(0, 9, (13, 21), np.uint8)
    np.testing.assert_array_equal(
        mask_images.decode_mask(encoded("PNG", Image.fromarray(np.dstack([values] * 3)))), values
    )


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_item_50_mask_of_colors(tmp_path, mode):
    path = write(tmp_path / "colors.png", encoded("PNG", Image.fromarray(photo()).convert(mode)))
    with pytest.raises(DataError, match=r"colors\.png: expected one class index per pixel.*RGB"):
        mask_images.read_mask(path)


def test_item_50_mask_in_a_lossy_file(tmp_path):
    path = write(tmp_path / "m.png", encoded("JPEG", Image.fromarray(photo()).convert("L")))
    with pytest.raises(DataError, match="expected a lossless image"):
        mask_images.read_mask(path)
