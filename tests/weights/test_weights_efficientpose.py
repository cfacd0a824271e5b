"""EfficientPose from its published files: the heat maps of the original networks on four images."""

from pathlib import Path

import keras
import numpy as np
import pytest

from visiontasks.errors import UserError
from visiontasks.layers.efficientpose import efficientpose
from visiontasks.weights import efficientpose as published

FOLDER = Path(__file__).resolve().parents[2] / "../shared/weights/efficientpose"
needs_files = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs ../shared/weights/efficientpose")


@needs_files
@pytest.mark.parametrize(("variant", "numbers"), [("RT", 447_948), ("I", 707_400)])
def test_the_heat_maps_of_the_published_networks(variant, numbers):
    model = efficientpose(variant.lower())
    published.load(model, FOLDER / f"EfficientPose{variant}.h5")
    assert model.count_params() == numbers
    with np.load(FOLDER / "reference.npz") as reference:
        names = sorted({key.split("/")[1] for key in reference if key.startswith(f"{variant}/im")})
        assert len(names) == 4
        images, expected = (
            np.stack([reference[f"{variant}/{name}/{kind}"] for name in names]) for kind in ("input", "heat_low")
        )
    got = keras.ops.convert_to_numpy(model(images))
    assert got.dtype == "float32"
    np.testing.assert_allclose(got, expected, atol=1e-3)  # stored in steps of 1 / 2048


@needs_files
def test_another_variant_s_file_does_not_fit():
    with pytest.raises(UserError, match="does not fit efficientpose_rt"):
        published.load(efficientpose("rt"), FOLDER / "EfficientPoseI.h5")


@needs_files
@pytest.mark.parametrize("variant", ["RT", "I"])
def test_what_is_left_out_is_bilinear_enlargement_by_two(variant):
    arrays = published.read_h5_file(FOLDER / f"EfficientPose{variant}.h5")
    rows = np.outer([0.25, 0.75, 0.75, 0.25], [0.25, 0.75, 0.75, 0.25])
    for layer in ("upscaled_deconv1", "upscaled_deconv2", "upscaled_confs"):
        np.testing.assert_array_equal(arrays[f"{layer}/kernel"], rows[:, :, None, None] * np.eye(16))
        assert not arrays[f"{layer}/bias"].any()


@pytest.mark.parametrize("variant", ["rt", "i"])
def test_shapes_precision_and_saving(variant, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = efficientpose(variant)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), "uint8")
    got = keras.ops.convert_to_numpy(model(images))
    assert got.shape == (2, 4, 6, 16) and got.dtype == "float32"
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(again(images)), got, atol=1e-6)


def test_wrong_arguments():
    with pytest.raises(UserError, match="variant"):
        efficientpose("ii")
