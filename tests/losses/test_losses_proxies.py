"""Proxy losses against loops over images and proxies."""

import math

import numpy as np
import passes
import pytest
from keras import ops

from visiontasks.losses.proxies import proxy_anchor, proxy_nca

RNG = np.random.default_rng(0)
LABELS = np.array([0, 2, 2, -1, 0, 3])
SIMILARITIES = RNG.uniform(-1, 1, (6, 5)).astype("float32")
LABELED = LABELS >= 0


@pytest.mark.parametrize(("margin", "scale"), [(0.1, 32.0), (0.4, 3.0)])
def test_proxy_anchor_is_the_paper_s_equation(margin, scale):
    present, own, other = set(LABELS[LABELED].tolist()), 0.0, 0.0
    for proxy in range(5):
        near = [s for label, s in zip(LABELS, SIMILARITIES[:, proxy], strict=True) if label == proxy]
        far = [s for label, s in zip(LABELS, SIMILARITIES[:, proxy], strict=True) if label not in (proxy, -1)]
        if near:
            own += math.log(1 + sum(math.exp(-scale * (s - margin)) for s in near))
        other += math.log(1 + sum(math.exp(scale * (s + margin)) for s in far))
    positive, negative = proxy_anchor(LABELS, SIMILARITIES, LABELED, margin, scale)
    assert float(positive.mean) == pytest.approx(own / len(present), rel=1e-5)
    assert float(negative.mean) == pytest.approx(other / 5, rel=1e-5)


@pytest.mark.parametrize("scale", [64.0, 1000.0])
@pytest.mark.parametrize("cosine", [-0.99, 0.99])
def test_exponents_beyond_the_range_of_exp_give_finite_losses_and_gradients(scale, cosine):
    own = np.arange(5) == LABELS[:, None]
    similarities = np.where(own, -cosine, cosine).astype("float32")

    def loss(x):
        return sum(term.mean for term in proxy_anchor(LABELS, x, LABELED, 0.5, scale))

    value, (gradient,) = passes.gradients(lambda values: loss(*values), [ops.convert_to_tensor(similarities)])
    # of k equal exponents e: log(1 + k exp(e)), averaged over the 3 classes that occur and over all 5
    counts = [((own & LABELED[:, None]).sum(axis=0), 3), ((~own & LABELED[:, None]).sum(axis=0), 5)]
    exponent = scale * (cosine + 0.5)
    expected = sum(
        sum(np.logaddexp(0, exponent + np.log(k)) for k in column if k) / classes for column, classes in counts
    )
    assert float(value) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    gradient = ops.convert_to_numpy(gradient)
    assert np.isfinite(gradient).all() and (cosine < 0 or gradient.any())


def test_proxy_nca_is_a_softmax_over_squared_distances():
    embeddings = RNG.normal(size=(6, 3))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    proxies = RNG.normal(size=(5, 3))
    proxies /= np.linalg.norm(proxies, axis=1, keepdims=True)
    losses = []
    for embedding, label in zip(embeddings, LABELS, strict=True):
        if label >= 0:
            weights = [math.exp(-np.sum((embedding - proxy) ** 2) / 0.2) for proxy in proxies]
            losses.append(-math.log(weights[label] / sum(weights)))
    found = proxy_nca(LABELS, ops.convert_to_tensor(embeddings @ proxies.T, "float32"), LABELED, 0.2)
    assert float(found.mean) == pytest.approx(np.mean(losses), rel=1e-5) and float(found.count) == 5
