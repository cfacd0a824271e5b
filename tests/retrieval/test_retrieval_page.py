"""The page of a map: names are only text, nothing is loaded from elsewhere, thumbnails are in their cells."""

import base64
import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np

from visiontasks.retrieval.page import SIDE, html_page

EVIL = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> & <!-- \u2028'


def page(count=5, names=("cat", EVIL)):
    shades = {number: np.full((80, 80, 3), 40 * number, np.uint8) for number in (0, 2, 3)}
    labels = np.arange(count) % 3 - 1
    positions = np.linspace(0, 1, 2 * count).reshape(count, 2)
    paths = [f"{EVIL}/{number}.png" for number in range(count)]
    return html_page(f"tsne: {EVIL}", positions, paths, labels, names, shades), positions, paths, labels


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def test_names_and_paths_are_text_whatever_they_say():
    text, _, paths, _ = page()
    parser = Tags()
    parser.feed(text)
    tags = [tag for tag, _ in parser.tags]
    assert tags.count("script") == 2 and "img" not in tags and tags[-3:] == ["div", "script", "script"]
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["names"] == ["cat", EVIL] and data["paths"] == paths
    assert ".innerHTML" not in text


def test_nothing_is_loaded_from_elsewhere():
    text = page()[0]
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[\w+/=]+", "", text))
    assert "default-src 'none'" in text


def test_thumbnails_are_in_their_cells_and_the_other_images_are_points():
    text, positions, _, labels = page()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["cell"] == [0, -1, 1, 2, -1] and data["label"] == labels.tolist() and data["columns"] == 2
    np.testing.assert_allclose(np.stack([data["x"], data["y"]], axis=1), positions, atol=1e-5)
    sprite = cv2.imdecode(np.frombuffer(base64.b64decode(data["sprite"].partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
    assert sprite.shape == (2 * SIDE, 2 * SIDE, 3)
    for cell, shade in enumerate((0, 80, 120)):
        y, x = cell // 2 * SIDE, cell % 2 * SIDE
        assert np.abs(sprite[y : y + SIDE, x : x + SIDE].astype(int) - shade).max() <= 3


def test_a_page_without_thumbnails_or_classes_is_one():
    text = html_page("none", np.full((1, 2), 0.5), ["a.png"], np.array([-1]), (), {})
    assert json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])["cell"] == [-1]
