"""Drawn surfaces: what changes in a defective image lies in its mask, and normal images have none."""

import cv2
import numpy as np
import pytest

from visiontasks.data.sources.defects import Defects
from visiontasks.data.surfaces import DEFECTS, draw_surface
from visiontasks.errors import UserError

SURFACES = ("fabric", "metal", "plate")
SIZE = (96, 128)


def drawn(surface, defect=None, seed=3):
    return draw_surface(np.random.default_rng(seed), SIZE, surface, defect)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_all_that_tells_an_image_from_a_normal_one(surface, defect):
    for seed in (3, 4):
        (normal, none), (image, mask) = drawn(surface, seed=seed), drawn(surface, defect, seed)
        assert image.shape == (*SIZE, 3) and image.dtype == np.uint8 and mask.shape == SIZE
        assert not none.any() and 0.001 < mask.mean() < 0.1
        difference = np.abs(image.astype(int) - normal).max(axis=2)
        assert np.percentile(difference[mask > 0], 75) >= 4
        # a stain fades out, and the lens blurs
        around = cv2.dilate(mask, np.ones((15, 15), np.uint8))
        assert difference[around == 0].max() <= 1


@pytest.mark.parametrize("surface", SURFACES)
def test_normal_images_differ_in_light_and_place(surface):
    first, second = (drawn(surface, seed=seed)[0].astype(float) for seed in (1, 2))
    assert np.abs(first - second).mean() > 3


def test_a_missing_stud_leaves_the_ground():
    image, mask = draw_surface(np.random.default_rng(0), (128, 128), "plate", "missing")
    radius = np.sqrt(mask.sum() / np.pi)
    assert radius == pytest.approx(0.3 * 32, abs=0.9)  # OpenCV fills the pixels on the outline too; the camera's place
    inside = image[cv2.erode(mask, np.ones((5, 5), np.uint8)) > 0].mean(axis=0)
    assert inside[1] > inside[0] and inside[1] > inside[2]  # the plate is green


def test_the_share_of_defects_is_exact_and_the_samples_are_those_of_their_seed():
    source = Defects(20, size=(48, 48), defective=0.25)
    samples = [source[i] for i in range(20)]
    assert sum(sample.label for sample in samples) == 5
    assert all(sample.mask.any() == bool(sample.label) for sample in samples)
    assert not any(Defects(20, size=(48, 48), defective=0.0)[i].label for i in range(20))
    np.testing.assert_array_equal(Defects(3, size=(48, 48))[2].image, Defects(9, size=(48, 48))[2].image)
    assert (Defects(3, seed=1, size=(48, 48))[2].image != source[2].image).any()


@pytest.mark.parametrize("size", [(32, 32), (32, 70), (65, 33)])
def test_small_images_have_defects_too(size):
    for surface in SURFACES:
        source = Defects(8, size=size, surface=surface, defective=1.0)
        assert all(source[i].image.shape == (*size, 3) and source[i].mask.any() for i in range(8))


def test_an_unknown_surface_is_an_error():
    with pytest.raises(UserError, match="surface: expected one of fabric, metal, plate, got 'wood'"):
        Defects(surface="wood")
