"""Integrated gradients are complete; SmoothGrad without noise is the gradient."""

import numpy as np
from explain.models import classifier

from visiontasks import explain
from visiontasks.explain.scoring import Explained


def test_integrated_gradients_add_up_to_the_difference_of_the_scores():
    model, images = classifier()
    one = Explained(model, images, "bar")
    for baseline in (0, 114):
        expected = one.scores() - one.scores(np.full_like(images, baseline))
        found = explain.integrated_gradients(model, images, "bar", baseline=baseline, steps=128)
        np.testing.assert_allclose(found.sum(axis=(1, 2)), expected, atol=0.01 * np.abs(expected).max())


def test_smooth_grad_without_noise_is_the_gradient_and_its_noise_is_seeded():
    model, images = classifier()
    one = Explained(model, images, "bar")
    found = explain.smooth_grad(model, images, "bar", samples=1, noise=0)
    np.testing.assert_allclose(found, np.abs(one.pixel_gradients(images)).max(axis=-1), rtol=1e-5)
    some, again, other = (explain.smooth_grad(model, images, "bar", samples=2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(some, again)
    assert (some != other).any()
