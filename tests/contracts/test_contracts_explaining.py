"""Maps of every head, and on every family of backbones; a new file of either is tested without a new test."""

import functools
import importlib

import fakes
import families
import keras
import numpy as np
import pytest
from keras import ops

from visiontasks.backbones.backbone import levels
from visiontasks.errors import UserError
from visiontasks.explain.__main__ import METHODS
from visiontasks.explain.believing import ALIKE, rank_correlations, shuffled_weights
from visiontasks.explain.receptive import ReceptiveFields
from visiontasks.explain.scoring import Explained
from visiontasks.model import VisionModel
from visiontasks.registry import catalog

# eager as it is here, a first stage costs most
FEW = {"proposals": 8, "proposal_candidates": 16, "detections": 4}
SMALL = {"yolo_v1": {"tap": None, "filters": [8, 4], "hidden": [16]}, "personlab": {"masks": True}}
SMALL |= {"keypoint_rcnn": FEW, "mask_rcnn": FEW}
SIMCC, REFINED = {"simcc": {}}, {"mask": {"filters": 16, "layers": 1, "bins": 4, "refine": 1, "points": 20}}
# tasks whose heads must explain what they decode: a class, a tag, a mask, a box or a joint
EXPLAINED = ("classification", "tagging", "segmentation", "detection", "instances", "pose", "posed_instances")
# those that no other extends, and arguments under which another answer is explained
HEADS = [*((name, {}) for name in sorted(fakes.largest_heads())), ("pose_heatmap", SIMCC), ("mask_rcnn", REFINED)]
# arguments that make methods cheap; those that take more than a few passes are for one head
FEWER = {"occlusion": {"size": 16}, "integrated": {"steps": 2}, "smooth": {"samples": 2}, "rise": {"masks": 32}}
CAMS = ("gradcam", "gradcam++", "hirescam")
CHEAP = (*CAMS, "occlusion")
MOST = 6  # other weights may give a similar map by chance, but not so often
# of whose levels the receptive fields are known; efficientnet_b0's see the whole image
EXACT = ("alexnet", "csp_darknet_n", "efficientnet_lite0", "googlenet", "inception_v3", "lenet5", "resnet20")
EXACT += ("resnet50", "unet_encoder", "vgg16", "zfnet")


def method_of(how):
    """A method of the command, from an Explained to maps."""
    module, function, arguments, _ = METHODS[how]
    made = getattr(importlib.import_module(f"visiontasks.explain.{module}"), function)
    return functools.partial(made, **arguments, **FEWER.get(how, {}))


def model_of(name, more):
    """(a model with one head on a small backbone, an image)."""
    keras.utils.set_random_seed(0)
    given = {**families.NARROW.get(name, {}), **fakes.posed(name), **SMALL.get(name, {}), **more}
    model = VisionModel(fakes.backbone((32, 32)), catalog.find("heads", name).load()(fakes.CLASSES, **given))
    return model, noise((32, 32))


def noise(size):
    """uint8 (1, H, W, 3): an image without an object, which would be in every map."""
    return np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)


def maps_are_whole_and_depend_on_the_weights(model, images, target, head=None, hows=CHEAP):
    """The maps of what was chosen, under the model's weights and under others; it has its own again afterwards."""
    one, own = Explained(model, images, target, head), model.get_weights()
    # what is explained is what the model computes of uint8 images
    outputs = model.by_head(model(images, training=False))[head or one.head.name]
    expected = ops.convert_to_numpy(one.head.score(outputs, one.choice))
    assert expected.shape == (len(images),) and np.isfinite(expected).all()
    np.testing.assert_allclose(one.scores(), expected, rtol=1e-3, atol=1e-5)
    methods = {how: method_of(how) for how in hows}
    before = {how: method(one) for how, method in methods.items()}
    for seed in range(MOST):
        model.set_weights(shuffled_weights(model, seed))
        two = Explained(model, images, head=head, choice=one.choice)
        for how, method in list(methods.items()):
            found, changed = before[how], method(two)
            for maps in (found, changed):
                assert maps.shape == images.shape[:3] and maps.dtype == np.float32 and np.isfinite(maps).all()
            if max(rank_correlations(found, changed)) < ALIKE:
                del methods[how]
        if not methods:
            break
    assert not methods, f"{', '.join(methods)}: the map is the same for other weights"
    model.set_weights(own)


@pytest.mark.parametrize(("name", "more"), HEADS, ids=[name + "+" * bool(more) for name, more in HEADS])
def test_every_kind_of_answer_of_a_head(name, more):
    model, images = model_of(name, more)
    (head,) = model.heads.values()
    if not head.explains and head.task not in EXPLAINED:
        pytest.skip(f"no map of the task {head.task}")
    assert head.explains, "a head says what it explains, and has `choose` and `score`: see Head"
    # with other arguments, the last kind alone is another
    for kind in head.explains[-1:] if more else head.explains:
        hows = METHODS if name == "classifier" else CHEAP
        maps_are_whole_and_depend_on_the_weights(model, images, kind, hows=hows)
        names = head.names_of(kind)
        last = f"{kind}:{names[-1]}"
        assert Explained(model, images, last).names == [names[-1]]
        if kind in ("class", "tag") or more == SIMCC:
            with pytest.raises(ValueError, match="leave it out"):
                Explained(model, images, last, box=[0, 0, 16, 16])
            continue
        near = Explained(model, images, last, box=[0, 0, 16, 16]).choice
        if near.box is not None:  # it overlaps with what was asked for
            box = ops.convert_to_numpy(near.box)
            assert ((box[:, :2] < 16) & (box[:, 2:] > box[:, :2])).all()
        else:
            cells = ops.convert_to_numpy(near.cells)
            assert cells.any(axis=(1, 2)).all()
            assert not cells[:, cells.shape[1] // 2 :].any() and not cells[:, :, cells.shape[2] // 2 :].any()


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family(family):
    """Under the head that takes every level."""
    keras.utils.set_random_seed(0)
    model, batch = families.model_of(family, ("unet",))
    images = noise(batch["image"].shape[1:3])
    maps_are_whole_and_depend_on_the_weights(model, images, None, "unet", CAMS)
    deepest, size = list(levels(model.backbone))[-1], images.shape[1:3]
    try:
        assert ReceptiveFields(model.backbone, deepest, size).cells == model.backbone.output[deepest].shape[1:3]
    except UserError as error:
        assert family not in EXACT, error
