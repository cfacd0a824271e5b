"""What every backbone must do."""

import itertools

import families
import keras
import numpy as np
import pytest

from visiontasks.backbones import resnet
from visiontasks.backbones.backbone import Graph, levels
from visiontasks.backbones.matching import difference
from visiontasks.heads.classifier import Classifier
from visiontasks.layers.batch_normalization import BatchNormalization
from visiontasks.model import VisionModel
from visiontasks.registry import catalog

ELSEWHERE = {"hub"}  # needs an optional package; see test_backbones_hub.py
NAMES = sorted(catalog.parts("backbones").keys() - ELSEWHERE)
FAMILIES = ["convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_lite0", "efficientnet_v2_b0"]
FAMILIES += ["inception_v3", "mobilenet", "mobilenet_v2", "mobilenet_v3_small", "nasnet_mobile", "resnet50"]
FAMILIES += ["resnet50_v2", "unet_encoder", "vgg16", "xception"]
FAMILIES += [
    "alexnet",
    "csp_darknet_n",
    "efficientpose_i",
    "googlenet",
    "keras_resnet50",
    "lenet5",
    "resnet18",
    "resnet20",
    "resnext50",
    "vgg11_bn",
    "zfnet",
]
# they lose a few pixels at each border
UNPADDED = ("inception", "xception", "nasnet", "alexnet", "zfnet", "lenet5", "googlenet")
FIRST = {"convnext": 2, "vgg": 0, "keras_vgg": 0, "alexnet": 2}


def build(name, **arguments):
    smaller = {"filters": 8} if name == "unet_encoder" else {}
    return catalog.find("backbones", name).load()(**smaller, **arguments)


def random_images(height, width, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def expected_levels(name):
    if name == "unet_encoder":
        return {"C0": 1, "C1": 2, "C2": 4, "C3": 8, "C4": 16}
    if name == "lenet5" or catalog.find("backbones", name).symbol == "resnet_cifar":
        return {"C0": 1, "C1": 2, "C2": 4}
    if name.startswith("efficientpose"):
        return {"C1": 2, "C2": 4, "C3": 8}
    first = next((level for start, level in FIRST.items() if name.startswith(start)), 1)
    return {f"C{n}": 2**n for n in range(first, 6)}


def assert_sizes(name, taps, height, width):
    """Sides that the stride divides come out exactly; others are rounded up or down, as each network pads."""
    lost = 8 if name == "lenet5" else 4 if name.startswith(UNPADDED) else 0
    for tap, stride in expected_levels(name).items():
        for got, side in zip(taps[tap].shape[1:3], (height, width), strict=True):
            assert side // stride - lost <= got <= -(-side // stride), (tap, taps[tap].shape)


# takes half a minute, and is resnet110 with more blocks: test_backbones_resnet.py has what its depth needs
DEEPEST = {"resnet1202"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DEEPEST])
def test_levels_strides_and_channels(name, without_weights):
    """Channels as in the papers, of the networks written here."""
    backbone = build(name, input_shape=(224, 160, 3))
    if name in CHANNELS:
        assert tuple(backbone.output[level].shape[-1] for level in levels(backbone)) == CHANNELS[name]
    assert type(backbone).__name__ == "Functional"
    assert keras.backend.standardize_dtype(backbone.input.dtype) == "uint8"
    assert backbone.input.shape == (None, 224, 160, 3)
    assert levels(backbone) == expected_levels(name)
    assert [tap for tap in backbone.output if tap in levels(backbone)] == list(levels(backbone))
    assert_sizes(name, backbone.output, 224, 160)
    last = "top" if "top" in backbone.output else list(levels(backbone))[-1]
    graph = Graph(backbone.input, backbone.output[last])
    for tap, stride in levels(backbone).items():
        assert graph.stride(backbone.output[tap]) == stride, tap


def free_sides(name):
    return (97, 130) if name == "nasnet_mobile" else (None, None)  # NASNet refuses free sides


@pytest.fixture(scope="module", params=FAMILIES)
def of_family(request):
    """(name, a network), which its tests share."""
    return request.param, build(request.param, input_shape=(*free_sides(request.param), 3))


def test_free_and_odd_sizes_saving_and_loading(of_family, tmp_path):
    name, backbone = of_family
    free = free_sides(name)
    assert backbone.input.shape == (None, *free, 3)
    images = random_images(97, 130, 1)
    before = backbone(images)
    assert_sizes(name, before, 97, 130)
    backbone.save(tmp_path / "backbone.keras")
    again = keras.saving.load_model(tmp_path / "backbone.keras")
    assert difference(again, backbone) == ""
    after = again(images)
    assert list(after) == list(before)
    for tap in before:
        a, b = map(keras.ops.convert_to_numpy, (before[tap], after[tap]))
        assert np.isfinite(a).all() and a.std() > 0, tap
        np.testing.assert_array_equal(a, b, err_msg=tap)


HALVES = ["mixed_float16", "mixed_bfloat16"]


# one of both: a layer looks at the policy's dtypes, whichever they are
@pytest.mark.parametrize(("name", "policy"), zip(FAMILIES, itertools.cycle(HALVES), strict=False))
def test_mixed_precision(name, policy):
    keras.config.set_dtype_policy(policy)
    try:
        backbone = build(name, input_shape=(96, 96, 3))
    finally:
        keras.config.set_dtype_policy("float32")
    outputs = backbone(random_images(96, 96, 1), training=True)
    for tap, tensor in outputs.items():
        assert keras.backend.standardize_dtype(tensor.dtype) == policy.removeprefix("mixed_"), tap
        assert np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))).all(), tap
    assert {keras.backend.standardize_dtype(v.dtype) for v in backbone.trainable_variables} == {"float32"}


