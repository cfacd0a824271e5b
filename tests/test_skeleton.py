"""Skeletons: left and right by the names, sigmas, limbs as a tree."""

import json
import pickle

import people
import pytest

from visiontasks.skeleton import COCO_PERSON, DEFAULT_SIGMA, SIGMAS, Skeleton


def test_it_is_a_tuple_of_its_names():
    skeleton = Skeleton(["a", "b"])
    assert skeleton == ("a", "b") and len(skeleton) == 2 and list(skeleton) == ["a", "b"]
    assert Skeleton(3) == ("0", "1", "2") and Skeleton([1, 2]) == ("1", "2")
    assert Skeleton.of(skeleton) is skeleton and Skeleton.of(["a"]) == ("a",)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_eye", "right_eye"),
        ("leftear", "rightear"),
        ("eye_left", "eye_right"),
        ("Left Wrist", "Right Wrist"),
        ("LEFT_HIP", "RIGHT_HIP"),
        ("LAnkle", "RAnkle"),
        ("LBigToe", "RBigToe"),
        ("Ear L", "Ear R"),
        ("l_knee", "r_knee"),
        ("knee.l", "knee.r"),
        ("L-hip", "R-hip"),
        ("l1", "r1"),
        ("black_mouse_left_ear", "black_mouse_right_ear"),
    ],
)
def test_left_and_right_by_their_names(left, right):
    for names, sides in ((left, "tail", right), "left right"), ((right, "nose", left), "right left"):
        skeleton = Skeleton(names)
        assert skeleton.partners == (2, 1, 0) and skeleton.unpaired == ()
        assert (skeleton.sides[0], skeleton.sides[2]) == tuple(sides.split()) and skeleton.sides[1] is None


@pytest.mark.parametrize("name", ["tail", "nose", "Lamp", "skull", "LED", "roller", "ear", "RGB", "elbow", "Ruler"])
def test_names_that_have_no_side(name):
    assert Skeleton([name, "x"]).partners == (0, 1)


def test_a_side_without_its_counterpart_leaves_the_pairs_unknown():
    skeleton = Skeleton(["left_eye", "nose", "left_ear", "right_ear"])
    assert skeleton.partners is None and skeleton.unpaired == (("left_eye", "right_eye"),)
    assert skeleton.sides == (None,) * 4
    given = Skeleton(["left_eye", "nose", "left_ear", "right_ear"], pairs=[["left_ear", 3]])
    assert given.partners == (0, 1, 3, 2) and given.unpaired == ()


def test_numbers_say_nothing_about_pairs():
    assert Skeleton(5).partners is None and Skeleton(1).partners == (0,)
    skeleton = Skeleton(4, pairs=[(0, 2)])
    assert skeleton.partners == (2, 1, 0, 3) and skeleton.sides == ("left", None, "right", None)
    assert Skeleton(4, pairs=[]).partners == (0, 1, 2, 3)


def test_sigmas_by_name_given_or_assumed():
    skeleton = Skeleton(["Left Eye", "RAnkle", "tail", "head_top", "Neck"])
    assert skeleton.sigmas == (SIGMAS["eye"], SIGMAS["ankle"], DEFAULT_SIGMA, SIGMAS["headtop"], SIGMAS["neck"])
    assert skeleton.assumed == ("tail",)
    given = Skeleton(["left_eye", "right_eye", "tail"], sigmas={"tail": 0.2, "left_eye": 0.5})
    assert given.sigmas == (0.5, SIGMAS["eye"], 0.2) and given.assumed == ()
    assert Skeleton(["a", "b"], sigmas=[0.1, 0.2]).sigmas == (0.1, 0.2)


def test_coco_s_sigmas_are_pycocotools():
    from pycocotools.cocoeval import Params

    assert COCO_PERSON.sigmas == pytest.approx(Params("keypoints").kpt_oks_sigmas.tolist())
    assert COCO_PERSON.assumed == () and COCO_PERSON.partners[:5] == (0, 2, 1, 4, 3)
    assert len(COCO_PERSON) == 17 and len(COCO_PERSON.limbs) == 19


def test_a_tree_reaches_each_keypoint_once_parents_first():
    edges = COCO_PERSON.tree()
    assert len(edges) == 16
    limbs = {frozenset(limb) for limb in COCO_PERSON.limbs}
    reached = {0}
    for parent, child in edges:
        assert parent in reached and child not in reached and frozenset((parent, child)) in limbs
        reached.add(child)
    assert Skeleton(["a", "b", "c"], limbs=[("c", "b"), ("b", "a")]).tree() == ((0, 1), (1, 2))
    assert Skeleton(["a"]).tree() == ()
    with pytest.raises(ValueError, match=r"limbs that connect all keypoints, got none that lead from 'a' to \['c'\]"):
        Skeleton(["a", "b", "c"], limbs=[("a", "b")]).tree()


