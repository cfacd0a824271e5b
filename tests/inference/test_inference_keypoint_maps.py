"""Keypoints out of the maps over boxes."""

import numpy as np
import pytest

from visiontasks.inference.keypoint_maps import keypoints_of

SIZE = 28
SIGMAS = [0.026, 0.107, 0.089]


def maps_with(cells, height=12.0, sigma=1.0, size=SIZE):
    """float32 (1, S, S, K) of logits: a Gaussian bump around the center of each (row, column)."""
    rows, columns = np.mgrid[:size, :size]
    bumps = [np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2)) for row, column in cells]
    return height * np.stack(bumps, axis=-1)[None].astype(np.float32)


@pytest.mark.parametrize("box", [[10, 20, 66, 76], [3.4, 7.7, 31.2, 80.1], [0, 0, 28, 28], [100, 50, 412.5, 200.25]])
def test_a_peak_at_a_cell_s_center_is_found_there(box):
    x1, y1, x2, y2 = box
    cells = [(5, 20), (14, 14), (22, 3)]
    found, logits = keypoints_of(maps_with(cells), np.float32([box]), SIGMAS)
    width, height = (x2 - x1) / SIZE, (y2 - y1) / SIZE
    expected = [[x1 + (column + 0.5) * width, y1 + (row + 0.5) * height] for row, column in cells]
    assert found.shape == (1, 3, 3) and found.dtype == logits.dtype == np.float32
    # a pixel's center, so at most half a pixel away
    np.testing.assert_allclose(found[0, :, :2], expected, atol=0.6)
    assert (logits > 9).all() and (logits < 13).all()


def test_as_torchvision_does():
    """Its steps, written with PyTorch's own interpolation."""
    torch = pytest.importorskip("torch")
    resize = torch.nn.functional.interpolate
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4, 14, 14, 3)).astype(np.float32)
    corners = rng.uniform(0, 50, (4, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 90, (4, 2))], axis=1).astype(np.float32)
    boxes[0, 2:] = boxes[0, :2] + 0.4
    found, logits = keypoints_of(maps, boxes, SIGMAS)
    for n, (x1, y1, x2, y2) in enumerate(boxes):
        width, height = max(x2 - x1, np.float32(1)), max(y2 - y1, np.float32(1))
        cells = torch.from_numpy(maps[n : n + 1]).permute(0, 3, 1, 2)
        cells = resize(cells, scale_factor=2, mode="bilinear", align_corners=False)
        size = int(np.ceil(height)), int(np.ceil(width))
        pixels = resize(cells, size=size, mode="bicubic", align_corners=False)[0].numpy()
        for k, one in enumerate(pixels):
            row, column = divmod(int(one.argmax()), size[1])
            assert logits[n, k] == pytest.approx(one.max(), abs=1e-4)
            place = [(column + 0.5) * width / size[1] + x1, (row + 0.5) * height / size[0] + y1]
            np.testing.assert_allclose(found[n, k, :2], place, atol=1e-3)


def test_scores_are_probabilities():
    sharp = maps_with([(5, 20), (14, 14), (22, 3)], height=200.0)
    box = np.float32([[0, 0, 56, 56]])
    np.testing.assert_allclose(keypoints_of(sharp, box, SIGMAS)[0][..., 2], 1, atol=1e-3)
    flat, _ = keypoints_of(np.zeros((1, SIZE, SIZE, 3), np.float32), box, SIGMAS)
    assert (flat[..., 2] < 0.1).all() and (flat[..., 2] > 0).all()
    noise = np.random.default_rng(0).normal(0, 3, (6, SIZE, SIZE, 3)).astype(np.float32)
    scores = keypoints_of(noise, np.repeat(box, 6, axis=0), SIGMAS)[0][..., 2]
    assert ((scores > 0) & (scores <= 1)).all()


def test_two_peaks_share_the_probability():
    one, other = (maps_with([cell] * 3, height=40.0) for cell in ((5, 5), (22, 22)))
    both = np.maximum(one, other)
    found, _ = keypoints_of(both, np.float32([[0, 0, 56, 56]]), SIGMAS)
    np.testing.assert_allclose(found[..., 2], 0.5, atol=0.02)


def test_a_keypoint_of_a_larger_sigma_has_the_higher_score_of_the_same_map():
    blunt = maps_with([(14, 14)] * 3, height=8.0, sigma=3.0)
    scores = keypoints_of(blunt, np.float32([[0, 0, 56, 56]]), [0.02, 0.06, 0.18])[0][0, :, 2]
    assert scores[0] < scores[1] < scores[2]


def test_the_size_of_the_box_does_not_change_the_score():
    blunt = maps_with([(14, 14)] * 3, height=8.0, sigma=2.0)
    small, large = (keypoints_of(blunt, np.float32([[0, 0, s, s]]), SIGMAS)[0][..., 2] for s in (56, 560))
    np.testing.assert_allclose(small, large, rtol=0.1)


def test_no_box_gives_nothing():
    found, logits = keypoints_of(np.zeros((0, SIZE, SIZE, 3), np.float32), np.zeros((0, 4), np.float32), SIGMAS)
    assert found.shape == (0, 3, 3) and logits.shape == (0, 3)
