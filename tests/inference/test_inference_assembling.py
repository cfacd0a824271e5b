"""People assembled of peaks and limb scores: on truth, beside a slow rule, and beside OpenPose's own on real fields."""

from pathlib import Path

import numpy as np
import people
import pytest
from keras import ops
from scipy.optimize import linear_sum_assignment

from visiontasks.data.scenes import POINTS, draw_scene
from visiontasks.inference.assembling import assemble, people_of
from visiontasks.ops.part_affinity import limb_scores, part_affinity_fields
from visiontasks.ops.peaks import local_maxima
from visiontasks.skeleton import Skeleton

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/weights/openpose_mobilenet_v2_small/reference.npz"
STAR = [(0, part) for part in range(1, 5)]  # of the scenes' objects: from the center to each tip
RULES = {"extra_limbs": people.EXTRA, "least_parts": 4, "least_score": 0.3}  # of the reference


def decoded(maps, fields, limbs, stride, threshold=0.1, share=0.8, **rules):
    """The people of one image's heat maps (h, w, K) and fields (h, w, L, 2)."""
    peaks = local_maxima(maps[None], 32, threshold, stride)
    scores = limb_scores(fields[None], peaks, limbs, stride, share=share)
    return assemble(ops.convert_to_numpy(peaks)[0], ops.convert_to_numpy(scores)[0], limbs, **rules)


def from_truth(truth, limbs, size, stride, sigma=7.0, **rules):
    cells = (size[0] // stride, size[1] // stride)
    fields = ops.convert_to_numpy(part_affinity_fields(truth[None], limbs, cells, stride, float(stride)))[0]
    return decoded(people.heat_maps(truth, size, stride, sigma), fields, limbs, stride, **rules)


def in_limbs(truth, limbs):
    """bool (N, K): the labeled points that some labeled limb leads to; nothing joins the others."""
    labeled = truth[..., 2] > 0
    joined = np.zeros_like(labeled)
    for start, end in limbs:
        both = labeled[:, start] & labeled[:, end]
        joined[:, start] |= both
        joined[:, end] |= both
    return joined


def recovered(found, truth, wanted, within):
    """bool (N, K): the points of each person that one found person, and no two persons the same, has within pixels."""
    distances = np.linalg.norm(found[None, ..., :2] - truth[:, None, :, :2], axis=-1)
    hits = (distances < within) & (found[None, ..., 2] > 0) & wanted[:, None]
    rows, columns = linear_sum_assignment(-hits.sum(axis=-1))
    result = np.zeros_like(wanted)
    result[rows] = hits[rows, columns]
    return result


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("seed", range(3))
def test_people_apart_from_each_other_come_back_within_half_a_pixel(stride, seed):
    size = (384, 480)
    truth = people.isolated(np.random.default_rng(seed), size, 2, 3)
    truth[:, [1, 2, 5, 8, 11], 2] = 2  # the trunk is whole: else a person is cut in two
    found, scores = from_truth(truth, people.LIMBS, size, stride, extra_limbs=people.EXTRA)
    wanted = in_limbs(truth, people.LIMBS)
    assert found.shape == (6, 18, 3) and (np.diff(scores) <= 0).all() and scores.min() > 1
    got = recovered(found, truth, wanted, 0.5)
    np.testing.assert_array_equal(got, wanted)
    assert np.count_nonzero(found[..., 2]) == wanted.sum()


@pytest.mark.parametrize("stride", [4, 8])
def test_a_crowd_comes_back(stride):
    """People over each other, whose points of a kind are two cells of 8 pixels apart or more."""
    size, points, back = (368, 496), 0, 0
    for seed in range(6):
        truth = people.crowd(np.random.default_rng(seed), size, 12, 16)
        found, _ = from_truth(truth, people.LIMBS, size, stride, extra_limbs=people.EXTRA)
        wanted = in_limbs(truth, people.LIMBS)
        points, back = points + wanted.sum(), back + recovered(found, truth, wanted, 8).sum()
    assert points == 6 * 12 * 18 and back >= 0.98 * points, back / points


@pytest.mark.parametrize("stride", [4, 8])
def test_objects_of_drawn_scenes_come_back(stride):
    """Any skeleton: a center and four tips."""
    size, points, back = (256, 256), 0, 0
    for seed in range(8):
        truth = draw_scene(np.random.default_rng(seed), size, (2, 6)).keypoints
        found, _ = from_truth(truth, STAR, size, stride, least_parts=2)
        wanted = in_limbs(truth, STAR)
        assert found.shape[1] == len(POINTS)
        points, back = points + wanted.sum(), back + recovered(found, truth, wanted, 1).sum()
    assert points > 100 and back >= 0.98 * points, back / points


def slow(peaks, scores, limbs, extra_limbs=(), least_parts=3, least_score=0.2, only_ends=False):
    """The rule in sets of (part, number). `only_ends`: a limb never adds its first point to its second, see below."""
    persons = []
    for limb, (first, second) in enumerate(limbs):
        pairs = [(scores[limb, a, b], a, b) for a, b in np.ndindex(scores.shape[1:]) if scores[limb, a, b] > 0]
        used = set()
        for score, a, b in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])):
            if {(0, a), (1, b)} & used or peaks[first, a, 2] <= 0 or peaks[second, b, 2] <= 0:
                continue
            used |= {(0, a), (1, b)}
            one, two = (
                next((person for person in persons if joint in person[0]), None) for joint in ((first, a), (second, b))
            )
            weights = [peaks[first, a, 2], peaks[second, b, 2]]
            if one is None and two is None:
                if limb not in extra_limbs:
                    persons.append([{(first, a), (second, b)}, sum(weights) + score])
            elif two is None and second not in {part for part, _ in one[0]}:
                one[0].add((second, b))
                one[1] += weights[1] + score
            elif one is None and first not in {part for part, _ in two[0]} and not only_ends:
                two[0].add((first, a))
                two[1] += weights[0] + score
            elif None not in (one, two) and not {part for part, _ in one[0]} & {part for part, _ in two[0]}:
                one[0] |= two[0]
                one[1] += two[1] + score
                persons = [person for person in persons if person is not two]
    persons = [(person, total / len(person)) for person, total in persons if len(person) >= least_parts]
    persons = sorted((one for one in persons if one[1] >= least_score), key=lambda one: -one[1])
    keypoints = np.zeros((len(persons), len(peaks), 3), np.float32)
    for row, (person, _) in zip(keypoints, persons, strict=True):
        for part, number in person:
            row[part] = peaks[part, number]
    return keypoints, np.array([score for _, score in persons], np.float32)


