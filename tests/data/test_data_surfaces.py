"""Drawn surfaces: what changes in a defective image lies in its mask, and normal images have none."""

import numpy as np
import pytest

from visiontasks.data.sources.defects import Defects
from visiontasks.data.surfaces import DEFECTS, draw_surface
from visiontasks.errors import UserError

SURFACES = ("fabric", "metal", "plate")


class Chosen:
    """A random generator whose `choice` of a defect is given."""

    def __init__(self, defect):
        self.rng, self.defect = np.random.default_rng(3), defect

    def __getattr__(self, name):
        return getattr(self.rng, name)

    def choice(self, options):
        return self.defect if tuple(options) == DEFECTS else self.rng.choice(options)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_seen_in_its_mask(surface, defect):
    image, mask = draw_surface(Chosen(defect), (96, 128), surface, defective=True)
    assert image.shape == (96, 128, 3) and image.dtype == np.uint8 and mask.shape == (96, 128)
    assert 0.001 < mask.mean() < 0.1
    rows, columns = np.nonzero(mask)
    top, left = max(0, rows.min() - 8), max(0, columns.min() - 8)
    window = np.s_[top : rows.max() + 9, left : columns.max() + 9]
    inside, around = image[window][mask[window] > 0], image[window][mask[window] == 0]
    # a single color among others; of the plate's missing stud, the ground's instead of the stud's
    assert np.abs(np.median(inside, axis=0) - np.median(around, axis=0)).max() > 10 or defect == "missing"
    assert inside.std() < 40


def test_a_missing_stud_leaves_the_ground():
    _, mask = draw_surface(Chosen("missing"), (128, 128), "plate", defective=True)
    radius = np.sqrt(mask.sum() / np.pi)
    assert radius == pytest.approx(0.3 * 32, abs=0.7)  # OpenCV fills the pixels on the outline too


def test_the_share_of_defects_is_exact_and_the_samples_are_those_of_their_seed():
    source = Defects(20, size=(48, 48), defective=0.25)
    samples = [source[i] for i in range(20)]
    assert sum(sample.label for sample in samples) == 5
    assert all(sample.mask.any() == bool(sample.label) for sample in samples)
    assert not any(Defects(20, size=(48, 48), defective=0.0)[i].label for i in range(20))
    np.testing.assert_array_equal(Defects(3, size=(48, 48))[2].image, Defects(9, size=(48, 48))[2].image)
    assert (Defects(3, seed=1, size=(48, 48))[2].image != source[2].image).any()


def test_an_unknown_surface_is_an_error():
    with pytest.raises(UserError, match="surface: expected one of fabric, metal, plate, got 'wood'"):
        Defects(surface="wood")
