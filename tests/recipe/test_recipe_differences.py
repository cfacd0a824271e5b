"""Where two recipes differ, for a run that goes on."""

from visiontasks.recipe.differences import differences, resumed_recipe
from visiontasks.recipe.reading import read


def test_what_changes_the_result_is_named_with_both_values():
    before = read("unet_seg", [])
    assert differences(before, before) == []
    asked = read("unet_seg", ["train.optimizer.learning_rate=0.5", "data.size=[64,64]", "train.ema=0.9"])
    assert differences(before, asked) == [
        "data.size is [128, 128], asked for is [64, 64]",
        "train.ema is null, asked for is 0.9",
        "train.optimizer.learning_rate is 0.002, asked for is 0.5",
    ]


def test_what_a_run_resolved_counts_as_asked_for_and_what_is_free_is_taken_over():
    before = read("unet_seg", ["train.precision=mixed_bfloat16", "data.bits=12"])
    asked = read("unet_seg", ["data.workers=0", "train.save_minutes=1", "run.dir=elsewhere"])
    assert differences(before, asked) == []
    goes_on = resumed_recipe(before, asked)
    assert goes_on.train.precision == "mixed_bfloat16" and goes_on.data.bits == 12
    assert goes_on.data.workers == 0 and goes_on.train.save_minutes == 1
