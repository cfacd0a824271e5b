import fakes
import keras
import numpy as np
import pytest

from visiontasks.backbones.backbone import levels
from visiontasks.backbones.hub import hub
from visiontasks.errors import UserError
from visiontasks.model import VisionModel

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
REASON = "needs the optional extra hub"


def resnet():
    keras_hub = pytest.importorskip("keras_hub", reason=REASON)
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
    )


def assert_equal(pyramid, outputs):
    assert len(pyramid) > 0 and {f"C{key[1:]}" for key in pyramid} == set(outputs)
    for key, expected in pyramid.items():
        got = keras.ops.convert_to_numpy(outputs[f"C{key[1:]}"])
        np.testing.assert_allclose(got, keras.ops.convert_to_numpy(expected), rtol=1e-4, atol=1e-4)


def test_an_instance_of_keras_hub(tmp_path):
    instance = resnet()
    backbone = hub(instance=instance, mean=(127.5,) * 3, std=(127.5,) * 3)
    assert levels(backbone) == {"C2": 4, "C3": 8, "C4": 16, "C5": 32}
    outputs = backbone(IMAGES)
    assert outputs["C3"].shape[1:3] == (8, 12)
    assert_equal(keras.Model(instance.input, instance.pyramid_outputs)(IMAGES / 127.5 - 1), outputs)
    backbone.save(tmp_path / "a.keras")
    again = keras.saving.load_model(tmp_path / "a.keras")(IMAGES)
    for tap in outputs:
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (again[tap], outputs[tap])))


def test_a_preset_with_its_preprocessing(tmp_path):
    keras_hub = pytest.importorskip("keras_hub", reason=REASON)
    instance = resnet()
    converter = keras_hub.layers.ResNetImageConverter(scale=[0.017, 0.018, 0.019], offset=[-2.1, -2.0, -1.8])
    instance.save_to_preset(str(tmp_path))
    converter.save_to_preset(str(tmp_path))
    backbone = hub(preset=str(tmp_path), input_shape=(64, 96, 3))
    assert_equal(keras.Model(instance.input, instance.pyramid_outputs)(converter(IMAGES)), backbone(IMAGES))
    fresh = hub(preset=str(tmp_path), weights=None)
    assert not np.allclose(*(keras.ops.convert_to_numpy(m(IMAGES)["C5"]) for m in (fresh, backbone)))


def test_an_instance_of_keras_cv():
    keras_cv = pytest.importorskip("keras_cv", reason=REASON)
    instance = keras_cv.models.YOLOV8Backbone(
        stackwise_channels=[8, 16, 16, 16], stackwise_depth=[1, 1, 1, 1], include_rescaling=True
    )
    names = instance.pyramid_level_inputs
    pyramid = keras.Model(instance.input, {key: instance.get_layer(name).output for key, name in names.items()})
    assert_equal(pyramid(IMAGES.astype("float32")), hub(instance=instance)(IMAGES))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_every_head_trains_on_it_and_is_saved(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    batch, names = fakes.scenes(4, (64, 64))
    heads = {name: head(names[head.fields[0]]) for name, head in fakes.trained_heads().items()}
    model = VisionModel(hub(instance=resnet(), mean=(127.5,) * 3, std=(127.5,) * 3, input_shape=(64, 64, 3)), heads)
    model.compile(keras.optimizers.Adam(1e-3))
    losses = model.fit(batch, batch_size=4, epochs=12, shuffle=False, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < 0.95 * losses[0]
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    before, after = model.predict(batch["image"], verbose=0), again.predict(batch["image"], verbose=0)
    for head in before:
        for key in before[head]:
            np.testing.assert_array_equal(before[head][key], after[head][key])


def test_unknown_preset():
    pytest.importorskip("keras_hub", reason=REASON)
    with pytest.raises(UserError, match="no_such_preset"):
        hub(preset="./no_such_preset")


@pytest.mark.parametrize("arguments", [{}, {"preset": "a", "instance": "b"}])
def test_preset_or_instance(arguments):
    with pytest.raises(UserError, match="preset"):
        hub(**arguments)


def test_an_instance_without_a_pyramid():
    with pytest.raises(UserError, match="Sequential, which has none"):
        hub(instance=keras.Sequential())


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keras_hub", None)
    with pytest.raises(UserError, match=r'pip install "visiontasks\[hub\]"'):
        hub(preset="resnet_50_imagenet")
