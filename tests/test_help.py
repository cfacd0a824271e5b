"""`--help`: a first screen, then pages of topics, parts and keys; without Keras."""

import re
import subprocess
import sys

import pytest

import visiontasks
from visiontasks import evaluate, help, predict, train
from visiontasks.data.albumentations_catalog import transforms
from visiontasks.errors import UserError
from visiontasks.recipe import reading, schema
from visiontasks.registry import catalog


def run(*words):
    code = (
        "import sys\nfrom visiontasks.__main__ import main\nsys.argv = ['visiontasks', *sys.argv[1:]]\n"
        "try:\n    main()\nfinally:\n"
        "    print('HEAVY', sorted({'keras', 'tensorflow', 'cv2', 'grain', 'rich'} & set(sys.modules)))\n"
    )
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--help"], 0, "train      train a recipe"),
        ([], 0, "visiontasks COMMAND"),
        (["train", "--help"], 0, "unet_seg"),
        (["train"], 2, "recipe=NAME"),
        (["train", "recipe=unet_seg", "--help"], 0, "recipe=NAME"),
        (["evaluate", "--help"], 0, "run=DIR"),
        (["predict", "--help"], 0, "source="),
        (["backbones", "--help"], 0, "size=H,W"),
        (["--help", "heads"], 0, "retinanet"),
        (["evaluate", "--help", "keys"], 0, "train.epochs"),
        (["train", "help", "transforms"], 0, "HorizontalFlip"),
        (["train", "--help", "retinannet"], 2, "Did you mean 'retinanet'?"),
        (["--help", "train.epoch"], 2, "Did you mean 'train.epochs'?"),
        (["--version"], 0, f"visiontasks {visiontasks.__version__}"),
        (["trian"], 2, "Did you mean 'train'?"),
    ],
)
def test_help_comes_at_once(words, code, says):
    done = run(*words)
    assert done.returncode == code and "HEAVY []" in done.stdout and "Traceback" not in done.stderr
    assert says in done.stdout + done.stderr


@pytest.mark.parametrize("usage", [train.usage(), evaluate.USAGE, predict.USAGE])
def test_a_first_screen_is_one_screen(usage):
    lines = f"{usage}\n\n{help.TOPICS}".splitlines()
    assert len(lines) <= 40
    for name in reading.available():
        assert "recipe=NAME" in usage and (usage != train.usage() or name in re.split(r"[\s,]+", usage))


def test_a_first_screen_of_many_recipes_names_them(monkeypatch):
    monkeypatch.setattr(reading, "available", lambda: {f"recipe_{n}": "A line of it." for n in range(100)})
    text = help.recipes()
    assert len(text.splitlines()) < 20 and "recipe_99" in text


def test_topics_list_every_recipe_key_and_part():
    for name, line in reading.available().items():
        assert name in help.page("recipes") and line in help.page("recipes")
    for key, _, _, doc in schema.documented_keys():
        assert f"  {key} " in help.page("keys") and doc in " ".join(help.page("keys").split())
    for topic, (folder, _) in help.FOLDERS.items():
        for name, part in catalog.parts(folder).items():
            assert (part.symbol if topic == "transforms" else name) in help.page(topic)
    assert all(name in help.page("transforms") for name in transforms())


def test_every_part_recipe_and_key_has_a_page():
    for folder, key in help.FOLDERS.values():
        for name, part in catalog.parts(folder).items():
            page = help.page(part.symbol if folder == "data/augment" else name)
            assert key in page and part.summary in page
            assert all(f"  {argument.name}" in page for argument in part.arguments)
    for name in reading.available():
        assert f"recipe={name}" in help.page(name)
    for key, *_ in schema.documented_keys():
        assert key in help.page(key)
    assert "train.freeze.epochs" in help.page("train.freeze") and "data.batch" not in help.page("train.freeze")
    assert "warmup_epochs" in help.page("cosine") and "weight_decay" in help.page("adamw")
    assert "a number; default 0.5" in help.page("HorizontalFlip")
    with pytest.raises(UserError, match="there is no page 'nothing'"):
        help.page("nothing")
