"""Features of a small network against its own outputs, and their file."""

import os

import cv2
import fakes
import keras
import numpy as np
import pytest

from visiontasks.data.sources.folder import Folder
from visiontasks.errors import DataError, UserError
from visiontasks.geometry import Placement
from visiontasks.preprocess import Preprocess
from visiontasks.retrieval.features import Extractor, Features, image_features, normalized, stamp_of
from visiontasks.retrieval.reading import labeled_images

SIZE = (32, 32)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return fakes.backbone(SIZE)


@pytest.fixture
def folder(tmp_path):
    """Class folders in two splits, images of several sizes, one of them broken."""
    rng = np.random.default_rng(0)
    for number in range(9):
        path = tmp_path / "data" / ("val" if number > 5 else "train") / ("cat", "dog")[number % 2] / f"é {number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (40 + number, 60, 3), dtype=np.uint8)
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    (tmp_path / "data" / "train" / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no image")
    return tmp_path / "data"


@pytest.mark.parametrize(("tap", "resize"), [(None, "crop"), ("C2", "letterbox")])
def test_a_vector_is_the_mean_of_the_tap_over_its_length(network, folder, tap, resize):
    found = image_features(network, folder, tap, Preprocess(SIZE, resize), batch=4)
    assert len(found) == 9 and found.names == ("cat", "dog") and found.labeled
    for path, label, split, vector in zip(found.paths, found.labels, found.splits, found.vectors, strict=True):
        image = cv2.imread(path)[..., ::-1]
        canvas = Placement(image.shape[:2], SIZE, resize).place_image(np.ascontiguousarray(image))
        mean = keras.ops.convert_to_numpy(network(canvas[None])[tap or "C3"])[0].mean(axis=(0, 1))
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
        assert f"/{split}/{found.names[label]}/" in path
    assert (found.splits == "val").sum() == 3


def test_one_image_of_any_size_has_the_vector_that_it_has_in_the_folder(network, folder):
    extractor = Extractor(network)
    found = image_features(extractor, folder / "val", batch=2)
    image = cv2.imread(found.paths[0])[..., ::-1]
    np.testing.assert_allclose(extractor.of_image(np.ascontiguousarray(image)), found.vectors[0], atol=1e-6)
    assert found.splits.tolist() == [""] * 3


def test_what_cannot_be_embedded_is_told(network, tmp_path):
    with pytest.raises(UserError, match="tap: this network has no output 'C4'.*C1, C2, C3"):
        Extractor(network, "C4")
    with pytest.raises(UserError, match="preprocess: expected Preprocess"):
        Extractor(fakes.backbone((None, None)))
    with pytest.raises(DataError, match="source: found no image"):
        image_features(network, tmp_path)
    np.testing.assert_array_equal(normalized(np.array([[3.0, 4.0], [0.0, 0.0]])), np.float32([[0.6, 0.8], [0, 0]]))


def test_a_file_comes_back_and_a_damaged_one_is_told(network, folder, tmp_path):
    found, path = image_features(network, folder), tmp_path / "features.npz"
    found.save(path, "one")
    again = Features.load(path, "one")
    for name in ("vectors", "paths", "labels", "splits"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert again.names == found.names and Features.load(path, "two") is None
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="path: .*damaged"):
        Features.load(path)
    np.savez(path, vectors=np.array([{}], object))
    with pytest.raises(UserError, match="damaged"):  # nothing is unpickled
        Features.load(path)


def test_a_stamp_tells_changed_images_labels_and_networks(folder):
    def stamp(network="a", **arguments):
        source = Folder(str(folder / "train"), **arguments)
        return stamp_of(source, [""] * len(source), {"backbone": network})

    first = stamp()
    assert stamp() == first != stamp("b") and stamp(names=["dog", "cat"]) != first
    one = next((folder / "train" / "dog").iterdir())
    os.utime(one, ns=(1, 1))
    assert stamp() != first


def test_labels_come_from_class_folders_alone(folder):
    source, splits, _ = labeled_images(folder)
    assert source.names["label"] == ("cat", "dog") and splits.count("val") == 3 and splits.count("train") == 7
    source, splits, _ = labeled_images(folder, labels=False)
    assert not source.names and len(source) == 10 and set(splits) == {""}
    assert not labeled_images(folder / "train" / "cat")[0].fields
    assert len(labeled_images(f"{folder}/*/dog/*.png")[0]) == 4


def test_of_a_model_with_an_embedder_the_features_are_its_embeddings(folder):
    from visiontasks.heads.classifier import Classifier
    from visiontasks.heads.embedder import Embedder
    from visiontasks.model import VisionModel

    heads = {"kind": Classifier(2), "near": Embedder(2, size=5)}
    model = VisionModel(fakes.backbone(SIZE), heads, preprocess={"size": SIZE, "resize": "crop"})
    found = image_features(model, folder, batch=4)
    assert found.vectors.shape == (9, 5) and Extractor(model).tap == "near"
    image = cv2.imread(found.paths[1])[..., ::-1]
    canvas = Placement(image.shape[:2], SIZE, "crop").place_image(np.ascontiguousarray(image))
    expected = model.predict(canvas[None], verbose=0)["near"]["embedding"][0]
    np.testing.assert_allclose(found.vectors[1], expected, atol=1e-5)
    assert image_features(model, folder, "C3").vectors.shape == (9, 12)
