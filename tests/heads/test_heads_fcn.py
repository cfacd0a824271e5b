import fakes
import keras
import numpy as np
import pytest

from visiontasks.heads.fcn import FCN
from visiontasks.model import VisionModel

to_numpy = keras.ops.convert_to_numpy
DEEP = {f"C{n}": (64 // 2**n, 64 // 2**n, 4 * n) for n in range(1, 6)} | {"image": (64, 64, 3)}


@pytest.mark.parametrize(("variant", "levels"), [("32s", ["C5"]), ("16s", ["C4", "C5"]), ("8s", ["C3", "C4", "C5"])])
def test_a_variant_scores_the_levels_down_to_its_stride(variant, levels):
    assert FCN(3, variant).taps(fakes.taps(DEEP)) == (*levels, "image")
    shallow = {name: DEEP[name] for name in ("C1", "C2", "image")}  # as LeNet's
    assert FCN(3, variant).taps(fakes.taps(shallow)) == ("C2", "image")


def test_at_first_the_deepest_scores_are_interpolated_and_finer_ones_add_nothing():
    keras.utils.set_random_seed(0)
    model = VisionModel(fakes.backbone((48, 40)), FCN(3, levels=["C1", "C2", "C3"]))
    images = fakes.images(2, (48, 40))["image"]
    head, pyramid = model.heads["fcn"], model.backbone(images)
    assert [up.strides[0] for up, _ in head.ups] == [2, 2]
    expected = head.scores["C3"](pyramid["C3"])
    for _ in range(3):
        expected = keras.layers.UpSampling2D(2, interpolation="bilinear")(expected)
    found = to_numpy(model(images))
    inside = slice(8, -8)  # at the borders a transposed convolution fades to 0
    np.testing.assert_allclose(found[:, inside, inside], to_numpy(expected)[:, inside, inside], atol=1e-5)
    head.scores["C1"].bias.assign([1.0, 2.0, 3.0])
    np.testing.assert_allclose(to_numpy(model(images)) - found, np.broadcast_to([1, 2, 3], found.shape), atol=1e-4)


def test_levels_that_are_strides_apart_and_the_papers_convolutions():
    model = VisionModel(fakes.backbone((32, 32)), FCN(3, levels=["C1", "C3"], hidden=[6, 5], dropout=0.5))
    head = model.heads["fcn"]
    assert [layer.conv.kernel.shape for layer in head.top[::2]] == [(7, 7, 12, 6), (1, 1, 6, 5)]
    ((up, name),) = head.ups
    assert (up.strides, up.kernel.shape, name) == ((4, 4), (8, 8, 3, 3), "C1")
    assert model(fakes.images(2, (32, 32))["image"]).shape == (2, 32, 32, 3)
