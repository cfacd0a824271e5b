"""Maps of pixels from gradients by the image: integrated gradients and SmoothGrad."""

import numpy as np

from visiontasks.explain.scoring import Explained

STEPS = 32
NOISE = 0.15


def integrated_gradients(
    model, images, target=None, *, head=None, box=None, baseline: float = 0.0, steps: int = STEPS
) -> np.ndarray:
    """Integrated gradients: what each pixel adds to the score on the straight way from a baseline to the image.

    Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365, equation 1, by the midpoint rule. Complete: the map's
    sum is the score of the image less that of the baseline, but for the steps' error.

    Args:
        model, images, target, head, box: see `Explained`.
        baseline: the value of all pixels of the baseline, 0..255; 0, black, as in the paper.
        steps: gradients per image.

    Returns:
        float32 (B, H, W), the sum over the colors; negative where a pixel speaks against the target.
    """
    return integrated_of(Explained(model, images, target, head, box), baseline, steps)


def integrated_of(explained: Explained, baseline: float = 0.0, steps: int = STEPS) -> np.ndarray:
    """As `integrated_gradients`, of an Explained."""
    way = explained.images.astype(np.float32) - baseline
    total = 0.0
    for step in range(steps):
        total = total + explained.pixel_gradients(baseline + way * ((step + 0.5) / steps))
    return (way * total / steps).sum(axis=-1)


def smooth_grad(
    model, images, target=None, *, head=None, box=None, samples: int = STEPS, noise: float = NOISE, seed: int = 0
) -> np.ndarray:
    """SmoothGrad: the size of the mean gradient by each pixel, over copies of the image with noise.

    Smilkov et al. 2017, https://arxiv.org/abs/1706.03825, section 3.

    Args:
        model, images, target, head, box: see `Explained`.
        samples: noisy copies per image.
        noise: standard deviation of the noise as a share of the image's range of values; 0 gives the plain gradient.
        seed: of the noise.

    Returns:
        float32 (B, H, W), 0 and above: the largest of the three colors.
    """
    return smooth_of(Explained(model, images, target, head, box), samples, noise, seed)


def smooth_of(explained: Explained, samples: int = STEPS, noise: float = NOISE, seed: int = 0) -> np.ndarray:
    """As `smooth_grad`, of an Explained."""
    rng, images, total = np.random.default_rng(seed), explained.images.astype(np.float32), 0.0
    spread = noise * (images.max(axis=(1, 2, 3), keepdims=True) - images.min(axis=(1, 2, 3), keepdims=True))
    for _ in range(samples):
        total = total + explained.pixel_gradients(images + spread * rng.standard_normal(images.shape, np.float32))
    return np.abs(total / samples).max(axis=-1)