def drawn(rng, parts, limbs, count, share):
    """Random peaks, and scores of a share of all pairs."""
    peaks = rng.uniform(0.1, 1, (parts, count, 3)).astype(np.float32)
    peaks[..., 2] *= rng.random((parts, count)) < 0.8
    scores = rng.uniform(0, 1, (limbs, count, count)).astype(np.float32)
    return peaks, np.where(rng.random(scores.shape) < share, scores, -np.inf).astype(np.float32)


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_people_are_those_of_the_slow_rule(seed, share):
    """Conflicts everywhere: far more than in any image."""
    rng = np.random.default_rng(seed)
    tree = [(int(rng.integers(part)), part) for part in range(1, 13)]
    for limbs, parts, rules in ((people.LIMBS, 18, RULES), (people.LIMBS, 18, {}), (tree, 13, {"least_parts": 2})):
        peaks, scores = drawn(rng, parts, len(limbs), 7, share)
        found, expected = assemble(peaks, scores, limbs, **rules), slow(peaks, scores, limbs, **rules)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)
        assert len(found[0]) and found[0].dtype == found[1].dtype == np.float32


def scored(limbs, count, *pairs):
    scores = np.full((len(limbs), count, count), -np.inf, np.float32)
    for limb, a, b, score in pairs:
        scores[limb, a, b] = score
    return scores


