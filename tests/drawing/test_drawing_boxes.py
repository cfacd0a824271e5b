"""Boxes: their lines are seen on any image."""

import numpy as np
import pytest

from visiontasks.drawing import boxes
from visiontasks.drawing.boxes import Mark, boxed
from visiontasks.drawing.panels import INK

RED, BLUE = (255, 0, 0), (0, 0, 255)
WHITE = np.full((300, 400, 3), 255, np.uint8)


def of_color(drawn, rgb):
    return (drawn == rgb).all(axis=-1)


def row_through(drawn, y, x1, x2):
    """The runs of colors in a row: [(color, length)]."""
    row = drawn[y, x1:x2]
    ends = np.append(np.flatnonzero((row[1:] != row[:-1]).any(axis=-1)), len(row) - 1)
    return [
        (tuple(row[end].tolist()), int(length)) for end, length in zip(ends, np.diff(ends, prepend=-1), strict=True)
    ]


def test_a_line_has_a_dark_halo_outside_and_inside():
    drawn = boxed(WHITE, [Mark((50, 40, 250, 200), "", RED)])
    side = [(INK, 1), (RED, 2), (INK, 1)]
    white = (255, 255, 255)
    assert row_through(drawn, 100, 40, 260) == [(white, 9), *side, (white, 194), *side, (white, 9)]
    columns = row_through(drawn.transpose(1, 0, 2), 100, 30, 210)
    assert columns == [(white, 9), *side, (white, 154), *side, (white, 9)]


def test_dashes_have_one_too():
    drawn = boxed(WHITE, [Mark((50, 40, 250, 200), "", RED, style="dashed")])
    left = drawn[60:180, 50]
    dashes, halo = (left == RED).all(axis=-1), (left == INK).all(axis=-1)
    assert 0.4 < dashes.mean() < 0.6 and 0.05 < halo.mean() < 0.2 and (left == 255).all(axis=-1).mean() > 0.25
    for column in (49, 52):
        assert of_color(drawn, INK)[60:180, column][dashes].all()


def test_solid_dashed_and_dotted_lines_are_told_apart():
    """Dots are shorter than dashes, and with more space between."""
    runs = {}
    for style in ("solid", "dashed", "dotted"):
        drawn = boxed(WHITE, [Mark((50, 40, 250, 200), "", RED, style)])
        runs[style] = [length for color, length in row_through(drawn, 40, 60, 240) if color == RED]
    assert runs["solid"] == [180]
    assert set(runs["dashed"][1:-1]) == {8} and set(runs["dotted"][1:-1]) == {2}
    assert 80 < sum(runs["dashed"]) < 100 and 40 < sum(runs["dotted"]) < 50


def test_lines_and_halos_grow_with_the_image():
    widths = []
    for scale in (1, 4, 10):
        drawn = boxed(np.full((300 * scale, 400 * scale, 3), 255, np.uint8), [Mark((0, 0, 200 * scale, 99), "", RED)])
        row = row_through(drawn, 60, 150 * scale, 250 * scale)
        widths.append([length for color, length in row if color in (INK, RED)])
    assert widths[0] == [1, 2, 1] and widths[1] == [1, 5, 1] and widths[2] == [4, 13, 4]


def test_a_halo_hides_no_line_of_a_neighbor():
    drawn = boxed(WHITE, [Mark((50, 40, 150, 140), "", RED), Mark((150, 40, 250, 140), "", BLUE)])
    assert [color for color, _ in row_through(drawn, 90, 140, 160)][1:-1] == [INK, RED, BLUE, INK]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_a_line_stays_inside_its_box(size):
    for height, width in ((300, 400), (3000, 4000)):
        drawn = boxed(np.full((height, width, 3), 255, np.uint8), [Mark((50, 40, 50 + size, 40 + size), "", RED)])
        rows, columns = np.nonzero(of_color(drawn, RED))
        assert (rows.min(), columns.min(), rows.max(), columns.max()) == (40, 50, 39 + size, 49 + size)


@pytest.mark.parametrize("size", [3, 6, 12, 40])
def test_a_small_object_is_seen_inside_its_box(size):
    drawn = boxed(np.full((3000, 4000, 3), 255, np.uint8), [Mark((500, 500, 500 + 3 * size, 500 + 3 * size), "", RED)])
    box = drawn[500 : 500 + 3 * size, 500 : 500 + 3 * size]
    assert of_color(box, RED).any()
    assert (box == 255).all(axis=-1).mean() > (0.1 if size >= 12 else -1)
    assert of_color(boxed(WHITE, [Mark((50, 40, 50 + size, 40 + size), "", RED)]), RED)[40, 50 : 50 + size].all()


def tags_of(monkeypatch, image, marks):
    """The areas of the texts that are drawn, in the order of the marks."""
    given, place = [], boxes._tag
    monkeypatch.setattr(boxes, "_tag", lambda *args: given.append(place(*args)) or given[-1])
    boxed(image, marks)
    return [None if tag is None else np.array(tag[0]) for tag in given]


def covered(area, box):
    """The share of a box that an area covers."""
    lengths = np.minimum(area[2:], box[2:]) - np.maximum(area[:2], box[:2])
    return np.maximum(lengths, 0).prod() / np.prod(np.subtract(box[2:], box[:2]))


def test_no_text_hides_a_small_object(monkeypatch):
    """Beside a large object are small ones, at each place where its text could be."""
    large = (100, 100, 300, 200)
    small = [(104, 84, 112, 92), (104, 104, 112, 112), (104, 204, 112, 212), (280, 84, 288, 92)]
    marks = [Mark(large, "large object", RED), *(Mark(box, "", BLUE) for box in small)]
    first, *_ = tags_of(monkeypatch, WHITE, marks)
    assert first is not None and all(covered(first, box) <= 0.5 for box in small)
    drawn = boxed(WHITE, marks)
    for x1, y1, x2, y2 in small:
        assert of_color(drawn[y1:y2, x1:x2], BLUE).sum() >= 14
    alone = tags_of(monkeypatch, WHITE, marks[:1])[0]
    assert (alone != first).any()  # it has moved


def test_a_text_without_room_is_left_out(monkeypatch):
    """Everything around the object is full of small ones."""
    rows, columns = np.mgrid[20:280:12, 20:380:12].reshape(2, -1)
    small = [(x, y, x + 8, y + 8) for y, x in zip(rows.tolist(), columns.tolist(), strict=True)]
    areas = tags_of(
        monkeypatch, WHITE, [Mark((120, 100, 300, 200), "object", RED), *(Mark(b, "x", BLUE) for b in small)]
    )
    assert areas == [None] * len(areas)


def test_the_texts_of_two_hundred_objects_are_legible(monkeypatch):
    """They are not above each other, and hide no object; the more important ones have them."""
    rng = np.random.default_rng(0)
    sides, corners = rng.uniform(8, 160, (200, 2)), rng.uniform(0, 1, (200, 2)) * (840, 600)
    all_boxes = np.concatenate([corners, corners + sides], axis=1)
    marks = [Mark(tuple(box), f"name {i}", RED) for i, box in enumerate(all_boxes.tolist())]
    areas = tags_of(monkeypatch, np.zeros((768, 1024, 3), np.uint8), marks)
    drawn = [area for area in areas if area is not None]
    assert len(areas) == 200 and 25 < len(drawn) < 150
    missing = [area is None for area in areas]
    assert sum(missing[:50]) < sum(missing[-50:])
    for number, area in enumerate(drawn):
        assert all(covered(area, other) == 0 for other in drawn[:number])
        assert all(covered(area, box) <= 0.5 for box in all_boxes)
