"""`Predictor` and `Preprocess`: a saved model with all that it needs to predict for any image."""

import fakes
import keras
import numpy as np
import pytest

import visiontasks as vt
from visiontasks.data.images import write_image
from visiontasks.data.sources.source import Source
from visiontasks.errors import DataError, UserError
from visiontasks.heads.classifier import Classifier
from visiontasks.heads.unet import UNet
from visiontasks.preprocess import Preprocess
from visiontasks.sample import Sample
from visiontasks.training.run_directory import RunDirectory

LETTERBOX = {"size": [32, 32], "resize": "letterbox"}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    heads = {"regions": UNet(["ground", "a", "b"], filters=[4, 4, 4]), "kind": Classifier(fakes.CLASSES)}
    return vt.VisionModel(fakes.backbone((32, 32)), heads, preprocess=LETTERBOX)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in ((40, 60), (90, 30), (32, 32))]


def test_a_saved_model_predicts_in_the_images_own_pixels(model, images, tmp_path):
    model.save(tmp_path / "m.keras")
    predictor = vt.load(tmp_path / "m.keras")
    predictions = predictor(images)
    canvases = np.stack([Preprocess(**LETTERBOX).placement(i.shape[:2]).place_image(i) for i in images])
    expected = model.predict(canvases, verbose=0)
    for row, (image, prediction) in enumerate(zip(images, predictions, strict=True)):
        assert list(prediction) == ["regions", "kind"]
        assert prediction["regions"]["mask"].shape == image.shape[:2]
        np.testing.assert_array_equal(prediction["kind"]["scores"], expected["kind"]["scores"][row])
        best = max(prediction.to_json()["kind"], key=lambda one: one["score"])
        assert best["name"] == fakes.CLASSES[expected["kind"]["scores"][row].argmax()]
        assert prediction.draw().dtype == np.uint8
    assert predictions[0].names == {"regions": ("ground", "a", "b"), "kind": fakes.CLASSES}
    assert predictions[0].attachments()["regions"]["mask.png"].startswith(b"\x89PNG")
    np.testing.assert_array_equal(
        predictions[2]["regions"]["mask"], expected["regions"]["probabilities"][2].argmax(axis=-1)
    )


def test_paths_and_arrays_and_a_run_s_folder_give_the_same(model, images, tmp_path):
    run = RunDirectory.create(tmp_path / "runs", "test")
    run.recipe.write_text("")
    model.save(run.best)
    write_image(tmp_path / "a.png", images[0])
    predictor = vt.load(tmp_path / "runs")
    one, other = predictor(tmp_path / "a.png"), predictor(images[0])
    for head in one:
        for key, value in one[head].items():
            np.testing.assert_array_equal(value, other[head][key])
    assert one.sample.path == str(tmp_path / "a.png") and predictor([]) == []
    with pytest.raises(UserError, match="gone.keras does not exist"):
        vt.load(tmp_path / "gone.keras")
    with pytest.raises(ValueError, match="expected uint8"):
        predictor(images[0] / 255)
    with pytest.raises(UserError, match="overlap: expected a share"):
        predictor(images[0], overlap=1)
    with pytest.raises(UserError, match="tile: head 'kind' predicts for the whole image"):
        predictor(images[0], tile=16)


def test_the_arrays_of_the_only_head_are_attributes(images):
    model = vt.VisionModel(fakes.backbone((32, 32)), Classifier(fakes.CLASSES))
    prediction = vt.Predictor(model)(images[0])
    assert prediction.names == fakes.CLASSES and prediction.scores is prediction["classifier"]["scores"]
    with pytest.raises(AttributeError, match="'boxes' is not predicted; the head gives scores"):
        prediction.boxes  # noqa: B018


class Blocks(Source):
    fields, names = frozenset({"label"}), {"label": fakes.CLASSES}

    def __init__(self):
        self.batch = fakes.images(8)

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return Sample(self.batch["image"][index], label=self.batch["label"][index])

    def describe(self, index):
        return str(index)


def blocks(size, resize):
    train, _ = vt.load_data((Blocks(), Blocks()), size=size, batch=4, resize=resize, workers=0)
    return train


def test_fit_keeps_how_its_loader_preprocesses(tmp_path):
    train = blocks((16, 24), "letterbox")
    model = vt.VisionModel(fakes.backbone(), Classifier(fakes.CLASSES))
    with pytest.raises(ValueError, match="preprocess: the model takes images of any size"):
        vt.Predictor(model)
    model.compile()
    model.fit(train, verbose=0)
    model.save(tmp_path / "m.keras")
    assert vt.load(tmp_path / "m.keras").preprocess == Preprocess((16, 24), "letterbox")
    again = vt.load_model(tmp_path / "m.keras")
    again.fit(blocks((32, 32), "stretch"), verbose=0)  # the last training counts
    assert Preprocess.of(again) == Preprocess((32, 32), "stretch")


