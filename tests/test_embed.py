"""The command embed: on small data made here, with a small network of random weights."""

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import visiontasks as vt
from visiontasks import embed
from visiontasks.embed import embed_command
from visiontasks.errors import UserError

NETWORK = ["backbone=lenet5", "weights=null", "size=32,32"]


def scene(seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (60, 50), interpolation=cv2.INTER_CUBIC)


def result(folder):
    return json.loads(Path(folder, "embeddings.json").read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Class folders, and in one of them a copy of an image of the other."""
    for number in range(12):
        path = tmp_path / "data" / ("<b>cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", scene(number))[1].tobytes())
    (tmp_path / "data" / "dog" / "copy.png").write_bytes(cv2.imencode(".png", scene(0))[1].tobytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def test_a_folder_is_embedded_scored_and_mapped_once(folder, capsys, monkeypatch):
    query = folder / "<b>cat" / "0.png"
    words = [*NETWORK, f"source={folder}", "k=3", "duplicates=0.999"]
    assert embed_command([*words, f"neighbors={query}"]) == 0
    printed = capsys.readouterr().out
    assert "read as folder" in printed and "near duplicates: " in printed
    found = result("embeddings")
    for name in found["files"]:
        assert (folder.parent / "embeddings" / name).stat().st_size > 0
    assert {*found["files"]} == {"features.npz", "neighbors.png", "map.png", "map.html"}
    assert found["images"] == 13 and found["classes"] == ["<b>cat", "dog"] and found["scores"]["of"] == "all"
    assert {"knn@3", "recall@1", "map@r", "logistic"} <= found["scores"].keys()
    copy = {str(query), str(folder / "dog" / "copy.png")}
    assert {found["duplicates"]["pairs"][0][key] for key in "ab"} == copy
    (nearest,) = found["neighbors"]
    assert len(nearest["nearest"]) == 3 and nearest["nearest"][0]["label"] == "dog"  # the copy, not itself
    assert nearest["nearest"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    # nothing has changed: no network is built
    monkeypatch.setattr(embed._Network, "extractor", None)
    assert embed_command([*words, "json=true"]) == 0
    output = capsys.readouterr()
    again = json.loads(output.out)
    assert "computed before" in output.err and again["scores"] == found["scores"]
    assert not (folder.parent / "embeddings_2").exists()


def test_changed_images_are_embedded_again_and_other_networks_apart(folder, capsys):
    words = [*NETWORK, f"source={folder}", "map=pca"]
    embed_command(words)
    (folder / "dog" / "copy.png").unlink()
    embed_command(words)
    assert "computed again, because" in capsys.readouterr().out
    assert result("embeddings")["images"] == 12
    (folder.parent / "embeddings" / "features.npz").write_bytes(b"PK no archive")
    embed_command([*words, "map=none"])
    assert "damaged" in capsys.readouterr().out
    embed_command([*words[:-1], "map=none", "tap=C1", "labels=false"])
    found = result("embeddings_2")
    assert found["classes"] == [] and found["scores"] == {} and found["files"] == ["features.npz"]


@pytest.mark.skipif(
    importlib.util.find_spec("usearch") is None, reason="usearch is not installed (the test extra has it)"
)
def test_of_many_images_the_index_is_usearch_s(folder, capsys, monkeypatch):
    monkeypatch.setattr(embed, "LARGE", 10)
    words = [*NETWORK, f"source={folder}", "map=none", "duplicates=0.999", f"neighbors={folder}/dog/1.png"]
    assert embed_command(words) == 0
    assert "index: approximate" in capsys.readouterr().out
    approximate = result("embeddings")
    assert embed_command([*words, "index=exact"]) == 0
    exact = result("embeddings")
    assert (approximate.pop("index"), exact.pop("index")) == ("usearch", "exact") and approximate == exact
    monkeypatch.setattr("visiontasks.keras_backend.installed", lambda module: module != "usearch")
    assert embed_command(words) == 0
    assert 'pip install "visiontasks[usearch]" makes a faster one' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["source=data"], "either run=DIR or backbone=NAME"),
        (["backbone=lenet5", "run=runs", "source=data"], "either run=DIR or backbone=NAME"),
        (["run=runs", "source=data", "size=32,32"], "size: goes with backbone="),
        (["backbone=lenet", "source=data"], "Did you mean 'lenet5'"),
        ([*NETWORK, "source=data", "map=tsnee"], "Did you mean 'tsne'"),
        ([*NETWORK, "source=data", "k=0"], "k: expected 1 or more"),
        ([*NETWORK, "source=data", "k=x"], "k: expected a number"),
        ([*NETWORK, "source=data", "duplicates=2"], "duplicates: expected a cosine"),
        (["backbone=lenet5", "source=data", "size=32"], "size: expected height,width"),
        ([*NETWORK, "source=data", "index=usearh"], "index: unknown choice 'usearh'. Did you mean 'usearch'"),
        ([*NETWORK, "source=data", "resize=object"], "resize: unknown choice 'object'"),
        ([*NETWORK, "source=nowhere"], "source: found no image"),
        ([*NETWORK, "source=data", "neighbours=a.png"], "Did you mean 'neighbors'"),
        ([*NETWORK, "source=data", "tap=C9"], "tap: this network has no output 'C9'"),
    ],
)
def test_words_are_checked(folder, words, says):
    with pytest.raises(UserError, match=says):
        embed_command(words)


def test_what_the_package_offers():
    assert (
        vt.image_features.__name__ == "image_features" and vt.NeighborIndex(np.eye(3)).search(np.eye(3), 1)[0][2] == 2
    )
