"""One run of training: the stages of a recipe around Keras's `fit`."""

import dataclasses
import functools
import math
from typing import NamedTuple

import keras

from visiontasks import keras_backend
from visiontasks.backbones.backbone import Graph
from visiontasks.errors import RecipeError
from visiontasks.training import callbacks as ours
from visiontasks.training.events import Events
from visiontasks.training.interrupt import Interrupt
from visiontasks.training.metrics_log import MetricsLog
from visiontasks.training.non_finite import GoBack, NonFinite
from visiontasks.training.optimizers import learning_rate, optimizer
from visiontasks.training.position import Position
from visiontasks.training.processes import ALONE, Processes
from visiontasks.training.progress import Progress
from visiontasks.training.run_directory import RunDirectory
from visiontasks.training.state import TrainingState
from visiontasks.training.together import JointInterrupt, JointScore

WRITERS = (ours.Checkpoints, MetricsLog, Events)
MOST_EPOCHS = 100  # from `steps`: short epochs spend most of their time on validation and checkpoints


def fit(
    model,
    train,
    val,
    tasks: dict,
    recipe,
    run: RunDirectory,
    console,
    extra=(),
    resume: bool = False,
    processes: Processes = ALONE,
) -> dict:
    """Train a VisionModel by a recipe, and write checkpoints, states and logs to a run's folder.

    With `freeze`, the first stage trains only the heads: the backbone is frozen, its batch norms in inference mode. The
    second stage trains everything, or what follows the level `freeze.level`, the backbone at a lower learning rate.
    Each stage has its own optimizer and a whole schedule.

    Args:
        model: the VisionModel, created in the scope of the devices.
        train, val: loaders.
        tasks: {head name: Task}.
        recipe: the recipe's `train` section.
        run: the run's folder.
        console: a rich Console.
        extra: further Keras callbacks; what they remember is not saved.
        resume: whether to go on from the run's newest saved state.
        processes: those that train together; the first one writes.

    Returns:
        {"best_epoch", "best_score", "epochs", "interrupted", "stopped_by", "seconds"}, those of earlier processes too.

    Raises:
        FloatingPointError: the loss or weights are not finite, and `on_nan` is "stop", or to go back was no help.
    """
    recipe = dataclasses.replace(recipe, epochs=epochs(recipe, len(train)))
    position, average, joint = Position(train), ours.MovingAverage(), processes.count > 1
    interrupt = JointInterrupt(processes, recipe.stop_file) if joint else Interrupt(recipe.stop_file)
    non_finite = NonFinite(position, recipe.on_nan)
    checkpoints = ours.Checkpoints(run.best, run.last)
    log = MetricsLog(run, tasks, console, position)
    stopping = ours.EarlyStopping(recipe.early_stopping or math.inf)
    memories = {"checkpoints": checkpoints, "log": log, "early_stopping": stopping, "non_finite": non_finite}
    if not processes.first:
        del memories["log"]  # which writes what it remembers
    minutes, raw, each = recipe.save_minutes, lambda: average.raw, non_finite.goes_back
    state = TrainingState(run.states, position, interrupt, memories, minutes, raw, each, processes.first, run.marks)
    progress = Progress(console, position, recipe.epochs, tasks, checkpoints, interrupt)
    callbacks = [
        non_finite,
        *([average] if recipe.ema else []),  # before those that use weights
        position,
        JointScore(val, tasks, interrupt, processes) if joint else ours.Score(val, tasks, interrupt),
        interrupt,
        checkpoints,
        log,
        progress,
        *([Events(run.events, log)] if keras_backend.writes_events() else []),
        *extra,
    ]
    if not processes.first:
        callbacks = [one for one in callbacks if not isinstance(one, WRITERS)]
    if resume:
        if elsewhere := state.begin():
            console.print(elsewhere)
        interrupt.finished = position.epoch
    # TensorFlow runs a step without data to see that an epoch is over, in which dropout may draw numbers
    train.repeat, compiled = True, None
    with interrupt.handling():
        try:
            while not interrupt.asked:
                stage = _stage(recipe, min(position.epoch, recipe.epochs - 1))
                if (stage, non_finite.factor) != compiled:
                    if stage.text and stage != (compiled and compiled[0]):
                        console.print(stage.text)
                    steps = {"total_steps": (stage.end - stage.begin) * len(train), "steps_per_epoch": len(train)}
                    rate = learning_rate(recipe.optimizer, recipe.schedule, **steps)
                    log.begin_stage(non_finite.rate(rate, stage.begin * len(train)), stage.begin)
                    prepare(model, recipe, stage.frozen, steps, non_finite.factor)
                    compiled, position.stage = (stage, non_finite.factor), stage.begin
                    state.set_model(model)
                if position.epoch == recipe.epochs or stopping.stopped:
                    state.restore()  # a run that was stopped after its last epoch
                    break
                called = [*callbacks, *([stopping] if stage.end == recipe.epochs else []), state]
                try:
                    if position.step == len(train):
                        _end_epoch(model, called, position)
                        continue
                    model.fit(
                        train,
                        initial_epoch=position.epoch,
                        epochs=position.end(stage.end),
                        steps_per_epoch=position.steps_left(),
                        callbacks=called,
                        shuffle=False,  # the loader shuffles
                        verbose=0,
                    )
                except GoBack as fault:
                    progress.stop()
                    state.go_back(fault, functools.partial(non_finite.go_back, fault))
                    interrupt.finished = position.epoch
                    compiled = stage, None  # the optimizer begins anew too, whatever its rate
                    console.print(f"warning: {fault}\n{non_finite.text()}")
            if compiled and position.epoch + position.step:
                state.finish()
        except Exception as error:
            state.join()  # the last state is what to go on from
            for loader in (train, val):
                if loader.error is not None:  # the backend raised an error of its own instead
                    raise loader.error from error
            raise
        finally:  # after an error Keras does not call `on_train_end`
            train.repeat = False
            progress.stop()
            log.draw()
        if joint:
            interrupt.stop.agree()  # on what has come since the last step
    return {
        "best_epoch": checkpoints.best_epoch,
        "best_score": checkpoints.best_score if checkpoints.best_epoch else None,
        "epochs": interrupt.finished,
        "interrupted": interrupt.asked,
        "stopped_by": interrupt.stop.asked or None,
        "seconds": position.seconds,
    }


