"""TensorFlow Datasets: a tiny set is prepared here, offline, in the catalog's own format."""

import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from visiontasks.data.load import load_sources
from visiontasks.data.sources.tfds import Tfds, _from_one
from visiontasks.errors import DataError
from visiontasks.keras_backend import installed

pytestmark = pytest.mark.skipif(
    not (installed("tensorflow") and installed("tensorflow_datasets")), reason="sets are prepared with TensorFlow"
)

BUILD = """
import sys
import numpy as np
import tensorflow_datasets as tfds

class TinyPets(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager):
        return {"train": self._generate_examples(6), "test": self._generate_examples(3)}

    def _generate_examples(self, count):
        for i in range(count):
            rng = np.random.default_rng(i)
            yield str(i), {
                "image": np.full((20, 30, 3), 10 * i, np.uint8),
                "label": i % 2,
                "segmentation_mask": rng.integers(1, 4, (20, 30, 1), dtype=np.uint8),
            }

class TinyBoxes(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        objects = {
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "is_crowd": np.bool_,
            "area": np.int64,
        }
        features = {"image": tfds.features.Image(), "objects": tfds.features.Sequence(objects)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(3):
            box = tfds.features.BBox(ymin=0.1, xmin=0.2, ymax=0.6, xmax=0.4)
            whole = tfds.features.BBox(ymin=0.0, xmin=0.0, ymax=1.0, xmax=1.0)
            flat = tfds.features.BBox(ymin=0.5, xmin=0.0, ymax=0.5, xmax=1.0)
            objects = [
                {"bbox": box, "label": 1, "is_crowd": False, "area": 7},
                {"bbox": flat, "label": 1, "is_crowd": False, "area": 9},
                {"bbox": whole, "label": 0, "is_crowd": True, "area": 600},
            ]
            yield str(i), {"image": np.full((20, 30, 3), 10 * i, np.uint8), "objects": objects if i else []}

class TinyTexts(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"text": tfds.features.Text()}))

    def _split_generators(self, manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield "0", {"text": "x"}

TinyPets(data_dir=sys.argv[1], file_format="array_record").download_and_prepare()
TinyBoxes(data_dir=sys.argv[1], file_format="array_record").download_and_prepare()
TinyPets(data_dir=sys.argv[1] + "/records", file_format="tfrecord").download_and_prepare()
TinyTexts(data_dir=sys.argv[1], file_format="array_record").download_and_prepare()
"""
NAMES = ["pet", "ground", "edge"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    script = folder / "build_tiny.py"
    script.write_text(BUILD)
    # a process of its own: preparing a set imports TensorFlow
    run = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-3000:]
    return str(folder)


def test_a_recipe_s_entry_is_read(folder):
    entry = {"source": "tfds", "dataset": "tiny_pets", "data_dir": folder, "download": False}
    train, val = load_sources({"train": entry, "val": {**entry, "split": "test"}}, ("label",), 0.1, 0)
    assert (len(train), len(val)) == (6, 3) and train.names["label"] == val.names["label"] == ("cat", "dog")


def test_labels_and_masks_as_they_were_written(folder):
    source = Tfds("tiny_pets", data_dir=folder, mask_names=NAMES, mask_offset=-1, download=False)
    assert len(source) == 6 and source.fields == {"label", "mask"}
    assert source.names == {"label": ("cat", "dog"), "mask": tuple(NAMES)}
    seen = set()
    for index in range(6):
        sample = source[index]
        number = int(sample.image[0, 0, 0]) // 10  # TFDS shuffles what it writes
        seen.add(number)
        assert (sample.image == 10 * number).all() and sample.label == number % 2
        written = np.random.default_rng(number).integers(1, 4, (20, 30, 1), dtype=np.uint8)
        np.testing.assert_array_equal(sample.mask, written[..., 0].astype(int) - 1)
        assert sample.id == source.describe(index) == f"tiny_pets/train/{index}"
    assert seen == set(range(6))


