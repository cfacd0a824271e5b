import keras
import numpy as np
import pytest

from visiontasks.heads.classifier import Classifier
from visiontasks.layers.spatial_pyramid_pooling import SpatialPyramidPooling2D


@pytest.mark.parametrize("size", [(8, 12), (7, 5), (3, 2), (1, 13)])
def test_each_cell_holds_its_maximum(size):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    found = keras.ops.convert_to_numpy(SpatialPyramidPooling2D((4, 2, 1))(x)).reshape(2, 21, 3)
    expected = []
    for n in (4, 2, 1):
        for i, j in np.ndindex(n, n):
            rows = [r for r in range(size[0]) if r + 1 > i * size[0] / n and r < (i + 1) * size[0] / n]
            columns = [c for c in range(size[1]) if c + 1 > j * size[1] / n and c < (j + 1) * size[1] / n]
            expected.append(x[:, rows][:, :, columns].max((1, 2)))
    np.testing.assert_array_equal(found, np.stack(expected, axis=1))


def test_a_classifier_with_it_takes_any_size():
    import fakes

    from visiontasks.model import VisionModel

    model = VisionModel(fakes.backbone(), Classifier(3, pooling="pyramid"))
    assert model.heads["classifier"].top[-1].kernel.shape == (21 * 12, 3)
    for size in ((32, 32), (40, 24)):
        assert model.predict(fakes.images(2, size)["image"], verbose=0)["scores"].shape == (2, 3)