def _end_epoch(model, called, position):
    """Validate an epoch whose steps are all done, or left out: Keras has no epoch without steps."""
    epoch = position.epoch
    callbacks = keras.callbacks.CallbackList(called, model=model, epochs=epoch + 1)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(epoch)
    logs = dict(model.get_metrics_result())
    # of no step there is no loss, not one of 0
    callbacks.on_epoch_end(epoch, dict.fromkeys(logs, math.nan) if position.new_epoch else logs)
    callbacks.on_train_end()


def epochs(recipe, steps_per_epoch: int) -> int:
    """The number of epochs that a recipe's `train` section asks for, as `epochs` or as `steps`."""
    return min(MOST_EPOCHS, math.ceil(recipe.steps / steps_per_epoch)) if recipe.steps else recipe.epochs


def prepare(model, recipe, frozen: bool, steps: dict[str, int], scale: float = 1.0):
    """Freeze or unfreeze the backbone, and compile the model with a new optimizer.

    Args:
        model: the VisionModel.
        recipe: the recipe's `train` section.
        frozen: whether only the heads learn.
        steps: {"total_steps", "steps_per_epoch"} of the stage.
        scale: factor of the learning rates.
    """
    freeze = recipe.freeze
    set_trainable(model.backbone, not frozen, bool(freeze and freeze.batch_norm), freeze and freeze.level)
    model.compile(
        optimizer=optimizer(
            recipe.optimizer,
            recipe.schedule,
            **steps,
            clip_norm=recipe.clip_norm,
            ema=recipe.ema,
            scale=scale,
            factors={} if frozen else rate_factors(model.backbone, recipe),
        ),
        jit_compile=recipe.jit,
    )
    # an optimizer built inside the first step makes TensorFlow trace that step twice
    model.optimizer.build(model.trainable_variables)


class _Stage(NamedTuple):
    """Epochs `begin` to `end` - 1, the line to print before them, and whether the backbone is frozen."""

    begin: int
    end: int
    text: str
    frozen: bool


def _stage(recipe, epoch) -> _Stage:
    """The stage of an epoch."""
    first = min(recipe.freeze.epochs, recipe.epochs) if recipe.freeze else 0
    if epoch < first:
        return _Stage(0, first, f"stage 1: only the heads, the backbone frozen ({_epochs(first)})", True)
    text = f"stage 2: everything ({_epochs(recipe.epochs - first)})" if first else ""
    return _Stage(first, recipe.epochs, text, False)


def _epochs(count):
    return f"{count} epoch{'s' * (count != 1)}"


def rate_factors(backbone, recipe) -> dict[str, float]:
    """{path: learning-rate factor} of a backbone's variables in the stage that trains everything.

    The factor is `freeze.factor`; with `layer_decay` it also decreases by that factor from each level to the next finer
    one. The stride of a layer's output gives its level. A layer without spatial positions, such as a gate after global
    pooling, has the level that was pooled.
    """
    first = recipe.freeze.factor if recipe.freeze else 1.0
    if recipe.layer_decay is None:
        return {variable.path: first for variable in backbone.trainable_variables}
    graph = Graph(backbone.input, list(backbone.output.values()))
    level, levels = {}, {}
    for node in graph.nodes:
        stride = graph.stride(node.outputs[0])
        n = max(level[id(t)] for t in node.input_tensors) if stride is None else round(math.log2(stride))
        level.update((id(t), n) for t in node.outputs)
        levels[node.operation] = n
    deepest = max(levels.values())
    return {
        variable.path: first * recipe.layer_decay ** (deepest - n)
        for layer, n in levels.items()
        for variable in getattr(layer, "trainable_variables", ())
    }


def set_trainable(backbone, trainable: bool, keep_batch_norm: bool = False, level: str | None = None):
    """Freeze or unfreeze a backbone.

    Args:
        backbone: the backbone.
        trainable: whether to unfreeze it.
        keep_batch_norm: keep its batch norms frozen.
        level: keep the layers up to this level frozen, with their batch norms.

    Raises:
        RecipeError: the backbone has no such level.
    """
    if level is not None and level not in backbone.output:
        raise RecipeError(f"expected one of {', '.join(backbone.output)}; got {level!r}.", "freeze.level")
    backbone.trainable = False  # Keras passes the value to the layers only when it changes
    backbone.trainable = trainable
    if trainable and keep_batch_norm:
        for layer in backbone._flatten_layers():  # private: Keras has no public walk over nested layers
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    if trainable and level is not None:
        for layer in keras.Model(backbone.input, backbone.output[level]).layers:
            layer.trainable = False