def test_keypoints_by_coco_s_names_in_any_spelling():
    skeleton = Skeleton(["RShoulder", "Left Shoulder", "r_hip", "hip.l", "HeadTop"])
    assert skeleton.index_of("left_shoulder", "right_hip") == (1, 2)
    assert skeleton.index_of("head_top") == (4,) and skeleton.index_of("left_hip", "nose") is None


@pytest.mark.parametrize(
    "skeleton",
    [
        COCO_PERSON,
        Skeleton(3),
        Skeleton(4, pairs=[(3, 1)], limbs=[(0, 1)], sigmas=[0.1, 0.2, 0.3, 0.4]),
        Skeleton(["left_eye", "nose"]),
        Skeleton(["a", "b"], pairs=[]),
        Skeleton(["tail", "nose"], limbs=[("tail", "nose")], sigmas={"nose": 0.5}),
    ],
    ids=str,
)
def test_a_copy_and_a_config_give_an_equal_skeleton(skeleton):
    config = json.loads(json.dumps(skeleton.get_config()))
    for other in (pickle.loads(pickle.dumps(skeleton)), Skeleton(**config)):
        assert type(other) is Skeleton and other == skeleton
        for name in ("limbs", "partners", "sigmas", "assumed"):
            assert getattr(other, name) == getattr(skeleton, name), name


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"names": []}, "names: expected one name or more"),
        ({"names": ["a", "a"]}, "none of them twice"),
        ({"names": 0}, "names: expected one name or more"),
        ({"limbs": [("a", "x")]}, r"limbs: expected pairs of the keypoints \['a', 'b', 'c'\].* got \('a', 'x'\)"),
        ({"limbs": [(0, 3)]}, "limbs: expected pairs"),
        ({"limbs": [(0, -1)]}, "limbs: expected pairs"),
        ({"limbs": [(0, True)]}, "limbs: expected pairs"),
        ({"limbs": [(0, 1, 2)]}, "limbs: expected pairs"),
        ({"limbs": [("a", 0)]}, "limbs: expected pairs of two different keypoints"),
        ({"pairs": [(0, 1), (1, 2)]}, "pairs: expected each keypoint once, got 'b' or 'c' twice"),
        ({"pairs": [("a", "x")]}, "pairs: expected pairs"),
        ({"sigmas": [0.1]}, "sigmas: expected 3 numbers, one per keypoint, got 1"),
        ({"sigmas": {"x": 0.1}}, r"sigmas: expected names of \['a', 'b', 'c'\], got \['x'\]"),
        ({"sigmas": [0.1, 0, 0.1]}, "sigmas: expected numbers above 0, got 0"),
        ({"sigmas": {"a": float("nan")}}, "sigmas: expected numbers above 0, got nan"),
    ],
)
def test_what_is_wrong_is_named(arguments, text):
    with pytest.raises(ValueError, match=text):
        Skeleton(**{"names": ["a", "b", "c"], **arguments})


def test_a_neck_takes_the_place_of_the_trunk_and_gives_cocos_keypoints_openposes_limbs():
    skeleton = COCO_PERSON.with_neck()
    assert skeleton[:17] == tuple(COCO_PERSON) and skeleton[17] == "neck" and skeleton.sigmas[17] == 0.079
    assert skeleton.partners == (*COCO_PERSON.partners, 17)
    # in tests/people.py as OpenPose orders them: nose, neck, right arm, left arm, right leg, left leg, eyes, ears
    order = (0, 17, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
    expected = {frozenset((order[one], order[other])) for one, other in people.LIMBS}
    assert {frozenset(limb) for limb in skeleton.limbs} == expected and len(skeleton.limbs) == 19
    assert skeleton.with_neck() is skeleton  # it has one


def test_limbs_are_assembled_outwards_and_those_that_close_cycles_last():
    for skeleton in (COCO_PERSON, COCO_PERSON.with_neck()):
        limbs, extra = skeleton.assembly()
        assert sorted(map(sorted, limbs)) == sorted(map(sorted, skeleton.limbs))
        assert list(extra) == list(range(len(skeleton) - 1, 19))
        reached = {limbs[0][0]}
        for start, end in limbs[: extra.start]:
            assert start in reached and end not in reached
            reached.add(end)
    assert {frozenset(COCO_PERSON[i] for i in limb) for limb in limbs[17:]} == {
        frozenset(("left_ear", "left_shoulder")),
        frozenset(("right_ear", "right_shoulder")),
    }
    apart = Skeleton(6, limbs=[[4, 3], [1, 2], [2, 4], [5, 0]]).assembly()  # two trees
    assert apart == (((0, 5), (1, 2), (2, 4), (4, 3)), range(4, 4))
