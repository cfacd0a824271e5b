"""People from offset fields: those of PoseNet's authors' decoder, and drawn ones that are encoded before."""

from pathlib import Path

import numpy as np
import pytest
from keras import ops
from scipy.optimize import linear_sum_assignment

from visiontasks.ops import offset_fields
from visiontasks.ops.tree_decoding import decode_people, people_of_cells, walks

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/weights/posenet/reference.npz"
RADIUS = 32.0  # of the discs

# edges with their lengths, in heights of the person, and mean directions in degrees, downward 90
COCO = (
    [(0, 1, 0.03, -45), (1, 3, 0.04, 20), (0, 2, 0.03, -135), (2, 4, 0.04, 160)]
    + [(0, 5, 0.14, 50), (5, 7, 0.16, 80), (7, 9, 0.14, 80), (5, 11, 0.3, 92), (11, 13, 0.24, 90), (13, 15, 0.23, 90)]
    + [
        (0, 6, 0.14, 130),
        (6, 8, 0.16, 100),
        (8, 10, 0.14, 100),
        (6, 12, 0.3, 88),
        (12, 14, 0.24, 90),
        (14, 16, 0.23, 90),
    ]
)
NO_FACE = [(0, 1, 0.2, 60), (1, 2, 0.16, 80), (2, 3, 0.14, 80), (1, 4, 0.3, 92), (4, 5, 0.24, 90), (5, 6, 0.23, 90)] + [
    (0, 7, 0.2, 120),
    (7, 8, 0.16, 100),
    (8, 9, 0.14, 100),
    (7, 10, 0.3, 88),
    (10, 11, 0.24, 90),
    (11, 12, 0.23, 90),
]
FEW = [(0, 1, 0.3, 90), (1, 2, 0.3, 45), (1, 3, 0.3, 135)]


def array(x):
    return ops.convert_to_numpy(x)


def edges_of(skeleton):
    return np.array([edge[:2] for edge in skeleton])


def drawn(rng, skeleton, height, at):
    """A person (K, 3) in a random posture whose first keypoint is there; a tenth of the ends of limbs not labeled."""
    points = np.full((len(skeleton) + 1, 3), 2.0)
    points[0, :2], turn = at, rng.normal(0, 15)
    for source, target, length, direction in skeleton:
        angle = np.deg2rad(direction + turn + rng.normal(0, 25))
        points[target, :2] = points[source, :2] + height * length * np.array([np.cos(angle), np.sin(angle)])
    ends = np.bincount(edges_of(skeleton).ravel()) == 1
    points[ends & (rng.random(len(points)) < 0.1), 2] = 0
    return points


def crowd(rng, skeleton, people, size=400):
    """float32 (people, K, 3) anywhere in an image; keypoints outside of it are not labeled."""
    heights = rng.uniform(120, 250, people)
    points = np.stack([drawn(rng, skeleton, h, rng.uniform([30, 20], [size - 30, size - 100])) for h in heights])
    points[((points[..., :2] < 0) | (points[..., :2] >= size)).any(axis=-1), 2] = 0
    return points.astype("float32")


