"""python -m visiontasks.backbones, as it is called."""

import subprocess
import sys

import forked
import pytest

import visiontasks


def run(*words, code=0, options=()):
    words = ["-m", "visiontasks.backbones", *words]
    if options:
        done = subprocess.run([sys.executable, *options, *words], capture_output=True, text=True)
    else:
        done = forked.python(*words)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_the_table():
    text = run("resnet18", "lenet5", "size=64,96")
    assert f"{11_689_512 - 513_000:,}" in text  # torchvision's, without the last layer
    assert "69.8  torchvision v1: resnet18-f37072fd.pth" in text
    assert "C5  stride 32  2×3×512, sees 435 px" in text
    assert "C2  stride 4   13×21×16, sees 16 px" in text


def test_one_network_layer_by_layer():
    rows = per_layer("lenet5")
    assert rows["conv2"][1:] == ["Conv2D", "10×10×16", "2,416", "240,000", "2", "14"]
    assert rows["logits"][1:] == ["Dense", "10", "850", "840"]
    assert rows["together"][1] == "61,706"


def per_layer(*words):
    return {line.split()[0]: line.split() for line in run(*words, "--per-layer").splitlines() if line}


def test_alexnet_with_the_layers_that_lectures_show():
    rows = per_layer("alexnet")
    assert rows["conv1"][2:4] == ["55×55×96", "34,944"]
    assert [rows[name][3] for name in ("hidden1", "hidden2", "logits")] == ["37,752,832", "16,781,312", "4,097,000"]
    assert rows["together"][1] == "62,378,344"


def test_what_was_published_without_classification_layers_has_none():
    text = run("unet_encoder", "size=64,64", "--per-layer")
    assert "without classification layers" in text and "logits" not in text


def test_keras_s_vgg_has_the_layers_of_the_paper():
    assert per_layer("keras_vgg16")["together"][1] == "138,357,544"


def test_the_size_can_be_chosen():
    assert per_layer("efficientnet_lite0", "size=64,96")["top_conv"][2] == "2×3×1280"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["resnet_50"], "Did you mean 'resnet50'"),
        (["resnet50", "size=64"], "size: expected height,width"),
        (["resnet50", "vgg16", "--per-layer"], "--per-layer: expected one NAME"),
        (["resnet50", "sise=64,64"], "unknown key"),
    ],
)
def test_a_slip_is_one_line_before_keras_loads(words, text):
    error = run(*words, code=2, options=("-X", "importtime"))
    assert text in error and "Traceback" not in error
    imported = {line.rpartition("|")[2].strip() for line in error.splitlines()}
    assert "visiontasks.registry.catalog" in imported and not imported & {"keras", "tensorflow"}


def test_what_cannot_be_built_at_a_size_says_so():
    assert "cannot be built at 40×40" in run("inception_v3", "size=40,40")


def test_it_is_a_subcommand_too():
    def printed(*words):
        return subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=True).stdout

    words = ("lenet5", "size=32,32")
    assert printed("visiontasks", "backbones", *words) == run(*words)
    assert printed("visiontasks", "--version") == f"visiontasks {visiontasks.__version__}\n"
