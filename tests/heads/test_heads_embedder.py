"""The embedder: vectors of length 1, and classes apart after a short training."""

import fakes
import keras
import numpy as np
import pytest

from visiontasks.heads.embedder import Embedder
from visiontasks.model import VisionModel
from visiontasks.registry.catalog import tasks_of
from visiontasks.retrieval.metrics import retrieval_scores


@pytest.mark.parametrize("loss", ["proxy_anchor", "proxy_nca", "triplet"])
def test_images_of_a_class_come_together(loss):
    keras.utils.set_random_seed(0)
    batch = fakes.images(24, (32, 32))
    model = VisionModel(fakes.backbone((32, 32)), Embedder(fakes.CLASSES, size=8, loss=loss))
    before = gap(model, batch)
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(batch, batch_size=24, epochs=12, verbose=0)
    embedding = model.predict(batch["image"], verbose=0)["embedding"]
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)
    assert gap(model, batch) > before + 0.2
    assert retrieval_scores(embedding, batch["label"])["map@r"] > 0.95


@pytest.mark.parametrize("loss", ["proxy_anchor", "proxy_nca"])
def test_a_step_of_adam_turns_proxies_by_a_hundred_times_its_rate(loss):
    """Kim et al. 2020, implementation details: proxies have a learning rate 100 times as large."""
    keras.utils.set_random_seed(0)
    model = VisionModel(fakes.backbone((32, 32)), Embedder(fakes.CLASSES, size=64, loss=loss))
    batch, proxies = fakes.images(12, (32, 32)), model.heads["embedder"].proxies
    before = keras.utils.normalize(np.array(proxies))
    model.compile(keras.optimizers.Adam(1e-3))
    model.train_on_batch(batch["image"], batch["label"])
    angles = np.arccos(np.sum(before * keras.utils.normalize(np.array(proxies)), axis=1))
    np.testing.assert_allclose(angles, 0.1, rtol=0.2)


def gap(model, batch):
    """By how much cosines within a class are above those between classes, in the mean."""
    embedding = model.predict(batch["image"], verbose=0)["embedding"]
    cosines, same = embedding @ embedding.T, batch["label"][:, None] == batch["label"]
    return cosines[same].mean() - cosines[~same].mean()


def test_equal_images_and_classes_that_occur_once_keep_the_triplet_loss_finite():
    keras.config.set_dtype_policy("mixed_float16")
    keras.utils.set_random_seed(0)
    model = VisionModel(fakes.backbone((32, 32)), Embedder(4, size=8, loss="triplet"))
    model.compile(keras.optimizers.SGD(0.1))
    images = np.repeat(fakes.images(2, (32, 32))["image"], 3, axis=0)  # distances of 0
    for labels in ([0, 0, 1, 2, 2, 3], [0, 1, 2, 3, -1, -1], [1, 1, 1, 1, 1, 1]):
        assert np.isfinite(model.train_on_batch(images, np.array(labels))).all()
    assert all(np.isfinite(np.array(weight)).all() for weight in model.weights)


def test_its_task_merges_views_and_scores_images():
    model = VisionModel(fakes.backbone((32, 32)), Embedder(fakes.CLASSES, size=4))
    (task,) = tasks_of(model).values()
    views = [{"embedding": np.float32([1, 0, 0, 0])}, {"embedding": np.float32([0, 1, 0, 0])}]
    np.testing.assert_allclose(task.merge(views, [])["embedding"], [0.5**0.5, 0.5**0.5, 0, 0], atol=1e-6)
    assert task.to_json(views[0]) == [1, 0, 0, 0]
