"""Skeletons: the neck that is added, and the order in which people are assembled."""

import people

from visiontasks.skeleton import COCO_PERSON, Skeleton


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
