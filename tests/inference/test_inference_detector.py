"""A detector gives the boxes that another model looks at, one by one."""

import fakes
import keras
import numpy as np
import pytest

import visiontasks as vt
from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.shapes import Shapes
from visiontasks.errors import UserError
from visiontasks.evaluation.evaluator import evaluate
from visiontasks.heads.classifier import Classifier
from visiontasks.heads.pose_heatmap import PoseHeatmap
from visiontasks.heads.retinanet import RetinaNet
from visiontasks.inference.prediction import Prediction
from visiontasks.registry.catalog import tasks_of

SIZE = (64, 48)
LETTERBOX = {"size": [32, 32], "resize": "letterbox"}


@pytest.fixture(scope="module")
def pose():
    keras.utils.set_random_seed(0)
    head = PoseHeatmap(("bar", "disc"), skeleton=fakes.SKELETON, filters=8, loss="softmax")
    preprocess = {"size": list(SIZE), "resize": "object"}
    return vt.VisionModel(fakes.backbone(SIZE, levels=(1, 2, 3, 4)), head, preprocess=preprocess)


@pytest.fixture(scope="module")
def detector():
    head = RetinaNet(fakes.CLASSES, filters=8, convs=1, levels=["C3"])
    made = vt.Predictor(vt.VisionModel(fakes.backbone((32, 32)), head, preprocess=LETTERBOX))

    made.stream = finding(made, found_in)
    return made


def finding(detector, function):
    """A stream with what a function of an image's size finds, in place of what the network does."""

    def stream(samples, **options):
        for sample in samples:
            found = dict(zip(("boxes", "scores", "classes"), function(*sample.image.shape[:2]), strict=True))
            yield Prediction(sample, detector.tasks, {"retinanet": found})

    return stream


def found_in(height, width):
    """A disc, a ring, a bar, and a disc with a low score."""
    boxes = [[4, 4, width / 2, height - 4], [1, 1, 9, 9], [width / 2, 8, width, height], [0, 0, 5, 5]]
    return np.float32(boxes), np.float32([0.9, 0.8, 0.5, 0.1]), np.int32([0, 2, 1, 0])


def test_each_detection_of_a_class_of_the_model_is_looked_at(pose, detector):
    predictor = vt.Predictor(pose, detector=detector)
    images = [np.random.default_rng(n).integers(0, 256, (80, 100 + n, 3), np.uint8) for n in range(3)]
    for image, prediction in zip(images, predictor(images, batch=4), strict=True):
        # disc and bar, which are numbers 1 and 0 here; neither the ring nor the low score
        assert sorted(prediction.classes.tolist()) == [0, 1] and prediction.keypoints.shape == (2, 5, 3)
        for row, kind in enumerate(prediction.classes):
            box = [4, 4, image.shape[1] / 2, 76] if kind == 1 else [image.shape[1] / 2, 8, image.shape[1], 80]
            np.testing.assert_allclose(prediction.boxes[row], box)
            # as the model sees that box alone
            window = predictor.preprocess.placement(image.shape[:2], box)
            outputs = pose.predict(window.place_image(image)[None], verbose=0)
            expected = window.restore_points(outputs["keypoints"][0, 0, :, :2])
            np.testing.assert_allclose(prediction.keypoints[row, :, :2], expected, atol=1e-2)
        assert prediction.scores[0] >= prediction.scores[1]
        assert prediction.draw().dtype == np.uint8 and len(prediction.to_json()["pose_heatmap"]) == 2
    mirrored = predictor(images[0], flip=True)
    assert mirrored.boxes.shape == (2, 4)


def test_an_image_without_detections_has_no_people(pose, detector, monkeypatch):
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)
    monkeypatch.setattr(detector, "stream", finding(detector, lambda height, width: nothing))
    found = vt.Predictor(pose, detector=detector)(np.zeros((40, 50, 3), np.uint8))
    assert found.boxes.shape == (0, 4) and found.keypoints.shape == (0, 5, 3)
    assert found.to_json() == {"pose_heatmap": []}


def test_what_cannot_detect_is_refused(pose, detector):
    kinds = vt.VisionModel(fakes.backbone((32, 32)), Classifier(fakes.CLASSES), preprocess=LETTERBOX)
    with pytest.raises(UserError, match=r"^detector: expected a model that predicts boxes"):
        vt.Predictor(pose, detector=vt.Predictor(kinds))
    with pytest.raises(UserError, match=r"^detector: expected none, because this model finds the objects itself"):
        vt.Predictor(kinds, detector=detector)
    head = PoseHeatmap(("dog",), skeleton=fakes.SKELETON, filters=8)
    dogs = vt.VisionModel(fakes.backbone(SIZE), head, preprocess={"size": list(SIZE), "resize": "object"})
    with pytest.raises(UserError, match=r"^detector: expected one that detects dog, got disc, bar, ring"):
        vt.Predictor(dogs, detector=detector)
    with pytest.raises(UserError, match="tile: .*give a detector"):
        vt.Predictor(pose)(np.zeros((40, 50, 3), np.uint8), tile=32)


def test_mirrored_views_need_to_know_left_and_right():
    head = PoseHeatmap(("bar",), skeleton={"names": ["left_eye", "tail"]}, filters=8)
    model = vt.VisionModel(fakes.backbone(SIZE), head, preprocess={"size": list(SIZE), "resize": "object"})
    image = np.zeros((40, 50, 3), np.uint8)
    assert vt.Predictor(model)(image).keypoints.shape == (1, 2, 3)
    with pytest.raises(UserError, match="flip: .*left and right are not known: left_eye, tail"):
        vt.Predictor(model)(image, flip=True)


def test_an_evaluation_looks_at_what_the_detector_finds(detector):
    """As many images as the source has, not objects; their people are scored together."""
    head = PoseHeatmap(6, skeleton=fakes.SKELETON, filters=8)  # of numbers, not of names
    pose = vt.VisionModel(fakes.backbone(SIZE), head, preprocess={"size": list(SIZE), "resize": "object"})
    source = Shapes(3, size=(64, 64))
    loader = Loader(source, fields=("classes", "boxes", "keypoints"), size=SIZE, batch=4, resize="object", workers=0)
    seen, predictor = [], vt.Predictor(pose, detector=detector)
    found = evaluate(
        pose, loader, tasks_of(pose), predictor=predictor, on_prediction=lambda sample, prediction: seen.append(sample)
    )
    assert [sample.id for sample in seen] == ["shapes/0/0", "shapes/0/1", "shapes/0/2"] and len(loader.source) > 3
    assert np.isfinite(found.metrics["keypoint_ap"])


def test_heat_maps_of_every_detection_are_drawn(pose, detector):
    predictor = vt.Predictor(pose, detector=detector)
    image = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
    for flip in (False, True):  # mirrored ones are not
        prediction = predictor(image, flip=flip)
        assert len(prediction.maps) == 2
        left, top, right, bottom = prediction.maps[0].window
        assert left < 4 and right > 50 and top < 4 and bottom > 76  # around the first one's box
        assert prediction.draw(maps=True).shape[1] > 1.9 * prediction.draw().shape[1]
    alone = vt.Predictor(pose)(image, flip=True)
    assert len(alone.maps) == 1 and len(alone.scores) <= 1  # of whatever both views say, one object
