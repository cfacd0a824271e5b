"""Recipes: every slip is one error that names the key and the fix, before anything heavy is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from visiontasks import build
from visiontasks.errors import RecipeError
from visiontasks.recipe import reading as recipe

MINIMAL = "backbone: {name: unet_encoder}\nhead: {name: unet, classes: 2}\ndata: {train: {source: shapes}}\n"


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("# What it is.\n# More.\n" + MINIMAL)
    return str(file)


def test_reads_merges_and_writes_back(path, tmp_path):
    made = recipe.read(path, ["train.epochs=3", "train.optimizer.learning_rate=1e-4", "data.size=[64, 96]"])
    assert (made.name, made.train.epochs, made.data.size) == ("mine", 3, [64, 96])
    assert made.train.optimizer == {"name": "adamw", "learning_rate": 1e-4}
    (tmp_path / "again.yaml").write_text(made.to_yaml())
    assert recipe.read(str(tmp_path / "again.yaml")).replace(name="mine") == made


def test_another_part_by_name_drops_the_arguments_of_the_one_before():
    made = recipe.read("unet_seg", ["train.optimizer.name=sgd", "backbone.name=vgg16", "head.name=classifier"])
    assert made.train.optimizer == {"name": "sgd", "learning_rate": 2e-3}
    assert made.backbone == {"name": "vgg16", "weights": "imagenet"}
    assert made.head == {"name": "classifier"}


def test_later_epochs_replace_steps():
    assert recipe.read("unet_seg").train.steps > 0
    made = recipe.read("unet_seg", ["train.epochs=3"])
    assert (made.train.epochs, made.train.steps) == (3, None)


def test_an_argument_that_the_new_part_lacks_is_dropped():
    made = recipe.read("unet_seg", ["data.val.source=masks", "data.val.images=a", "data.val.masks=b"])
    assert made.data.val == {"source": "masks", "images": "a", "masks": "b"}


def test_heads_replace_head_and_a_folder_replaces_the_data():
    made = recipe.read("unet_seg", ["heads={a: {name: unet}, b: {name: tagger}}"], data={"train": {"source": "masks"}})
    assert made.head is None and list(made.parts) == ["a", "b"]
    assert made.data.train == {"source": "masks"} and made.data.val is None and made.data.batch == 8


@pytest.mark.parametrize(
    ("override", "texts"),
    [  # robustness items 56 and 57
        ("trian.epochs=5", ["trian", "'train'"]),
        ("train.epoch=5", ["train.epoch", "'epochs'"]),
        ("train.freeze.epoch=5", ["train.freeze.epoch", "'epochs'"]),
        ("train.epochs=many", ["train.epochs: expected a whole number of at least 1, got 'many'."]),
        ("train.epochs=true", ["train.epochs: expected a whole number of at least 1, got True."]),
        ("train.epochs=0", ["train.epochs: expected a whole number of at least 1, got 0."]),
        ("train.ema=1.5", ["train.ema: expected a share above 0 and below 1 or null, got 1.5."]),
        ("data.size=[256]", ["data.size", "[height, width]"]),
        ("data.resize=leterbox", ["data.resize", "'letterbox'"]),
        ("train.precision=fp16", ["train.precision", "mixed_float16"]),
        ("train.jit=maybe", ["train.jit: expected auto, true or false, got 'maybe'."]),
        ("train.devices=tpu", ["train.devices", "gpu"]),
        ("train.loss_weights={unett: 1}", ["train.loss_weights", "'unet'"]),
        ("backbone.name=resnet_50", ["backbone.name", "'resnet50'"]),
        ("backbone.wights=imagenet", ["backbone.wights", "'weights'"]),
        ("head.name=unt", ["head.name", "'unet'"]),
        ("head.filterz=[1]", ["head.filterz", "'filters'"]),
        ("head.dropout=high", ["head.dropout", "a share", "'high'"]),
        ("head.dropout=1.5", ["head.dropout", "a share from 0 to below 1", "1.5"]),
        ("head.classes=0", ["head.classes: expected names of the classes", "from 1 to 1000000, got 0."]),
        ("data.train.source=shape", ["data.train.source", "'shapes'"]),
        ("data.train.cuont=5", ["data.train.cuont", "'count'"]),
        ("data.augment=[{HorizontalFlop: {p: 1}}]", ["HorizontalFlop", "HorizontalFlip"]),
        ("train.optimizer.name=adamm", ["train.optimizer.name", "'adam'"]),
        ("train.optimizer.learning_rat=1", ["train.optimizer.learning_rat", "'learning_rate'"]),
        ("train.schedule.name=cosin", ["train.schedule.name", "'cosine'"]),
        ("train.schedule.warmup=1", ["train.schedule.warmup", "'warmup_epochs'"]),
        ("head.upsampling=nearest", ["head.upsampling", "transposed"]),
        ("head.loss=dyce", ["head.loss", "'dice'"]),
        ("head.loss={dice: much}", ["head.loss", "much"]),
        ("head.filters=[64, many]", ["head.filters", "many"]),
        ("head.classes=-3", ["head.classes: expected names of the classes", "from 1 to 1000000, got -3."]),
        ("head.classes=cat", ["head.classes: expected names of the classes", "got 'cat'."]),
        ("data.resize=crop", ["data.resize", "letterbox"]),
        ("data=null", ["data", "keys below it", "train"]),
        ("train.freeze=3", ["train.freeze", "epochs", "factor"]),
        ("train.loss_weights={unet: high}", ["train.loss_weights: expected {name: a number of at least 0}", "high"]),
        ("run.seed=-1", ["run.seed: expected a whole number from 0 to below 4294967296, got -1."]),
        ("run.seed=4294967296", ["run.seed: expected a whole number from 0 to below 4294967296"]),
        ("data.workers=1000", ["data.workers: expected a whole number from 0 to 256 or null"]),
        ("data.train.count=10000000", ["data.train.count: expected a whole number from 1 to 1000000"]),
        ("heads={'': {name: unet}}", ["heads: expected"]),
        ("[=1", ["expected key=value"]),
        ("head=3", ["head: expected {name: NAME, its arguments} or null, got 3."]),
        ("head.name=[]", ["head: expected {name: NAME, its arguments}"]),  # items 57 and 93
        ("backbone.name=[]", ["backbone: expected {name: NAME, its arguments}"]),
        ("heads={a: {name: []}}", ["heads: expected {name: {name: NAME, its arguments}}"]),
        ("data.train={source: []}", ["data.train: expected {source: NAME, its arguments}"]),
        ("train.optimizer.name=[]", ["train.optimizer: expected {name: NAME, its arguments}"]),
        ("train.schedule.name={}", ["train.schedule: expected {name: NAME, its arguments}"]),
        ("train.optimizer.learning_rate=0", ["train.optimizer.learning_rate: expected a number above 0, got 0."]),
        (
            "train.optimizer.learning_rate=-1.0",
            ["train.optimizer.learning_rate: expected a number above 0, got -1.0."],
        ),
        ("train.optimizer.learning_rate=.nan", ["train.optimizer.learning_rate: expected a number above 0, got nan."]),
        (
            "train.optimizer.learning_rate=[1e-3]",
            ["train.optimizer.learning_rate: expected a number above 0, got [0.001]."],
        ),
        ("train.schedule.warmup_epochs=-1", ["train.schedule.warmup_epochs: expected a number of at least 0, got -1."]),
        ("train.schedule.final=2", ["train.schedule.final: expected a share from 0 to 1, got 2."]),
        ("data.batch=eight", ["data.batch: expected a whole number of at least 1, got 'eight'."]),
        ("data.size=[64, 0]", ["data.size: expected [height, width] of 1 to 65536 pixels, got [64, 0]."]),
        (
            "data.sizes=[64, 64]",
            ["data.sizes: expected a list, each [height, width] of 1 to 65536 pixels, got [64, 64]."],
        ),
        ("data.augment=3", ["data.augment: expected a list, got 3."]),
        ("train.freeze={epochs: 1, level: 2}", ["train.freeze.level: expected a level such as C3 or null, got 2."]),
        ("run.dir=[]", ["run.dir: expected a text, got []."]),
        ("weights=3", ["weights: expected a text or null, got 3."]),
        ("epochs", ["'epochs'", "key=value"]),
    ],
)
def test_a_slip_is_an_error_that_names_the_key_and_the_near_name(override, texts):
    with pytest.raises(RecipeError) as error:
        build.check(recipe.read("unet_seg", [override]))
    for text in texts:
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("backbone: {name: a}\n", "either head"),
        ("backbone: {name: a}\nhead: {name: b}\nheads: {x: {name: b}}\n", "either head"),
        ("backbone: {name: a}\nheads: {}\n", "at least one head"),
        ("head: {name: b}\n", "backbone: missing"),
        ("backbone: resnet\nhead: {name: b}\n", "backbone: expected {name: NAME, its arguments}, got 'resnet'"),
        ("- 1\n- 2\n", "expected backbone"),
        (MINIMAL + "train: 3\n", "train: expected keys below it"),
        (MINIMAL + "train: []\n", "train: expected keys below it"),
        (MINIMAL + "run: [1]\n", "run: expected keys below it"),
        (MINIMAL.replace("{train: {source: shapes}}", "3"), "data: expected keys below it"),
        (MINIMAL.replace("{source: shapes}", "3"), "data.train: expected {source"),
        (MINIMAL.replace("{name: unet_encoder}", "[1]"), "backbone: expected {name"),
        (MINIMAL + "1: 2\n", "1: unknown key"),
        ("backbone: {name: a\n", "recipe"),
        ("backbone: !!python/object/apply:os.system ['echo hacked']\nhead: {name: b}\n", "recipe"),  # item 76
    ],
)
def test_a_wrong_file_is_an_error(text, says, tmp_path):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(RecipeError, match=says):
        recipe.read(str(tmp_path / "bad.yaml"))


def test_item_90_a_file_of_bytes_is_named_and_one_of_utf_16_is_read(tmp_path):
    (tmp_path / "bad.yaml").write_bytes(bytes(range(255, 0, -1)))
    with pytest.raises(RecipeError, match=r"recipe: expected a recipe in YAML .*bad\.yaml: "):
        recipe.read(str(tmp_path / "bad.yaml"))
    (tmp_path / "good.yaml").write_bytes(MINIMAL.encode("utf-16"))
    assert recipe.read(str(tmp_path / "good.yaml")).head == {"name": "unet", "classes": 2}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]\n" for n in range(9)), "aliases"),
        ("".join(f'a{n}: "{f"${{a{n - 1}}}" * 10}"\n' for n in range(9)), "at most 20 references"),
        ("[" * 3000, "recursion"),
        ("data: {batch: " + "9" * 5000 + "}", "4300"),
        ("data: {batch: !!int ''}", "expected a recipe in YAML"),
        ("5", "has no keys"),
        ("${x", "has no keys"),
        ('head: "${x"', "mine"),
        ('head: "' + "${" * 20 + '"', "mine"),
    ],
    ids=["aliases", "references", "deep", "digits", "tag", "number", "text", "reference", "open references"],
)
def test_item_88_a_file_that_grows_or_nests_without_end_is_an_error(text, says, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(RecipeError, match=says):
        recipe.read(str(tmp_path / "mine.yaml"))


def test_an_unknown_recipe_lists_the_choices():
    with pytest.raises(RecipeError, match=r"Did you mean 'unet_seg'\? Choices: anomaly, .*unet_seg"):
        recipe.read("unet_sge")


def run(*words):
    code = (
        "import sys, visiontasks.train as t\n"
        "try: t.main(sys.argv[1:])\n"
        "except SystemExit as e: code = e.code\n"
        "heavy = [m for m in ('keras', 'tensorflow', 'jax', 'torch') if m in sys.modules]\n"
        "print('HEAVY', heavy, 'CODE', code)\n"
    )
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--help"], 0, "unet_seg"),
        (["recipe=unet_seg", "train.epoch=3"], 2, "epochs"),
        (["recipe=unet_seg", "train.optimizer.name=adamm"], 2, "adam"),
        (["recipe=nothing"], 2, "Choices"),
        (["recipe=unet_seg", "data=/no/such/folder"], 2, "/no/such/folder"),
        ([], 2, "recipe="),
    ],
)
def test_help_and_errors_come_before_keras_is_imported(words, code, says):
    done = run(*words)
    assert f"HEAVY [] CODE {code}" in done.stdout
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_package_is_light():
    code = "import sys, visiontasks; print([m for m in ('keras', 'tensorflow', 'cv2', 'grain') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_recipes_are_found_beside_the_package():
    assert Path(recipe.RECIPES).is_dir() and "imagenet" in recipe.available()


def test_the_validation_set_of_a_recipe_goes_with_its_training_set():
    other = ("data.train.source=masks", "data.train.images=A", "data.train.masks=B")
    assert recipe.read("unet_seg", other).data.val is None
    assert recipe.read("unet_seg", ("data.train=[{source: folder, root: A}, {source: csv, path: B}]",)).data.val is None
    assert recipe.read("unet_seg", ("data.train={source: shapes, count: 9}",)).data.val["source"] == "shapes"
    given = (*other, "data.val.source=masks", "data.val.images=C", "data.val.masks=D")
    assert recipe.read("unet_seg", given).data.val == {"source": "masks", "images": "C", "masks": "D"}