def test_objects(folder):
    source = Tfds("tiny_boxes", data_dir=folder, download=False)
    assert source.fields == {"boxes", "classes", "tags", "label"}
    assert source.names == dict.fromkeys(("classes", "tags", "label"), ("cat", "dog"))
    for index in range(3):
        sample = source[index]
        if sample.image[0, 0, 0] == 0:
            assert sample.boxes.shape == (0, 4) and sample.label == -1 and sample.tags.tolist() == [0, 0]
            continue
        np.testing.assert_allclose(sample.boxes, [[6, 2, 12, 12], [0, 0, 30, 20]], atol=1e-5)
        assert sample.classes.tolist() == [1, 0] and sample.ignored.tolist() == [False, True]
        assert sample.areas.tolist() == [7, 600] and sample.label == 1 and sample.tags.tolist() == [1, 1]
    assert source.report.count("box without extent, skipped") == 2


def test_coordinates_from_one_as_the_source_voc_moves_them(folder):
    """TFDS hands on the XML's numbers: xmin 6 of a box whose first pixel is the sixth, at 5."""
    source = Tfds("tiny_boxes", data_dir=folder, download=False, one_based=True)
    sample = next(source[index] for index in range(3) if len(source[index].boxes))
    np.testing.assert_allclose(sample.boxes, [[5, 1, 12, 12], [0, 0, 30, 20]], atol=1e-5)
    assert [_from_one(name) for name in ("voc", "voc/2007", "voc:5.0.0", "coco/2017", "vocal")] == [True] * 3 + [
        False
    ] * 2


def test_slices_and_label_alone(folder):
    source = Tfds("tiny_pets", split="train[:50%]", data_dir=folder)
    assert len(source) == 3 and source.fields == {"label"} and source[0].mask is None


def test_values_below_the_offset_are_void(folder):
    source = Tfds("tiny_pets", data_dir=folder, mask_names=["ground", "edge"], mask_offset=-2)
    assert set(np.unique(source[0].mask)) == {0, 1, 255}


def test_item_50_values_without_a_class(folder):
    source = Tfds("tiny_pets", data_dir=folder, mask_names=NAMES)
    with pytest.raises(DataError, match="expected class indices below 3 after adding mask_offset=0, got 3"):
        source[0]


def test_pickles_for_worker_processes(folder):
    source = Tfds("tiny_pets", data_dir=folder)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[2].image, source[2].image)


def test_without_tensorflow_a_prepared_set_is_read_and_another_says_what_prepares_it(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("visiontasks.data.sources.tfds.installed", lambda module: module != "tensorflow")
    assert len(Tfds("tiny_pets", data_dir=folder, mask_names=NAMES)) == 6
    with pytest.raises(DataError, match="data_dir: expected a prepared set, got none of 'mnist'"):
        Tfds("mnist", data_dir=tmp_path)


def test_reading_imports_no_tensorflow(folder):
    script = f"""
        import sys
        from visiontasks.data.sources.tfds import Tfds
        assert "tensorflow_datasets" not in sys.modules
        source = Tfds("tiny_pets", data_dir={folder!r}, mask_names={NAMES!r}, mask_offset=-1)
        assert source[1].mask.shape == (20, 30)
        assert "tensorflow" not in sys.modules and "keras" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": "tiny_petz"}, "TensorFlow Datasets has no 'tiny_petz'"),
        ({"dataset": "oxford_iit_pet"}, "Did you mean 'oxford_iiit_pet'"),
        ({"dataset": "tiny_pets", "split": "bogus"}, "split 'bogus': Unknown split"),
        ({"dataset": "tiny_texts"}, "expected features image and label, segmentation_mask or objects, got .*: text"),
    ],
)
def test_wrong_arguments(folder, arguments, message):
    with pytest.raises(DataError, match=message):
        Tfds(data_dir=folder, download=False, **arguments)


def test_a_set_prepared_in_another_format_says_so(folder):
    with pytest.raises(DataError, match="array_record"):
        Tfds("tiny_pets", data_dir=folder + "/records", download=False)
