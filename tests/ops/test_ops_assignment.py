"""Assignment of anchors against slow loops, box by box."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from visiontasks.ops import assignment, boxes
from visiontasks.ops.matching import BACKGROUND, COVERED, IGNORED

SIZE = 64


def array(tensor):
    return ops.convert_to_numpy(tensor)


def drawn(rng, count):
    """Boxes of 4 to 40 pixels with corners inside an image."""
    corners = rng.uniform(0, SIZE - 4, (count, 2))
    return np.float32(np.concatenate([corners, np.minimum(corners + rng.uniform(4, 40, (count, 2)), SIZE)], -1))


def grid_of(step):
    """Anchors as large as four cells, around the centres of cells."""
    y, x = np.meshgrid(np.arange(step / 2, SIZE, step), np.arange(step / 2, SIZE, step), indexing="ij")
    centres = np.stack([x, y], -1).reshape(-1, 2)
    return np.float32(np.concatenate([centres - 2 * step, centres + 2 * step], -1))


def slow_aligned(scores, overlaps, inside, valid, count, alpha, beta):
    wanted = {}
    truths, anchors = scores.shape
    t = scores.astype("float64") ** alpha * overlaps.astype("float64") ** beta
    for g in np.flatnonzero(valid):
        candidates = [a for a in range(anchors) if inside[g, a] and t[g, a] > 0]
        for a in sorted(candidates, key=lambda a: -t[g, a])[:count]:
            wanted.setdefault(a, []).append(g)
    matches, targets = np.full(anchors, BACKGROUND), np.zeros(anchors)
    for a, those in wanted.items():
        matches[a] = max(those, key=lambda g: overlaps[g, a])
    owned = {g: [a for a in range(anchors) if matches[a] == g] for g in set(matches) - {BACKGROUND}}
    kept = {a for g, those in owned.items() for a in those if t[g, a] == t[g, those].max()}
    back = {}
    for g in {g for those in wanted.values() for g in those} - owned.keys():
        if spared := [a for a in wanted if g in wanted[a] and a not in kept]:
            back.setdefault(max(spared, key=lambda a: t[g, a]), []).append(g)
    for a, those in back.items():
        matches[a] = max(those, key=lambda g: overlaps[g, a])
    for g in range(truths):
        mine = np.flatnonzero(matches == g)
        if len(mine):
            targets[mine] = t[g, mine] / t[g, mine].max() * overlaps[g, mine].max()
    return matches, targets


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([(1.0, 6.0), (0.5, 6.0), (1.0, 1.0)]), st.integers(1, 20))
@pytest.mark.other_values
def test_task_aligned(seed, powers, count):
    rng = np.random.default_rng(seed)
    truth, valid = drawn(rng, 5), rng.random(5) < 0.7
    centres = rng.uniform(0, SIZE, (40, 2)).astype("float32")
    found = np.concatenate([centres - rng.uniform(1, 20, (40, 2)), centres + rng.uniform(1, 20, (40, 2))], -1)
    scores = rng.uniform(0.001, 1, (5, 40)).astype("float32")
    overlaps, inside = array(boxes.iou(truth, found)), array(boxes.contain(truth, centres))
    matches, targets = assignment.task_aligned(scores, overlaps, inside, valid, count, *powers)
    expected, wanted = slow_aligned(scores, overlaps, inside, valid, count, *powers)
    np.testing.assert_array_equal(array(matches), expected)
    np.testing.assert_allclose(array(targets), wanted, rtol=1e-4, atol=1e-6)


def test_task_aligned_by_hand():
    """Two ground-truth boxes, four anchors, two each: the middle ones are wanted twice, the last one is outside."""
    scores = np.full((2, 4), 0.25, "float32")
    overlaps = np.float32([[0.8, 0.6, 0.4, 0.9], [0.1, 0.5, 0.7, 0.9]])
    inside = np.array([[True, True, True, False]] * 2)
    matches, targets = assignment.task_aligned(scores, overlaps, inside, np.array([True, True]), 2, 0.5, 1.0)
    np.testing.assert_array_equal(array(matches), [0, 0, 1, BACKGROUND])
    # alignments 0.4, 0.3 and 0.35: the largest of each box becomes its largest overlap
    np.testing.assert_allclose(array(targets), [0.8, 0.6, 0.7, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("overlaps", "expected"),
    [
        # a small box whose two anchors a large one overlaps more: that one has two others
        ([[0.8, 0.7, 0.6, 0.5], [0.0, 0.1, 0.2, 0.0]], [0, 0, 1, 0]),
        # one common anchor: it stays with whom it overlaps most, who has no other
        ([[0.8, 0.0, 0.0, 0.0], [0.3, 0.0, 0.0, 0.0]], [0, -1, -1, -1]),
        # nor is the best of several taken away
        ([[0.8, 0.7, 0.0, 0.0], [0.3, 0.0, 0.0, 0.0]], [0, 0, -1, -1]),
        # both anchors of the second box are all that the other two have
        ([[0.7, 0.0, 0.0, 0.0], [0.6, 0.5, 0.0, 0.0], [0.0, 0.9, 0.0, 0.0]], [0, 2, -1, -1]),
    ],
)
def test_what_loses_all_its_anchors_takes_back_one_that_can_be_spared(overlaps, expected):
    overlaps = np.float32(overlaps)
    scores, inside = np.full(overlaps.shape, 0.25, "float32"), overlaps > 0
    valid = np.ones(len(overlaps), bool)
    matches, targets = assignment.task_aligned(scores, overlaps, inside, valid, 4, 0.5, 1.0)
    np.testing.assert_array_equal(array(matches), expected)
    for a, owner in enumerate(expected):
        np.testing.assert_allclose(array(targets)[a], overlaps[owner, a] if owner >= 0 else 0, rtol=1e-5)


@pytest.mark.other_values
def test_what_overlaps_nothing_learns_nothing_and_equal_ones_all_learn():
    scores, inside = np.full((1, 3), 0.5, "float32"), np.ones((1, 3), bool)
    valid = np.array([True])
    for value, found, target in ((0.0, BACKGROUND, 0.0), (1e-6, BACKGROUND, 0.0), (0.5, 0, 0.5)):
        matches, targets = assignment.task_aligned(scores, np.full((1, 3), value, "float32"), inside, valid, 1)
        assert (array(matches) == found).all() and np.allclose(array(targets), target), value


def slow_adaptive(truth, valid, anchors, levels, count):
    overlaps, centres = array(boxes.iou(truth, anchors)), (anchors[:, :2] + anchors[:, 2:]) / 2
    wanted = {}
    for g in np.flatnonzero(valid):
        middle, candidates, first = (truth[g, :2] + truth[g, 2:]) / 2, [], 0
        for size in levels:
            own = range(first, first + size)
            candidates += sorted(own, key=lambda a: np.hypot(*(centres[a] - middle)))[:count]
            first += size
        values = overlaps[g, candidates].astype("float64")
        threshold = values.mean() + values.std(ddof=1)
        for a in candidates:
            x, y = centres[a]
            if overlaps[g, a] >= threshold and truth[g, 0] < x < truth[g, 2] and truth[g, 1] < y < truth[g, 3]:
                wanted.setdefault(a, []).append(g)
    matches = np.full(len(anchors), BACKGROUND)
    for a, those in wanted.items():
        matches[a] = max(those, key=lambda g: overlaps[g, a])
    return matches


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([3, 9]))
@pytest.mark.other_values
def test_adaptive(seed, count):
    rng = np.random.default_rng(seed)
    truth, valid = drawn(rng, 6), rng.random(6) < 0.8
    ignored = ~valid & (rng.random(6) < 0.5)
    levels = [grid_of(4), grid_of(8), grid_of(32)]
    anchors, sizes = np.concatenate(levels), [len(level) for level in levels]
    got = array(assignment.adaptive(truth, valid, anchors, ignored, sizes, count))
    expected = slow_adaptive(truth, valid, anchors, sizes, count)
    shares = array(boxes.iof(truth, anchors))[ignored]
    expected[(expected == BACKGROUND) & (shares >= COVERED).any(axis=0)] = IGNORED
    np.testing.assert_array_equal(got, expected)


def test_adaptive_takes_the_level_that_fits():
    """A box of 16 pixels between four cells: the level whose anchors are as large, not those of 64 and 128."""
    levels = [grid_of(4), grid_of(16), grid_of(32)]
    anchors = np.concatenate(levels)
    got = array(
        assignment.adaptive(
            np.float32([[24, 24, 40, 40]]), np.array([True]), anchors, np.array([False]), [len(x) for x in levels], 4
        )
    )
    assert set(np.flatnonzero(got == 0)) == {7 * 16 + 7, 7 * 16 + 8, 8 * 16 + 7, 8 * 16 + 8}


def test_levels_of_other_anchors_are_an_error():
    with pytest.raises(ValueError, match="levels: expected 4 anchors in all, got 3"):
        assignment.adaptive(np.zeros((1, 4)), np.array([True]), np.zeros((4, 4)), np.array([False]), [1, 2])


def slow_by_cell(truth, valid, grid, size):
    found, areas = np.full(grid[0] * grid[1], BACKGROUND), np.zeros(grid[0] * grid[1])
    for g in np.flatnonzero(valid):
        x, y = (truth[g, :2] + truth[g, 2:]) / 2 + 1e-4 * size[::-1] / grid[::-1]
        cell = int(y / size[0] * grid[0]) * grid[1] + int(x / size[1] * grid[1])
        area = np.prod(truth[g, 2:] - truth[g, :2])
        if area > areas[cell]:
            found[cell], areas[cell] = g, area
    return found


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([(2, 3), (7, 7), (1, 1)]))
def test_by_cell(seed, grid):
    rng = np.random.default_rng(seed)
    truth, valid = np.stack([drawn(rng, 6), drawn(rng, 6)]), rng.random((2, 6)) < 0.8
    size = np.float32([[SIZE, SIZE + 16], [SIZE + 5, SIZE]])
    got = array(assignment.by_cell(truth, valid, grid, size))
    for row in range(2):
        np.testing.assert_array_equal(got[row], slow_by_cell(truth[row], valid[row], grid, size[row]))


def test_a_centre_on_a_border_belongs_to_the_cell_behind_however_it_is_rounded():
    """Compiled with a constant size, 20 / 64 * 16 may come out as 4.9999995."""
    for nudge in (-1e-6, 0.0, 1e-6):
        x = 20 * (1 + nudge)
        truth = np.float32([[[x - 11, 45, x + 11, 64], [54, 54, 74, 74]]])
        got = array(assignment.by_cell(truth, np.array([[True, True]]), (16, 16), np.float32([[64, 64]])))[0]
        assert got[13 * 16 + 5] == 0 and got[-1] == 1 and (got >= 0).sum() == 2


def test_a_batch_is_its_images():
    rng = np.random.default_rng(3)
    truth, valid = np.stack([drawn(rng, 4), drawn(rng, 4)]), np.array([[True, True, False, True], [False] * 4])
    anchors = grid_of(8)
    found = np.stack([drawn(rng, len(anchors)), drawn(rng, len(anchors))])
    overlaps, inside = (
        array(boxes.iou(truth, found)),
        array(boxes.contain(truth, (anchors[:, :2] + anchors[:, 2:]) / 2)),
    )
    scores = rng.random(overlaps.shape).astype("float32")
    both = [array(x) for x in assignment.task_aligned(scores, overlaps, inside, valid, 5)]
    ignored = np.array([[False, False, True, False], [True, False, False, True]])
    both.append(array(assignment.adaptive(truth, valid, anchors, ignored, [len(anchors)])))
    for row in range(2):
        one = [*assignment.task_aligned(scores[row], overlaps[row], inside[row], valid[row], 5)]
        one.append(assignment.adaptive(truth[row], valid[row], anchors, ignored[row], [len(anchors)]))
        for a, b in zip(both, one, strict=True):
            np.testing.assert_array_equal(a[row], array(b))
    assert (
        (both[0][1] == BACKGROUND).all()
        and not both[1][1].any()
        and (both[2][1] < 0).all()
        and (both[2][1] == IGNORED).any()
    )
    assert (both[0][0] >= 0).any() and (both[2][0] >= 0).any()
