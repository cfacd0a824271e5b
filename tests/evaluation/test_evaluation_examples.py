"""Which images of an evaluation are drawn."""

import weakref

import numpy as np
import pytest

from visiontasks.evaluation.examples import Examples


class Image:
    """Stands for a Sample."""

    def __init__(self, number):
        self.number = number


def chosen(scores, count, seed=0):
    """{"worst": numbers of images, "best": …, "random": …}."""
    examples, groups = Examples(count), {"worst": [], "best": [], "random": []}
    examples._rng = np.random.default_rng(seed)
    for number, score in enumerate(scores):
        examples.offer(score, Image(number), {})
    for example in examples.chosen():
        group, rank = example.name.split("_")
        assert int(rank) == len(groups[group])
        groups[group].append(example.sample.number)
    return groups


@pytest.mark.parametrize("seed", range(10))
def test_the_worst_and_the_best_of_all_are_found(seed):
    scores = np.random.default_rng(seed).random(200)
    order = np.argsort(scores).tolist()
    groups = chosen(scores, 12)
    assert groups["worst"] == order[:4] and groups["best"] == order[:-5:-1]
    assert len(groups["random"]) == 4 and not set(groups["random"]) & set(groups["worst"] + groups["best"])
    assert groups["random"] == sorted(groups["random"])
    assert chosen(scores, 12) == groups  # two evaluations draw the same images


def test_random_images_are_from_everywhere():
    """Each image that is neither among the worst nor the best has the same chance."""
    drawn = np.zeros(60)
    for seed in range(300):
        scores = np.random.default_rng(seed).random(60)
        drawn[chosen(scores, 12, seed + 1)["random"]] += 1
    assert drawn.sum() == 1200 and drawn.min() > 5 and drawn.max() < 45  # 20 of each are expected
    assert abs(drawn[:30].sum() - 600) < 90


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 12])
@pytest.mark.parametrize("images", [0, 1, 3, 5, 12, 40])
def test_no_image_is_left_out_where_there_is_room(count, images):
    scores = np.linspace(0, 1, images)
    groups = chosen(scores, count)
    every = sum(groups.values(), [])
    assert len(every) == len(set(every)) == min(count, images)


def test_of_equal_scores_the_first_images_are_chosen():
    groups = chosen([0.5] * 20, 6)
    assert groups["worst"] == [0, 1] and groups["best"] == [2, 3]


def test_an_image_without_a_score_is_neither_good_nor_bad():
    groups = chosen([float("nan")] * 10 + [0.1, 0.9, 0.5], 6)
    assert groups["worst"] == [10, 12] and groups["best"] == [11] and len(groups["random"]) == 3
    assert len(chosen([float("nan")] * 10, 6)["random"]) == 6


def test_no_more_images_are_held_than_are_drawn():
    examples, alive, most = Examples(6), weakref.WeakSet(), 0
    for number, score in enumerate(np.random.default_rng(0).random(100)):
        image = Image(number)
        alive.add(image)
        examples.offer(score, image, {})
        del image
        most = max(most, len(alive))
    assert most == 6
