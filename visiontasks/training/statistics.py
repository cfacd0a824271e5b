"""One run of a model that is fitted by statistics, without gradients: one pass over the training set."""

import time

from visiontasks.signals import Stop
from visiontasks.training.run_directory import RunDirectory
from visiontasks.writing import replace_atomically


def fit_statistics(model, train, run: RunDirectory, console, stop: Stop) -> dict:
    """Fit a VisionModel that is not `by_gradients`, and write its checkpoint to a run's folder.

    Args:
        model: the VisionModel.
        train: the training Loader.
        run: the run's folder.
        console: a rich Console.
        stop: ends it after a batch; there is nothing that another process could go on from.

    Returns:
        As `visiontasks.training.fit.fit`, with no epochs.

    Raises:
        Stopped: something has asked.
    """
    begun = time.monotonic()
    console.print(f"one pass over {len(train)} batches, without gradients; the validation set chooses nothing")
    try:
        model.adapt(train, on_batch=stop.check)
    except Exception as error:
        if train.error is not None:  # the backend raised an error of its own instead
            raise train.error from error
        raise
    replace_atomically(run.best, model.save, "dir")
    ended = {"best_epoch": None, "best_score": None, "epochs": 0, "interrupted": False, "stopped_by": None}
    return {**ended, "seconds": time.monotonic() - begun}
