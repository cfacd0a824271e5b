"""Curves, the pointing game and the other checks, on a score that is known in closed form."""

import dataclasses

import keras
import numpy as np
import pytest
from explain.models import classifier
from keras import ops

from visiontasks import explain
from visiontasks.explain.believing import (
    ALIKE,
    Faithfulness,
    boxes_region,
    centered,
    of_guesses,
    rank_correlations,
    together,
)


class Corner:
    """As an Explained, but the score is the brightness of one quarter of the image."""

    guesses = None

    def __init__(self, value=255, rest=90):
        self.images = np.full((1, 32, 32, 3), rest, np.uint8)
        self.images[:, :16, :16] = value
        self.scored = 0

    def scores(self, images=None, row=None, batch=32):
        self.scored += 1
        images = self.images if images is None else images
        return np.asarray(images, np.float32)[:, :16, :16].mean(axis=(1, 2, 3))


def quarter(inside):
    found = np.full((1, 32, 32), 1 - inside, np.float32)
    found[:, :16, :16] = inside
    return found


def test_curves_start_and_end_at_the_image_and_the_empty_one():
    deletion, insertion = explain.curves(Corner(), 0, quarter(1)[0], steps=4)
    np.testing.assert_allclose(deletion, [1, 0, 0, 0, 0], atol=1e-6)  # a quarter of the pixels is all there is
    np.testing.assert_allclose(insertion, [0, 1, 1, 1, 1], atol=1e-6)
    deletion, insertion = explain.curves(Corner(), 0, quarter(0)[0], steps=4)
    np.testing.assert_allclose(deletion, [1, 1, 1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(insertion, [0, 0, 0, 0, 1], atol=1e-6)


def test_the_right_map_is_faithful_and_its_opposite_is_not():
    (right,) = explain.faithfulness(Corner(), quarter(1))
    assert right.faithful and right.deletion < 0.2 and right.insertion > 0.8
    (wrong,) = explain.faithfulness(Corner(), quarter(0))
    assert wrong.reasons == ["no better than a Gaussian", "no better than random"]
    (middle,) = explain.faithfulness(Corner(), centered((32, 32))[None])
    assert "no better than a Gaussian" in middle.reasons
    (alike,) = explain.faithfulness(Corner(), quarter(1), quarter(0.9))
    assert alike.correlation >= ALIKE and alike.reasons == ["other weights give the same map"]


def test_equal_values_come_in_no_order_of_their_own():
    """Row by row, the corner of the score would come first."""
    one = np.zeros((32, 32), np.float32)
    one[-1, -1] = 1  # as of a Grad-CAM, which is 0 almost everywhere
    even = np.linspace(0, 1, 11)
    deletion, insertion = explain.curves(Corner(), 0, one)
    np.testing.assert_allclose(deletion, even[::-1], atol=0.15)
    np.testing.assert_allclose(insertion, even, atol=0.15)
    np.testing.assert_array_equal(deletion, explain.curves(Corner(), 0, one)[0])
    (nothing,) = explain.faithfulness(Corner(), np.zeros((1, 32, 32), np.float32))
    assert nothing.reasons == ["the map is the same everywhere"] and not nothing.to_json()["faithful"]
    assert not nothing.beats((1.0, 0.0)), "nor has it beaten a guess"


def test_a_map_that_is_not_finite_is_not_faithful():
    broken = quarter(1)
    broken[0, 3, 4] = np.nan
    (found,) = explain.faithfulness(Corner(), broken, quarter(0))
    assert found.reasons == ["the map is not finite"] and not found.to_json()["faithful"]
    (found,) = explain.faithfulness(Corner(), quarter(1), broken)
    assert found.reasons == ["other weights give a map that is not finite"]
    assert together([found] * 10)["faithful"] is False


def test_guesses_are_computed_once_and_differ_from_image_to_image():
    one = Corner()
    first = of_guesses(one)
    scored = one.scored
    explain.faithfulness(one, quarter(1))
    assert one.scored == scored + 2 and of_guesses(one) is first  # the curves of the map alone
    assert of_guesses(Corner()) == first
    (same,), (other,) = first, of_guesses(Corner(rest=91))
    assert abs(same[0][0] - other[0][0]) < 0.02, "the Gaussian is the same"
    assert abs(same[1][0] - other[1][0]) > 0.02, "the random maps are others"


def test_an_image_that_scores_no_higher_than_an_empty_one_is_not_judged():
    (dark,) = explain.faithfulness(Corner(0), quarter(1))
    assert np.isnan(dark.deletion) and not dark.faithful and "no higher" in dark.reasons[0]
    assert Faithfulness(0.1, 0.9, (0.5, 0.5), (0.5, 0.5)).to_json()["faithful"]


def test_over_many_images_a_sign_test_tells_chance():
    good, bad, blank = (
        Faithfulness(*areas, (0.4, 0.5), (0.45, 0.45)) for areas in ((0.1, 0.9), (0.5, 0.5), (np.nan, 0.5))
    )
    found = together([good] * 9 + [bad] + [blank])
    assert (found["images"], found["judged"], found["beats_both"], found["beats_random"]) == (11, 10, 9, 9)
    assert found["p"] == pytest.approx((1 + 10) / 2**10) and found["faithful"]
    assert found["deletion"] == pytest.approx(0.14) and found["gaussian"] == pytest.approx([0.4, 0.5])
    assert together([good] * 4)["faithful"] is None, "four of four may be chance"
    assert together([good] * 4)["beats_both"] == 4 and together([good] * 5)["faithful"] is True
    assert not together([dataclasses.replace(good, correlation=ALIKE)] * 10)["faithful"]
    assert together([blank]) == {"images": 1, "judged": 0, "faithful": None}
    # better than random in all, but than a Gaussian in half: the worse counts
    between = dataclasses.replace(good, gaussian=(0.0, 1.0))
    assert together([good, between] * 5)["beats_random"] == 10 and together([good, between] * 5)["p"] > 0.5


def test_pointing_game():
    region = boxes_region([[2, 1, 5, 3]], (6, 7))
    assert region.sum() == 6 and region[1:3, 2:5].all()
    one = np.zeros((6, 7))
    assert not explain.pointing_game(one, region)  # an empty map points at everything
    one[2, 4] = 1
    assert explain.pointing_game(one, region)
    one[4, 4] = 2
    assert not explain.pointing_game(one, region)


def test_rank_correlations():
    maps = np.random.default_rng(0).random((1, 20, 24))
    assert rank_correlations(maps, np.exp(3 * maps)) == [pytest.approx(1)]
    assert rank_correlations(maps, -maps) == [pytest.approx(-1)]
    assert rank_correlations(maps, np.zeros_like(maps)) == [0.0]
    assert rank_correlations(np.zeros_like(maps), np.zeros_like(maps)) == [1.0]
    # of a place: alike far from it, whatever is near
    far = np.linspace(0, 1e-3, 480).reshape(1, 20, 24)
    some, other = far.copy(), far.copy()
    some[:, -4:], other[:, -4:] = maps[:, :4], maps[:, 4:8]
    assert abs(rank_correlations(some, other)[0]) < 0.3
    one = np.zeros_like(maps)
    one[0, 3, 4] = 1
    assert rank_correlations(one, one) == [pytest.approx(1)]
    assert np.isnan(rank_correlations(maps, np.where(maps == maps.max(), np.inf, maps))).all()


def test_shuffled_weights_have_the_values_of_the_model_which_stays():
    model, images = classifier()
    before = model.get_weights()
    copy = explain.shuffled(model)
    for ours, theirs, now in zip(copy.get_weights(), before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(np.sort(ours.ravel()), np.sort(theirs.ravel()))
        np.testing.assert_array_equal(now, theirs)
    assert not np.allclose(ops.convert_to_numpy(copy(images)), ops.convert_to_numpy(model(images)))
    assert isinstance(copy, keras.Model)
