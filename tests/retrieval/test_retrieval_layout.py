"""Positions on a plane: neighbors stay together, and what has no plane is no error."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from visiontasks.errors import UserError
from visiontasks.retrieval import layout
from visiontasks.retrieval.features import normalized


@pytest.fixture
def clusters():
    rng = np.random.default_rng(0)
    return normalized(np.eye(3, 20)[np.arange(60) % 3] + 0.1 * rng.normal(size=(60, 20)))


def test_tsne_keeps_clusters_together_and_repeats(clusters):
    found = layout.place_vectors(clusters)
    assert found.shape == (60, 2) and found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    apart = np.linalg.norm(found[:, None] - found, axis=-1) + 9 * np.eye(60)
    assert (apart.argmin(axis=1) % 3 == np.arange(60) % 3).all()
    np.testing.assert_array_equal(layout.place_vectors(clusters), found)


@pytest.mark.parametrize("count", [60, 600])  # by the singular values, and by the covariance
def test_pca_is_scikit_learn_s(clusters, count):
    vectors = np.tile(clusters, (count // 60, 1)) * np.linspace(1, 2, count, dtype=np.float32)[:, None]
    expected = PCA(2, svd_solver="full").fit_transform(vectors)
    found = layout._principal(vectors, 2)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 7, 9])
@pytest.mark.parametrize("same", [True, False])
def test_few_or_equal_vectors_have_positions(clusters, count, same):
    found = layout.place_vectors(clusters[np.zeros(count, int)] if same else clusters[:count])
    assert found.shape == (count, 2) and np.isfinite(found).all()
    assert not same or (found == 0.5).all()


def test_what_is_not_installed_names_the_line_for_pip(monkeypatch):
    monkeypatch.setattr(layout, "installed", lambda module: module == "numpy")
    layout.check_method("pca")
    for method, extra in (("tsne", "embed"), ("umap", "umap")):
        with pytest.raises(UserError, match=rf'map: {method} needs .*pip install "visiontasks\[{extra}\]"'):
            layout.place_vectors(np.eye(3), method)
    with pytest.raises(UserError, match="map: unknown choice 'tnse'. Did you mean 'tsne'?"):
        layout.check_method("tnse")
