"""Tiles and mirrored views: what they cover, the way back, and one answer out of many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visiontasks.inference.merging import cut_off, merge_boxes
from visiontasks.inference.views import View, views
from visiontasks.ops import numpy_boxes
from visiontasks.preprocess import Preprocess

STRETCH, LETTERBOX = Preprocess((64, 96)), Preprocess((64, 96), "letterbox")


@settings(max_examples=100)
@given(
    height=st.integers(1, 900),
    width=st.integers(1, 900),
    tile=st.integers(1, 300),
    overlap=st.floats(0, 0.9),
)
def test_tiles_cover_the_image_and_overlap_as_asked(height, width, tile, overlap):
    if (height / tile) * (width / tile) / (1 - overlap) ** 2 > 2000:
        return
    got = views((height, width), STRETCH, tile, overlap)
    seen = np.zeros((height, width), int)
    for view in got:
        top, left, bottom, right = view.window
        assert 0 <= top < bottom <= height and 0 <= left < right <= width
        assert (bottom - top, right - left) == (min(tile, height), min(tile, width))
        seen[top:bottom, left:right] += 1
    assert (seen > 0).all() and len({view.window for view in got}) == len(got)
    for axis in (0, 1):
        starts = sorted({view.window[axis] for view in got})
        # a pixel at least, where the tile has more than one
        steps = np.diff(starts)
        assert (steps <= max(1, tile * (1 - overlap) + 1)).all()
    assert len(got) == 1 or max(height, width) > tile


def test_the_whole_and_its_mirror_image():
    (whole,) = views((50, 70), LETTERBOX)
    assert whole.window == (0, 0, 50, 70) and not whole.flipped
    one, other = views((50, 70), LETTERBOX, flip=True)
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    np.testing.assert_array_equal(one.canvas(image), whole.placement.place_image(image))
    np.testing.assert_array_equal(other.canvas(image), whole.placement.place_image(image[:, ::-1].copy()))


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("window", [(0, 0, 200, 300), (10, 20, 75, 130), (125, 170, 200, 300)])
def test_boxes_and_maps_come_back_from_where_they_were_seen(mode, flipped, window):
    view = View((200, 300), window, Preprocess((64, 96), mode), flipped)
    top, left, bottom, right = window
    boxes = np.float32([[left + 5, top + 3, left + 41, top + 33], [left, top, right, bottom]])
    inside = boxes - np.float32([left, top, left, top])
    if flipped:
        inside = np.stack(
            [right - left - inside[:, 2], inside[:, 1], right - left - inside[:, 0], inside[:, 3]], axis=1
        )
    placement = view.placement
    (scale_y, scale_x), (shift_y, shift_x) = placement.scale, placement.offset
    on_canvas = inside * np.float32([scale_x, scale_y] * 2) + np.float32([shift_x, shift_y] * 2)
    np.testing.assert_allclose(view.restore_boxes(placement.restore_boxes(on_canvas)), boxes, atol=1e-3)
    # an image whose pixels hold their own coordinates
    ramp = np.stack(np.broadcast_arrays(np.arange(300), np.arange(200)[:, None], 0), axis=-1) * (255 / 300)
    seen = view.canvas(ramp.round().astype(np.uint8)).astype(np.float32)
    back = view.restore_map(placement.restore_map(seen))
    np.testing.assert_allclose(back[2:-2, 2:-2], ramp[top:bottom, left:right][2:-2, 2:-2], atol=4)


def greedy(boxes, scores, classes, threshold):
    """Suppression as it is defined, box by box."""
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        if all(
            classes[i] != classes[k] or numpy_boxes.iou(boxes[i : i + 1], boxes[k : k + 1])[0, 0] <= threshold
            for k in kept
        ):
            kept.append(i)
    return kept


def random_boxes(rng, count, extent=100):
    corner = rng.uniform(5, extent - 45, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(5, 40, (count, 2))], axis=1).astype(np.float32)


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), threshold=st.sampled_from([0.3, 0.5, 0.7]))
def test_of_one_window_seen_by_many_it_is_greedy_suppression(seed, threshold):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 40))
    boxes, scores, classes = random_boxes(rng, count), rng.random(count).astype(np.float32), rng.integers(0, 3, count)
    windows = np.tile(np.float32([0, 0, 100, 100]), (count, 1))
    kept = greedy(boxes, scores, classes, threshold)
    for got, expected in zip(
        merge_boxes(boxes, scores, classes, windows, np.arange(count), (100, 100), threshold),
        (boxes, scores, classes),
        strict=True,
    ):
        np.testing.assert_array_equal(got, expected[kept])


def test_suppression_is_the_graphs():
    from visiontasks.ops import boxes as graph_boxes
    from visiontasks.ops import nms

    rng = np.random.default_rng(0)
    boxes, scores = random_boxes(rng, 60), np.sort(rng.random(60).astype(np.float32))[::-1].copy()
    kept = np.asarray(nms.suppress(boxes, scores, 0.5))
    windows = np.tile(np.float32([0, 0, 100, 100]), (60, 1))
    got, _, _ = merge_boxes(boxes, scores, np.zeros(60, int), windows, np.arange(60), (100, 100), 0.5)
    np.testing.assert_array_equal(got, boxes[kept])
    np.testing.assert_allclose(numpy_boxes.iou(boxes, boxes), np.asarray(graph_boxes.iou(boxes, boxes)), atol=1e-6)
    np.testing.assert_allclose(numpy_boxes.area(boxes), np.asarray(graph_boxes.area(boxes)), rtol=1e-6)


@settings(max_examples=100)
@given(seed=st.integers(0, 10_000), tile=st.sampled_from([120, 160, 250]))
def test_objects_seen_in_parts_come_back_whole_and_once(seed, tile):
    """Perfect predictions for every tile, each with another score; objects up to twice as large as a tile."""
    rng, image_size = np.random.default_rng(seed), (400, 600)
    truth, classes = [], []
    for row in range(2):
        for column in range(3):  # one in each cell, so that none hides another
            corner = np.array([200 * column + 5, 200 * row + 5]) + rng.uniform(0, 60, 2)
            truth.append([*corner, *(corner + rng.uniform(12, 130, 2))])
            classes.append(int(rng.integers(2)))
    truth = np.float32(truth)
    boxes, kinds, windows, seen_in = [], [], [], []
    for number, view in enumerate(views(image_size, STRETCH, tile, 0.2)):
        top, left, bottom, right = view.window
        window = np.float32([left, top, right, bottom])
        cut = numpy_boxes.clip(truth, window)
        for box, kind in zip(cut, classes, strict=True):
            if (box[2:] - box[:2]).min() >= 4:
                boxes.append(box + rng.uniform(-0.4, 0.4, 4))
                kinds.append(kind)
                windows.append(window)
                seen_in.append(number)
    scores = rng.uniform(0.3, 1, len(boxes)).astype(np.float32)
    boxes, _, kinds = merge_boxes(
        np.float32(boxes), scores, np.array(kinds), np.float32(windows), np.array(seen_in), image_size
    )
    assert len(boxes) == len(truth)
    for box, kind in zip(truth, classes, strict=True):
        overlaps = numpy_boxes.iou(boxes, box[None])[:, 0]
        assert overlaps.max() > 0.8 and kinds[overlaps.argmax()] == kind


def test_scores_of_a_part_pass_to_the_whole():
    boxes = np.float32([[50, 10, 99.8, 40], [50, 10, 130, 40]])
    windows = np.float32([[0, 0, 100, 100], [40, 0, 140, 100]])
    got = merge_boxes(boxes, np.float32([0.9, 0.4]), np.zeros(2, int), windows, np.arange(2), (100, 140))
    np.testing.assert_allclose(got[0], [[50, 10, 130, 40]])
    np.testing.assert_allclose(got[1], [0.9])
    # of two neighbours that only touch at the edge each stays
    boxes = np.float32([[50, 10, 100, 40], [100, 10, 130, 40]])
    assert len(merge_boxes(boxes, np.float32([0.9, 0.4]), np.zeros(2, int), windows, np.arange(2), (100, 140))[0]) == 2


def one_by_one(boxes, scores, classes, windows, seen_in, image_size, threshold):
    """What merge_boxes does, in plain loops: each box in its turn is compared with all that are left."""
    cut = cut_off(boxes, windows, image_size)
    order = np.lexsort((-scores, cut))
    boxes, scores, classes, windows, seen_in, cut = (
        np.array(a[order]) for a in (boxes, scores, classes, windows, seen_in, cut)
    )
    left, kept = np.ones(len(boxes), bool), []
    for i in range(len(boxes)):
        if not left[i]:
            continue
        kept.append(i)
        grows, mine_seen_in = True, {seen_in[i]}
        while grows:
            rest = i + 1 + np.flatnonzero(left[i + 1 :] & (classes[i + 1 :] == classes[i]))
            rest = np.array([j for j in rest if seen_in[j] not in mine_seen_in], int)
            mine = np.where(cut[rest, None], numpy_boxes.clip(boxes[i], windows[rest]), boxes[i])
            theirs = numpy_boxes.clip(boxes[rest], windows[i]) if cut[i] else boxes[rest]
            same = rest[numpy_boxes.paired_iou(mine, theirs) > threshold]
            left[same] = False
            scores[i] = scores[[i, *same]].max()
            further = (windows[same, :2] < windows[i, :2]) | (windows[same, 2:] > windows[i, 2:])
            parts = [i, *same[cut[same] & further.any(axis=1)]] if cut[i] else [i]
            grows = len(parts) > 1
            mine_seen_in |= set(seen_in[parts])
            for array in (boxes, windows):
                array[i, :2], array[i, 2:] = array[parts, :2].min(axis=0), array[parts, 2:].max(axis=0)
            cut[i] = cut_off(boxes[i], windows[i], image_size)
    order = np.array(kept, int)[np.argsort(-scores[kept], kind="stable")]
    return boxes[order], scores[order], classes[order]


def boxes_of_views(rng, count, classes, image_size=(500, 700), tile=200, largest=150, step=0):
    """Random boxes of random tiles, seen in both directions; many end at a tile's edge. On a grid if `step`."""
    got = views(image_size, STRETCH, tile, 0.2, flip=True)
    seen_in = rng.integers(0, len(got), count)
    edges = np.float32([(left, top, right, bottom) for top, left, bottom, right in (view.window for view in got)])
    windows = edges[seen_in]
    middle, half = rng.uniform(windows[:, :2], windows[:, 2:]), rng.uniform(2, largest / 2, (count, 2))
    boxes = np.concatenate([middle - half, middle + half], axis=1)
    if step:
        boxes = np.round(boxes / step) * step
    boxes = numpy_boxes.clip(boxes, windows).astype(np.float32)
    scores = (rng.integers(1, 100, count) / 100).astype(np.float32)  # with ties
    return boxes, scores, rng.integers(0, classes, count).astype(np.int32), windows, seen_in, image_size


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    classes=st.integers(1, 4),
    step=st.sampled_from([0, 20]),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.7]),
)
def test_all_at_once_is_one_by_one(seed, classes, step, threshold):
    rng = np.random.default_rng(seed)
    asked = boxes_of_views(rng, int(rng.integers(0, 600)), classes, step=step)
    before = [np.array(a) for a in asked]
    for got, expected in zip(merge_boxes(*asked, threshold), one_by_one(*asked, threshold), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    for now, then in zip(asked, before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_boxes_of_one_view_are_two_objects():
    crowd = np.float32([[0, 0, 100, 100], [0, 0, 100, 60]])  # an IoU of 0.6, which the head let pass
    whole = np.tile(np.float32([0, 0, 200, 200]), (4, 1))
    one = merge_boxes(crowd, np.float32([0.9, 0.8]), np.zeros(2, int), whole[:2], np.zeros(2, int), (200, 200))
    np.testing.assert_array_equal(one[0], crowd)
    # the mirrored view finds both, too: each once, as the view says that is surer
    for scores in ([0.9, 0.8, 0.7, 0.6], [0.7, 0.6, 0.9, 0.8]):
        seen_in = np.array([0, 0, 1, 1])
        both = merge_boxes(crowd[[0, 1, 0, 1]], np.float32(scores), np.zeros(4, int), whole, seen_in, (200, 200))
        np.testing.assert_array_equal(both[0], crowd)
        np.testing.assert_array_equal(both[1], np.float32([0.9, 0.8]))
    # two views that disagree about one object
    other = merge_boxes(crowd, np.float32([0.9, 0.8]), np.zeros(2, int), whole[:2], np.arange(2), (200, 200))
    np.testing.assert_array_equal(other[0], crowd[:1])


def test_nothing_at_all():
    none = np.zeros((0, 4), np.float32)
    got = merge_boxes(none, np.zeros(0, np.float32), np.zeros(0, int), none, np.zeros(0, int), (10, 10))
    assert [len(part) for part in got] == [0, 0, 0] and got[0].shape == (0, 4)
