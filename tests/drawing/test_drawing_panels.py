"""Drawings: exactly aligned, legible at any size, nothing cut off."""

import numpy as np
import pytest

from visiontasks.drawing import panels as drawing
from visiontasks.drawing.colors import color
from visiontasks.drawing.panels import Entry, captioned, contact_sheet, fitted, grid, side_by_side

SIZES = [(1, 1), (32, 32), (7, 300), (300, 7), (255, 256), (512, 640), (300, 5000), (4500, 4200)]
LONG = "a class name that goes on and on, far beyond what any image is wide enough to show in one line"


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_images_are_drawn_neither_tiny_nor_huge(size):
    drawn = fitted(noise(*size))
    assert 256 <= max(drawn.shape[:2]) <= 4096
    assert fitted(drawn) is drawn
    if max(size) <= 256:  # enlarged by a whole factor: every pixel stays a square of its own color
        factor = drawn.shape[0] // size[0]
        assert (drawn[::factor, ::factor] == noise(*size)).all()
        assert drawn.shape == (size[0] * factor, size[1] * factor, 3)


def test_a_shrunk_mask_keeps_its_classes():
    """Class numbers are never averaged: between 2 and 4 there is no 3."""
    mask = np.random.default_rng(0).choice(np.array([2, 4], np.int16), (5000, 40))
    assert set(np.unique(fitted(mask, nearest=True))) == {2, 4}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 6, 300])
def test_legends_are_never_cut_off(size, count):
    """A margin of plain paper stays free on all sides of the text, at any size and number of entries."""
    names = [LONG, "cat", "Käfer", "two\nlines"]
    entries = [Entry(names[i % 4], color(i), 1.0 if i % 3 else 1e-6) for i in range(count)]
    image = noise(*size)
    drawn, plain = captioned(image, entries), captioned(image)
    assert drawn.dtype == np.uint8 and drawn.shape[1] == plain.shape[1]
    assert (drawn[: len(plain)] == plain).all()  # text never covers the image
    strip = drawn[len(plain) :]
    text = drawing.unit(fitted(image))
    margin = text // 4
    paper = strip == 255
    assert paper[:margin].all() and paper[-margin:].all() and paper[:, :margin].all() and paper[:, -margin:].all()
    assert (~paper).any(axis=-1).any(axis=1).sum() > text / 2  # there is text, of legible height


def test_a_bar_is_as_long_as_its_share():
    half, whole = (captioned(np.zeros((256, 256, 3), np.uint8), [Entry("wide name", (0, 0, 255), s)]) for s in (0.5, 1))
    last = [(panel[-9] == (0, 0, 255)).all(axis=-1).sum() for panel in (half, whole)]
    assert last[0] == pytest.approx(last[1] / 2, abs=1) and last[1] > 60


def test_many_entries_are_summed_up():
    strips = [captioned(noise(300, 300), [Entry(f"class number {i}") for i in range(n)]).shape for n in (25, 26, 300)]
    assert strips[0] == strips[1] == strips[2]


@pytest.mark.parametrize("name", ["花の名前", "🌻", "", " ", "\x00", "שלום"])
def test_names_in_any_script_are_drawn(name):
    assert captioned(noise(64, 64), [Entry(name, (1, 2, 3), 0.5)]).shape[0] > 256


def test_panels_stand_side_by_side_unchanged():
    left, right = noise(300, 400), noise(350, 280, seed=1)
    row = side_by_side([left, right], ["left", LONG])
    assert row.shape[1] > 680
    head = row.shape[0] - 350
    assert (row[head : head + 300] != 255).any()
    gap = (row.shape[1] - 680) // 3
    assert (row[head : head + 300, gap : gap + 400] == left).all()
    assert (row[head:, 2 * gap + 400 : 2 * gap + 680] == right).all()
    assert (row[head + 300 :, : 2 * gap + 400] == 255).all()


@pytest.mark.parametrize("size", [(32, 32), (12, 700), (700, 12), (4800, 1000)])
def test_image_and_drawing_have_one_scale(size):
    """A raw image's panel and a captioned one show every pixel at the same place."""
    image = noise(*size)
    plain, drawn = captioned(image), captioned(image, [Entry(LONG, color(1), 0.5)] * 30)
    row = side_by_side([plain, drawn])
    gap = (row.shape[1] - 2 * plain.shape[1]) // 3
    parts = [row[: len(plain), x : x + plain.shape[1]] for x in (gap, 2 * gap + plain.shape[1])]
    assert (parts[0] == parts[1]).all() and (parts[0] == plain).all()


def test_a_sheet_stays_small_enough_to_open():
    rows = [side_by_side([noise(600, 3000)] * 3) for _ in range(3)]
    sheet = contact_sheet(rows)
    assert 8000 < sheet.shape[1] <= 8192 and sheet.dtype == np.uint8
    small = [noise(20, 30), noise(10, 50)]
    assert contact_sheet(small).shape == (30, 50, 3)
    assert (contact_sheet(small)[20:] == small[1]).all()


@pytest.mark.parametrize(
    ("count", "size", "columns"), [(1, (90, 200), 1), (8, (100, 200), 2), (16, (100, 100), 4), (7, (300, 100), 5)]
)
def test_a_grid_is_about_as_wide_as_tall(count, size, columns):
    cells = [np.full((size[0] - 9 * (i % 2), size[1], 3), i, np.uint8) for i in range(count)]
    sheet, rows = grid(cells), -(-count // columns)
    assert sheet.shape[1] == columns * size[1] and abs(sheet.shape[0] - rows * size[0]) <= 9
    for i in range(count):
        y, x = i // columns * size[0], i % columns * size[1]
        assert (sheet[y : y + size[0] - 9, x : x + size[1]] == i).all()