def decoded(points, skeleton, stride, size=400, origin=None, **changes):
    edges, map_size = edges_of(skeleton), (-(-size // stride),) * 2
    place = {"stride": stride, "origin": origin}
    heat, owners = offset_fields.discs(points, map_size, radius=RADIUS, **place)
    short = offset_fields.short_offsets(points, owners, **place)
    mid, _ = offset_fields.mid_offsets(points, owners, edges, **place)
    scores = offset_fields.hough_scores(heat, short, stride=stride, radius=RADIUS)
    arguments = {"count": 50, "seeds": 500, "threshold": 0.01, "radius": 10.0} | place | changes
    return {key: array(value) for key, value in decode_people(scores, short, mid, edges, **arguments).items()}


def recovered(points, keypoints, within):
    """(the labeled keypoints that lie that near to the same keypoint of one person each, all labeled ones)."""
    labeled = points[..., 2] > 0
    distances = np.linalg.norm(points[:, None, :, :2] - keypoints[None, ..., :2], axis=-1)
    hits = ((distances <= within) & labeled[:, None]).sum(axis=-1)
    return hits[linear_sum_assignment(-hits)].sum(), labeled.sum()


@pytest.fixture(scope="module")
def reference():
    if not REFERENCE.is_file():
        pytest.skip("PoseNet's reference is not beside the project")
    with np.load(REFERENCE) as file:
        return dict(file)


def pairs(channels):
    """PoseNet's channels, all y and then all x, as x, y."""
    y, x = np.split(channels.astype("float32"), 2, axis=-1)
    return np.stack([x, y], axis=-1)


def test_posenet_gives_the_people_that_its_authors_decoder_finds(reference):
    names = [name.removesuffix(".jpg") for name in reference["pictures"]]

    def fields(name, form):
        return np.stack([form(reference[f"{image}/{name}"]) for image in names])

    people = decode_people(
        fields("heat_logit", lambda x: 1 / (1 + np.exp(-x.astype("float32")))),
        fields("offset", pairs),
        np.stack([fields(f"displacement_{way}", pairs) for way in ("fwd", "bwd")], axis=-2),
        reference["edges"],
        stride=16,
        count=50,
        seeds=256,
        threshold=0.5,
        radius=20,
        refinements=1,
        centered=False,
        origin=0,
    )
    people = {key: array(value) for key, value in people.items()}
    for i, (name, count) in enumerate(zip(names, (3, 33, 15, 2), strict=True)):
        np.testing.assert_array_equal(people["valid"][i], np.arange(50) < count)
        points = people["keypoints"][i, :count]
        np.testing.assert_allclose(points[..., :2], reference[f"{name}/pose_keypoint_yx"][..., ::-1], atol=1e-2)
        np.testing.assert_allclose(points[..., 2], reference[f"{name}/pose_keypoint_scores"], atol=1e-4)
        np.testing.assert_allclose(people["scores"][i, :count], reference[f"{name}/pose_scores"], atol=1e-4)
        assert not people["keypoints"][i, count:].any() and not people["scores"][i, count:].any()


@pytest.mark.parametrize("origin", [None, 0.0])
@pytest.mark.parametrize("stride", [4, 8, 16])
@pytest.mark.parametrize("skeleton", [COCO, NO_FACE, FEW])
def test_isolated_people_come_back(skeleton, stride, origin):
    """Two in an image, far from each other: all that is labeled, and nobody else."""
    rng = np.random.default_rng(0)
    images = [[drawn(rng, skeleton, 130, at) for at in ((100, 60), (300, 230))] for _ in range(3)]
    points = np.float32(images)
    people = decoded(points, skeleton, stride, origin=origin)
    np.testing.assert_array_equal(people["valid"].sum(axis=1), 2)
    for image, keypoints in zip(points, people["keypoints"], strict=True):
        hits, labeled = recovered(image, keypoints[:2], within=0.5)
        assert hits == labeled > 0


@pytest.mark.parametrize(("stride", "count"), [(4, 12), (8, 12), (16, 6)])
@pytest.mark.parametrize("skeleton", [COCO, NO_FACE])
def test_crowds_come_back(skeleton, stride, count):
    """What is lost lies nearly where the same keypoint of another person does: a cell has one owner."""
    rng = np.random.default_rng(1)
    points = np.stack([crowd(rng, skeleton, count) for _ in range(8)])
    people = decoded(points, skeleton, stride)
    found = [
        recovered(image, keypoints[valid], within=0.5)
        for image, keypoints, valid in zip(points, people["keypoints"], people["valid"], strict=True)
    ]
    hits, labeled = np.sum(found, axis=0)
    assert labeled > 8 * count * len(skeleton) / 2
    assert hits / labeled >= 0.98


def test_short_offsets_correct_what_the_steps_miss():
    rng = np.random.default_rng(2)
    points = np.float32([[drawn(rng, COCO, 300, (200, 60))]])
    points[..., 2] = 2
    edges = edges_of(COCO)
    heat, owners = offset_fields.discs(points, (50, 50), stride=8, radius=RADIUS)
    short = offset_fields.short_offsets(points, owners, stride=8)
    mid, known = (array(x) for x in offset_fields.mid_offsets(points, owners, edges, stride=8))
    mid = mid + rng.normal(0, 6, mid.shape).astype("float32")
    arguments = dict(stride=8, count=1, seeds=1, threshold=0.5, radius=10)
    errors = []
    for refinements in (0, 1, 2):
        people = decode_people(heat, short, mid, edges, refinements=refinements, **arguments)
        error = np.linalg.norm(array(people["keypoints"])[0, 0, :, :2] - points[0, 0, :, :2], axis=-1)
        errors.append(error.max())
    assert errors[0] > 6 and errors[1] < 0.1 and errors[2] < 0.1


def fields_of(*places, shape=(12, 12)):
    """Fields of stride 1 for people of two keypoints with an edge: their cells (x, y) and their scores."""
    heat = np.zeros((1, *shape, 2), "float32")
    mid = np.zeros((1, *shape, 1, 2, 2), "float32")
    for first, second, scores in places:
        for k, ((x, y), other) in enumerate(((first, second), (second, first))):
            heat[0, y, x, k] = scores[k]
            mid[0, y, x, 0, k] = np.subtract(other, (x, y))
    return heat, np.zeros((1, *shape, 2, 2), "float32"), mid, [(0, 1)]


def test_scores_leave_out_what_an_earlier_person_has():
    """The second person shares its second keypoint with the first; the third is one of the first's."""
    fields = fields_of(((1, 1), (1, 8), (0.9, 0.8)), ((9, 1), (1, 8), (0.7, 0.8)), ((3, 1), (3, 8), (0.6, 0.5)))
    people = decode_people(*fields, stride=1, count=4, seeds=20, threshold=0.1, radius=2.5)
    np.testing.assert_array_equal(array(people["valid"]), [[True, True, False, False]])
    # the cell that both share leads back to the person that was written last
    np.testing.assert_allclose(array(people["scores"]), [[(0.9 + 0.8) / 2, 0.7 / 2, 0, 0]], atol=1e-6)
    places = array(people["keypoints"])[0, :2, :, :2]
    np.testing.assert_allclose(places, [[[1.5, 1.5], [1.5, 8.5]], [[9.5, 1.5], [1.5, 8.5]]], atol=1e-6)


def test_a_person_who_is_dropped_drops_nobody():
    """Each lies near the one before alone: the second is dropped, so the third stays."""
    fields = fields_of(((1, 1), (1, 9), (0.9, 0.0)), ((3, 1), (3, 9), (0.8, 0.0)), ((5, 1), (5, 9), (0.7, 0.0)))
    people = decode_people(*fields, stride=1, count=3, seeds=20, threshold=0.1, radius=2.5)
    np.testing.assert_allclose(array(people["scores"]), [[0.45, 0.35, 0]], atol=1e-6)


@pytest.mark.parametrize("count", [3, 200])
def test_nobody(count):
    heat, short, mid, edges = fields_of()
    people = decode_people(heat, short, mid, edges, stride=4, count=count, seeds=20, threshold=0.1, radius=10)
    assert people["keypoints"].shape == (1, count, 2, 3) and people["scores"].shape == (1, count)
    assert not any(array(value).any() for value in people.values())


def test_more_seeds_and_people_than_cells():
    fields = fields_of(((1, 1), (2, 2), (0.9, 0.8)), shape=(3, 3))
    people = decode_people(*fields, stride=1, count=40, seeds=99, threshold=0.1, radius=1)
    np.testing.assert_array_equal(array(people["valid"]), [[True] + [False] * 39])


@pytest.mark.other_values
def test_a_single_keypoint_needs_no_edge():
    heat = np.zeros((1, 5, 5, 1), "float32")
    heat[0, 1, 3] = 0.9
    fields = heat, np.ones((1, 5, 5, 1, 2), "float32"), np.zeros((1, 5, 5, 0, 2, 2), "float32"), []
    people = decode_people(*fields, stride=4, count=2, seeds=5, threshold=0.5, radius=1)
    np.testing.assert_allclose(array(people["keypoints"])[0, 0, 0], [15, 7, 0.9], atol=1e-6)


def test_walks_reach_every_keypoint_from_every_other():
    edges = edges_of(COCO)
    steps = walks(edges, 17)
    assert steps.shape == (17, 16, 4)
    for root, route in enumerate(steps):
        reached = {root}
        for source, target, edge, direction in route:
            assert source in reached and target not in reached
            assert (source, target) == (tuple(edges[edge]) if direction == 0 else tuple(edges[edge][::-1]))
            reached.add(target)
        assert reached == set(range(17))


def test_edges_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"edges: expected edges that connect all 4 keypoints.*from 0 to \[2, 3\]"):
        walks([(0, 1), (2, 3)], 4)
    with pytest.raises(ValueError, match=r"edges: expected keypoints 0\.\.2, got 1\.\.3"):
        walks([(1, 3)], 3)


def slow_people_of_cells(segmentation, long, keypoints, valid, stride):
    owners = np.full(segmentation.shape, -1)
    for b, row, column in np.ndindex(segmentation.shape):
        distances = {}
        for n in np.flatnonzero(valid[b]):
            xy, p = keypoints[b, n, :, :2], keypoints[b, n, :, 2]
            scale = np.sqrt(np.prod(np.maximum(np.ptp(xy, axis=0), 1)))
            place = (np.array([column, row]) + 0.5) * stride
            if p.sum() > 0:
                distance = np.linalg.norm(place + long[b, row, column] - xy, axis=-1)
                distances[n] = (p * distance).sum() / (scale * p.sum())
        if segmentation[b, row, column] >= 0.5 and distances and min(distances.values()) <= 0.25:
            owners[b, row, column] = min(distances, key=distances.get)
    return owners


def test_cells_go_to_the_person_whom_their_offsets_lead_to():
    rng = np.random.default_rng(6)
    people, size = 4, (12, 14)
    keypoints = rng.uniform(0, 60, (2, people, 5, 3)).astype("float32")
    keypoints[..., 2] = rng.random((2, people, 5))
    keypoints[0, 1, :, 2] = 0  # no score at all
    valid = np.array([[True, True, True, False], [True, True, True, True]])
    truth = rng.integers(0, people, (2, *size))
    places = offset_fields.centers(size, 4)[:, :, None]
    long = keypoints[np.arange(2)[:, None, None], truth][..., :2] - places
    long = (long + rng.normal(0, 8, long.shape)).astype("float32")
    segmentation = rng.random((2, *size)).astype("float32")
    got = array(people_of_cells(segmentation, long, keypoints, valid, stride=4))
    np.testing.assert_array_equal(got, slow_people_of_cells(segmentation, long, keypoints, valid, 4))
    assert len(np.unique(got)) == people + 1
    none = array(people_of_cells(segmentation, long, keypoints, np.zeros_like(valid), stride=4))
    assert (none == -1).all()


@pytest.mark.other_values
def test_encoded_segments_come_back():
    points = np.float32([[[[20, 20, 2], [40, 60, 2]], [[70, 20, 2], [60, 80, 1]]]])
    segments = np.full((1, 25, 25), -1, "int32")
    segments[0, 3:18, 3:12], segments[0, 3:20, 14:22] = 0, 1
    long, known = offset_fields.long_offsets(points, segments, stride=4)
    keypoints = np.concatenate([points[..., :2], np.ones((1, 2, 2, 1), "float32")], axis=-1)
    segmentation = (segments >= 0).astype("float32")
    got = array(people_of_cells(segmentation, long, keypoints, np.ones((1, 2), bool), stride=4))
    np.testing.assert_array_equal(got, segments)
    assert array(known).all(axis=-1).sum() == (segments >= 0).sum()