@pytest.mark.parametrize("classes", [fakes.CLASSES[::-1], ("a", "b", "c"), 2, 4])
@pytest.mark.parametrize("how", ["fit", "validation_data", "evaluate"])
def test_a_loader_of_other_classes_is_an_error(how, classes):
    model = vt.VisionModel(fakes.backbone((16, 24)), Classifier(classes))
    model.compile()
    loader, images = blocks((16, 24), "stretch"), fakes.images(2, (16, 24))["image"]
    with pytest.raises(DataError, match=r"model's class names of 'label', .*, got \['disc', 'bar', 'ring'\].*names="):
        if how == "validation_data":
            model.fit(images, np.zeros(2, "int32"), validation_data=loader, verbose=0)
        else:
            getattr(model, how)(loader, verbose=0)


@pytest.mark.filterwarnings("error::UserWarning")  # a Loader shuffles itself, and has no length
def test_a_loader_fits_a_head_with_a_number_of_classes_and_one_without_names_fits_any():
    model = vt.VisionModel(fakes.backbone((16, 24)), Classifier(3))
    model.compile()
    loader = blocks((16, 24), "stretch")
    model.fit(loader, verbose=0, epochs=2)
    loader.names = {}
    model.fit(loader, verbose=0)


def test_a_source_without_a_constructor_takes_no_arguments():
    class Plain(Source):
        __len__ = __getitem__ = describe = None

    assert not Plain().report
    with pytest.raises(TypeError):
        Plain(1)


def test_a_model_of_arrays_stretches_to_its_input():
    model = vt.VisionModel(fakes.backbone((32, 48)), Classifier(fakes.CLASSES))
    assert model.get_config()["preprocess"] is None and Preprocess.of(model) == Preprocess((32, 48), "stretch")


def test_images_of_another_size_than_the_networks_are_an_error():
    model = vt.VisionModel(fakes.backbone((16, 24)), Classifier(fakes.CLASSES))
    message = r"expected \[16, 24\], the size that the network was made for; got \[32, 24\]\."
    with pytest.raises(UserError, match=f"^preprocess: {message}"):
        vt.Predictor(model, Preprocess((32, 24)))
    with pytest.raises(UserError, match=f"^loader: {message}"):
        vt.score(model, blocks((32, 24), "stretch"))
    model.preprocess = {"size": [32, 24]}
    with pytest.raises(UserError, match=f"^preprocess: {message}"):
        vt.Predictor(model)
    of_any = vt.VisionModel(fakes.backbone(), Classifier(fakes.CLASSES))
    assert vt.Predictor(of_any, Preprocess((32, 24)))(np.zeros((9, 9, 3), np.uint8)).keys() == {"classifier"}


@pytest.mark.parametrize(
    "config", [{"size": [320]}, {"size": [0, 4]}, {"size": [4.5, 4]}, {"size": [4, 4], "resize": "x"}]
)
def test_wrong_preprocessing_is_an_error(config):
    with pytest.raises(ValueError, match="size: expected|resize: expected"):
        Preprocess(**config)
    with pytest.raises(ValueError, match="size: expected|resize: expected"):
        vt.VisionModel(fakes.backbone(), Classifier(3), preprocess=config)


def test_no_head_has_a_name_of_predictions_json():
    with pytest.raises(ValueError, match="'path'. cannot name heads"):
        vt.VisionModel(fakes.backbone(), {"path": Classifier(3)})


def test_losses_and_predictions_of_one_pass_are_those_of_two(model):
    """With unlabeled and padded rows: what `evaluate` and `predict` give."""
    model.compile()
    batch = {key: value for key, value in fakes.images(8).items() if key in ("image", "label", "mask")}
    batch["label"][[1, 6]] = -1
    batch["mask"][6:] = 255
    sums = {}
    for rows in (slice(0, 4), slice(4, 8)):
        part = {key: value[rows] for key, value in batch.items()}
        predictions, losses = model.validate_on_batch(part)
        sums = {name: sums.get(name, 0) + pair for name, pair in losses.items()}
        expected = model.predict(part["image"], verbose=0)
        for head in expected:
            for key, value in expected[head].items():
                np.testing.assert_allclose(predictions[head][key], value, atol=1e-6)
    shown = model.evaluate(batch, batch_size=4, verbose=0, return_dict=True)
    assert model.mean_losses(sums) == pytest.approx(shown, rel=1e-5)
    trained = model.train_on_batch(part, return_dict=True)["loss"]
    assert np.isfinite(trained) and model.validate_on_batch(part)[0]["kind"]["scores"].shape == (4, 3)