def test_a_tree_of_12_limbs_over_13_points():
    limbs = [(part // 3, part) for part in range(1, 13)]
    peaks = np.random.default_rng(0).uniform(0.5, 1, (13, 4, 3))
    own = [(limb, number, number, 0.9) for limb in range(12) for number in range(4)]
    found, scores = assemble(peaks, scored(limbs, 4, *own), limbs)
    order = np.argsort(-peaks[..., 2].sum(axis=0))
    np.testing.assert_array_equal(found, np.swapaxes(peaks, 0, 1)[order].astype(np.float32))
    np.testing.assert_allclose(scores, (peaks[..., 2].sum(axis=0)[order] + 12 * 0.9) / 13, rtol=1e-6)


def test_two_parts_of_a_person_merge_only_if_they_own_no_point_in_common():
    limbs = [(0, 1), (2, 3), (1, 2), (1, 3)]
    peaks = np.ones((4, 2, 3), np.float32)
    halves = (0, 0, 0, 0.9), (1, 0, 0, 0.9)
    found, scores = assemble(peaks, scored(limbs, 2, *halves, (2, 0, 0, 0.5)), limbs)
    assert np.count_nonzero(found[..., 2]) == 4 and len(found) == 1
    np.testing.assert_allclose(scores, (4 + 0.9 + 0.9 + 0.5) / 4)
    # both own a point 3: the one limb that joins them would give a person two
    found, scores = assemble(peaks, scored(limbs, 2, *halves, (3, 0, 1, 0.8), (2, 0, 0, 0.5)), limbs[:2] + limbs[:1:-1])
    assert (found[..., 2] > 0).sum(axis=1).tolist() == [4]
    both = scored([(0, 1), (1, 3), (2, 3), (1, 2)], 2, (0, 0, 0, 0.9), (1, 0, 1, 0.8), (2, 0, 0, 0.9), (3, 0, 0, 0.5))
    found, scores = assemble(peaks, both, [(0, 1), (1, 3), (2, 3), (1, 2)], least_parts=2)
    assert (found[..., 2] > 0).tolist() == [[True, True, False, True], [False, False, True, True]]
    np.testing.assert_allclose(scores, [(3 + 1.7) / 3, (2 + 0.9) / 2])


def test_extra_limbs_add_and_join_but_never_start_a_person():
    limbs, peaks = [(0, 1), (2, 3), (1, 2)], np.ones((4, 2, 3), np.float32)
    scores = scored(limbs, 2, (2, 0, 0, 0.9), (0, 1, 1, 0.9), (2, 1, 1, 0.9))
    found, _ = assemble(peaks, scores, limbs, extra_limbs=[2], least_parts=2)
    assert (found[..., 2] > 0).tolist() == [[True, True, True, False]]
    assert len(assemble(peaks, scores, limbs, least_parts=2)[0]) == 2
    joined, _ = assemble(peaks, scored(limbs, 2, (0, 0, 0, 1), (1, 0, 0, 1), (2, 0, 0, 1)), limbs, extra_limbs=[2])
    assert (joined[..., 2] > 0).tolist() == [[True] * 4]


def test_people_of_few_points_or_low_scores_are_left_out():
    limbs, peaks = [(0, 1), (1, 2)], np.full((3, 3, 3), 0.1, np.float32)
    scores = scored(limbs, 3, (0, 0, 0, 0.9), (1, 0, 0, 0.9), (0, 1, 1, 0.1), (1, 1, 1, 0.1), (0, 2, 2, 0.9))
    assert len(assemble(peaks, scores, limbs)[0]) == 1
    assert len(assemble(peaks, scores, limbs, least_score=0.1)[0]) == 2
    assert len(assemble(peaks, scores, limbs, least_score=0.1, least_parts=2)[0]) == 3
    assert len(assemble(peaks, scores, limbs, least_score=0.0, least_parts=1)[0]) == 4  # a single peak


@pytest.mark.parametrize("count", [0, 5])
def test_no_peaks_are_no_people(count):
    shape = (19, count, count)
    for scores in (np.full(shape, -np.inf), np.ones(shape), np.full(shape, np.nan)):
        found, values = assemble(np.zeros((18, count, 3)), scores, people.LIMBS, extra_limbs=people.EXTRA)
        assert found.shape == (0, 18, 3) and values.shape == (0,) and found.dtype == values.dtype == np.float32


def test_scores_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match=r"scores: expected \(19, 5, 5\), for 19 limbs; got \(18, 5, 5\)"):
        assemble(np.zeros((18, 5, 3)), np.zeros((18, 5, 5)), people.LIMBS)


@pytest.fixture(scope="module")
def reference():
    if not REFERENCE.exists():
        pytest.skip("needs ../shared/weights/openpose_mobilenet_v2_small")
    with np.load(REFERENCE) as arrays:
        assert arrays["limbs"].tolist() == [list(limb) for limb in people.LIMBS]
        return dict(arrays)


def names(reference):
    return [name.removesuffix(".jpg") for name in reference["pictures"]]


def stored_peaks(reference, name):
    """float32 (18, P, 3): x and y in cells of the maps enlarged four times, and the heat there."""
    rows = reference[f"{name}/peaks"]
    of_part = [rows[rows[:, 0] == part, 1:4] for part in range(18)]
    peaks = np.zeros((18, max(map(len, of_part)), 3), np.float32)
    for row, found in zip(peaks, of_part, strict=True):
        row[: len(found)] = found
    return peaks


def fields_of(reference, name):
    """float32 (48, 48, 19, 2)."""
    return reference[f"{name}/paf"].astype(np.float32)[..., reference["limb_channels"]]


def reference_scores(fields, peaks):
    """The reference's rule: ten points without the last end, the cell of each, more than six of them above 0.05."""
    scores = np.full((len(people.LIMBS), *[peaks.shape[1]] * 2), -np.inf, np.float32)
    for limb, a, b in np.ndindex(scores.shape):
        start, end = (peaks[part, number] for part, number in zip(people.LIMBS[limb], (a, b), strict=True))
        step = (end - start)[:2]
        length = np.hypot(*step)
        if min(start[2], end[2]) <= 0 or length < 1e-12:
            continue
        cells = (start[:2] + np.arange(10)[:, None] * step / 10 + 0.5).astype(int) // 4
        values = fields[cells[:, 1], cells[:, 0], limb] @ (step / length)
        if (values > 0.05).sum() > 6:
            scores[limb, a, b] = values.mean() + min(0.5 * 4 * len(fields) / length - 1, 0)
    return scores


# the reference gives a person the second point of a limb and never the first one. Here one person has an ear, and the
# right shoulder that the last limb but one leads from; the reference leaves this shoulder out
FIRST_POINT_LEFT_OUT = {("000000350679", 3): [2]}


def test_people_are_those_of_the_reference(reference):
    """From its own peaks, by its own rule of scores: every point of every person, but for that one shoulder.

    It also takes the peak with the number 0 for absent when it merges; none of these people differs because of that.
    """
    differing = {}
    for name in names(reference):
        peaks = stored_peaks(reference, name)
        scores = reference_scores(fields_of(reference, name), peaks)
        expected, values = np.nan_to_num(reference[f"{name}/people"]), reference[f"{name}/people_scores"]
        order = np.argsort(-values)
        found, its_scores = slow(peaks, scores, people.LIMBS, **RULES, only_ends=True)
        np.testing.assert_array_equal(found, expected[order])
        np.testing.assert_allclose(its_scores, values[order], rtol=1e-5)
        found, its_scores = assemble(peaks, scores, people.LIMBS, **RULES)
        assert len(found) == len(expected)
        for number, one in enumerate(expected):
            row = np.argmax((found == one).all(axis=-1).sum(axis=-1))
            different = np.flatnonzero((found[row] != one).any(axis=-1))
            if len(different):
                differing[name, number] = different.tolist()
                assert not one[different].any()
            else:
                np.testing.assert_allclose(its_scores[row], values[number], rtol=1e-5)
    assert differing == FIRST_POINT_LEFT_OUT


# beside the shoulder: wrist, knee, hips, whose heat is above our threshold, and smoothed below that of the reference
ADDED = {
    ("000000217285", 1): [12],
    ("000000350679", 0): [11],
    ("000000350679", 1): [6],
    ("000000350679", 2): [4],
    **FIRST_POINT_LEFT_OUT,
}


def test_people_of_real_fields_are_the_references_within_a_cell(reference):
    """Our maxima and scores on the network's fields, without the reference's enlarged and smoothed maps.

    A threshold of 0.075 takes the place of 0.05 for smoothed heat, which is lower. No threshold is the same for all
    points: at 0.1 four points of the reference are missing; at 0.075 none is, and four are added.
    """
    distances, left_out, added = [], {}, {}
    for name in names(reference):
        heat = reference[f"{name}/heat"][..., :18].astype(np.float32)
        fields = fields_of(reference, name)
        found, _ = decoded(heat, fields, people.LIMBS, 8, threshold=0.075, share=0.6, **RULES)
        expected = reference[f"{name}/people"].copy()
        expected[..., :2] = (expected[..., :2] + 0.5) * 2  # pixels: the center of a cell of 192 x 192
        assert len(found) == len(expected)
        for number, one in enumerate(expected):
            has = ~np.isnan(one[:, 0])
            away = np.linalg.norm(found[..., :2] - np.nan_to_num(one[:, :2]), axis=-1)
            both = (found[..., 2] > 0) & has
            row = np.argmax((both & (away < 8)).sum(axis=-1))
            distances += away[row][both[row]].tolist()
            for what, difference in ((left_out, has & ~both[row]), (added, (found[row, :, 2] > 0) & ~has)):
                if difference.any():
                    what[name, number] = np.flatnonzero(difference).tolist()
    # pixels of the input; a cell has 8
    assert len(distances) == 96 and max(distances) < 5 and np.mean(distances) < 1.25
    assert not left_out and added == ADDED


def test_people_of_scores_by_all_points_and_drops_the_neck():
    skeleton = Skeleton(["nose", "left_shoulder", "right_shoulder", "left_hip", "right_hip"], [[1, 2], [1, 3], [2, 4]])
    with_neck = skeleton.with_neck()
    limbs, _ = with_neck.assembly()
    peaks = np.zeros((6, 2, 3), np.float32)
    peaks[:, 0] = [[20, 10, 1.5], [30, 20, 1], [10, 20, 1], [30, 40, 0], [10, 40, 0.5], [20, 20, 1]]
    scores = np.zeros((len(limbs), 2, 2), np.float32)
    scores[:, 0, 0] = 1
    found = people_of(peaks, scores, skeleton)
    np.testing.assert_allclose(found["boxes"], [[9.5, 9.5, 30.5, 40.5]])
    np.testing.assert_allclose(found["scores"], [(1 + 1 + 1 + 0 + 0.5) / 5])
    assert found["keypoints"].shape == (1, 5, 3) and not found["keypoints"][0, 3].any()
    assert found["valid"].all() and found["classes"].tolist() == [0]