CHANNELS = {  # of the networks written here, C1 (or the first level) and up, as their papers give them
    "lenet5": (6, 16, 16),
    "alexnet": (96, 256, 256, 256),
    "zfnet": (96, 96, 256, 512, 512),
    "vgg11": (64, 128, 256, 512, 512, 512),
    "vgg19_bn": (64, 128, 256, 512, 512, 512),
    "googlenet": (64, 192, 480, 832, 1024),
    "resnet18": (64, 64, 128, 256, 512),
    "resnet34": (64, 64, 128, 256, 512),
    "resnet50": (64, 256, 512, 1024, 2048),
    "resnext50": (64, 256, 512, 1024, 2048),
    "wide_resnet50": (64, 256, 512, 1024, 2048),
    "resnet20": (16, 32, 64),
    "resnet56": (16, 32, 64),
    "efficientnet_lite0": (16, 24, 40, 112, 320),
    "efficientpose_rt": (16, 24, 3 * 40),
    "efficientpose_i": (16, 24, 3 * 48),
    "csp_darknet_n": (16, 32, 64, 128, 256),
    "csp_darknet_m": (48, 96, 192, 384, 576),
    "csp_darknet_x": (80, 160, 320, 640, 640),
}


def test_every_family_written_here_gives_its_channels():
    assert CHANNELS.keys() <= set(NAMES)
    ours = {part.module for part in catalog.parts("backbones").values() if part.symbol != "keras_application"}
    ours -= {catalog.find("backbones", name).module for name in (*ELSEWHERE, "unet_encoder")}
    assert ours == {catalog.find("backbones", name).module for name in CHANNELS}


def test_a_fixed_backbone_keeps_its_batch_norm_statistics(of_family):
    _, backbone = of_family
    images = random_images(97, 130, 1)
    norms = [layer for layer in backbone._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    assert all(isinstance(layer, BatchNormalization) for layer in norms)  # the fast one
    before = [np.array(layer.moving_mean) for layer in norms]
    backbone.trainable = False
    backbone(images, training=True)
    assert all(np.array_equal(a, layer.moving_mean) for a, layer in zip(before, norms, strict=True))
    backbone.trainable = True
    backbone(images, training=True)
    assert all(not np.array_equal(a, layer.moving_mean) for a, layer in zip(before, norms, strict=True))


# in half precision the kind of convolution that test_contracts_precision.py does not have
@pytest.mark.parametrize(
    ("name", "policy"),
    [("resnet18", "float32"), ("resnext50", "mixed_bfloat16"), ("vgg11_bn", "float32")],
)
def test_kinds_of_blocks_that_the_trained_families_lack_learn(name, policy, monkeypatch):
    """Basic blocks, grouped convolutions, plain convolutions with batch norm: every weight takes a gradient."""
    grouped = resnet._FORMS["resnext50"]  # slow on a CPU; one block of each stage shows what sixteen do
    monkeypatch.setitem(resnet._FORMS, "resnext50", ((1, 1, 1, 1), *grouped[1:]))
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    # at half of this size the last batch norms see four values, and rounding decides whether the loss falls
    model = VisionModel(build(name, input_shape=(64, 64, 3)), Classifier(2))
    before = model.get_weights()
    model.compile(keras.optimizers.Adam(1e-4), run_eagerly=True)
    losses = model.fit(random_images(64, 64, 4), np.array([0, 1, 0, 1]), epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < 0.5 * losses[0]
    for variable, value in zip(model.weights, before, strict=True):
        if "seed_generator" not in variable.path:
            assert not np.array_equal(variable, value), variable.path


@pytest.mark.parametrize("name", [name for name in families.FAMILIES if not families.small(name)])
def test_every_weight_of_a_family_takes_a_gradient(name):
    """Small ones are trained by test_contracts_training.py."""
    keras.utils.set_random_seed(0)
    arguments, side = families.FAMILIES[name]
    backbone = catalog.find("backbones", name).load()(input_shape=(side, side, 3), **arguments)
    model = VisionModel(backbone, Classifier(2))
    before = [np.array(variable) for variable in model.trainable_variables]
    model.compile(keras.optimizers.Adam(1e-4), run_eagerly=True)
    losses = model.fit(random_images(side, side, 4), np.array([0, 1, 0, 1]), verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    for variable, value in zip(model.trainable_variables, before, strict=True):
        assert not np.array_equal(variable, value), variable.path


NORMS = ["batch", "group", "layer", "instance", "frozen_batch"]
# each kind in one network; the others hand the name on to the same function: one kind that learns, and the one that
# does not
NORMALIZED = [("resnet20", norm) for norm in NORMS]
NORMALIZED += [(name, norm) for name in ("vgg11", "googlenet", "resnet18") for norm in ("group", "frozen_batch")]


@pytest.mark.parametrize(("name", "norm"), NORMALIZED)
def test_normalisation_is_an_argument(name, norm, tmp_path):
    backbone = build(name, norm=norm, input_shape=(64, 64, 3))
    images = random_images(64, 64)
    before = backbone(images, training=True)
    assert all(np.isfinite(keras.ops.convert_to_numpy(x)).all() for x in before.values())
    backbone.trainable = False
    backbone.trainable = True  # as unfreezing does
    free = {v.path.split("/")[-1] for v in backbone.trainable_variables}
    assert ({"gamma", "beta"} <= free) == (norm != "frozen_batch")
    backbone.save(tmp_path / "a.keras")
    again = keras.saving.load_model(tmp_path / "a.keras")
    for a, b in zip(backbone(images).values(), again(images).values(), strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (a, b)))
