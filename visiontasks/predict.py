"""python -m visiontasks.predict run=DIR|recipe=NAME source=FILE|DIR|GLOB|VIDEO [out=DIR]: answer for pictures."""

import collections
import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from visiontasks import cli
from visiontasks.errors import UserError
from visiontasks.evaluation.records import Records

WORDS = ("run", "recipe", "source", "out", "batch", "tile", "overlap", "flip")

USAGE = """python -m visiontasks.predict run=DIR|recipe=NAME source=FILE|DIR|GLOB|VIDEO [out=DIR] [key=value …]

  run=DIR      a run's folder: its best checkpoint answers
  recipe=NAME  a recipe whose weights are complete without training, such as imagenet
  source=…     a picture, a folder of pictures, a glob, or a video file (.mp4, .avi, .mov, .mkv, .webm, …), or a glob
               such as clips/*.mp4; every frame of a video is answered; predictions.json numbers them from 0
  out=DIR      where predictions.json and the drawn pictures or the drawn video go; by default predictions
  batch=N      pictures, frames or tiles that the network sees at once; by default 8
  tile=N       see pictures larger than N pixels in tiles of that side, each at the network's size, and put the answers
               together: for objects, or details, that are small in big pictures
  overlap=…    share of a tile that its neighbour shows too, from 0 to below 1; by default 0.2, best more than an object
  flip=true    see everything a second time mirrored, and merge both answers
  key=value    overrides of a recipe=, such as backbone.name=resnet50"""


def main(arguments: list[str] | None = None):
    cli.run(predict, arguments, lambda: USAGE)


def predict(arguments: list[str]) -> int:
    """Answer for every picture or frame and write `predictions.json` and drawings; the exit code."""
    words, overrides = cli.words(arguments, WORDS, open_ended=True)
    if "source" not in words or ("run" in words) == ("recipe" in words):
        raise UserError("expected source=FILE|DIR|GLOB|VIDEO and either run=DIR or recipe=NAME.")
    if "run" in words and overrides:
        raise UserError(
            f"{overrides[0]}: a run's checkpoint answers as it was trained; overrides go with recipe= or with train."
        )
    from visiontasks import build
    from visiontasks.data.sources.pictures import Pictures
    from visiontasks.data.video import find_videos
    from visiontasks.inference.views import views

    batch, flip = _positive("batch", words.get("batch", "8")), cli.flag(words, "flip")
    tile, overlap = _positive("tile", words["tile"]) if "tile" in words else None, _share(words)
    console = cli.console()
    videos = find_videos(words["source"])
    pictures = None if videos else Pictures(words["source"])
    checkpoint = None
    if "run" in words:
        from visiontasks.training.run_directory import RunDirectory

        run = RunDirectory.find(words["run"])
        recipe, _ = build.recipe(str(run.recipe))
        checkpoint = run.checkpoint
        console.print(f"checkpoint: {checkpoint}")
    else:
        recipe, _ = build.recipe(words["recipe"], overrides)
        build.check_complete(recipe)
    out = Path(words.get("out", "predictions"))
    out.mkdir(parents=True, exist_ok=True)

    cli.start_keras()
    model = build.load_model(checkpoint, compile=False) if checkpoint else build.model(recipe)
    tasks, size, resize = build.tasks(model), tuple(recipe.data.size), recipe.data.resize
    _check_merging(tasks, tile, flip)

    def see(picture):
        return views(picture, size, resize, tile, overlap, flip)

    if videos:
        count = _answer_videos(model, videos, see, tasks, batch, out, console)
    else:
        count = _answer_pictures(model, pictures, see, tasks, batch, out, console, size)
        if pictures.report:
            console.print(f"pictures skipped or mended:\n{pictures.report}")
    console.print(f"{count} {'frames' if videos else 'pictures'}: {out / 'predictions.json'}")
    return 0 if count else 1


def _positive(key: str, text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"{key}: expected a whole number from 1 up, got {text!r}.")
    return int(text)


def _share(words) -> float:
    text = words.get("overlap", "0.2")
    if "overlap" in words and "tile" not in words:
        raise UserError("overlap: is that of tiles; give tile=N too.")
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise UserError(f"overlap: expected a share from 0 to below 1, got {text!r}.")
    return share


def _check_merging(tasks, tile, flip):
    from visiontasks.evaluation.tasks.task import Task

    for name, task in tasks.items():
        if tile is not None and task.answers_by_picture:
            raise UserError(f"tile: head {name!r} answers for a picture as a whole, which a tile does not show.")
        if (tile is not None or flip) and type(task).merge is Task.merge:
            key = "flip" if tile is None else "tile"
            raise UserError(f"{key}: several answers of head {name!r} cannot be merged; leave it out.")


def answers(model, samples: Iterable, see: Callable, tasks: dict, batch: int) -> Iterator[tuple]:
    """(Sample, {head name: prediction in its own pixels}) of each sample, in order.

    Holds the samples of one batch and no more.

    Args:
        model: a VisionModel.
        samples: Samples.
        see: gives the `visiontasks.inference.views.View`s of a picture of (height, width).
        tasks: {head name: Task}.
        batch: views that the network sees at once; in the last batch black ones fill it up.
    """
    import numpy as np

    waiting, seen, full = collections.deque(), [], False

    def run():
        images = np.stack([image for _, image in seen])
        if full:  # the network was compiled for one shape
            images = np.concatenate([images, np.zeros((batch - len(seen), *images.shape[1:]), np.uint8)])
        outputs = model.by_head(model.predict_on_batch(images))
        for row, (found, _) in enumerate(seen):
            found.append({name: {k: np.asarray(v[row]) for k, v in one.items()} for name, one in outputs.items()})
        seen.clear()

    def done():
        while waiting and len(waiting[0][1]) == len(waiting[0][2]):
            sample, parts, found = waiting.popleft()
            restored = {}
            for name, task in tasks.items():
                ones = [one[name] for one in found]
                restored[name] = task.merge(ones, parts) if len(parts) > 1 else task.restore(*ones, parts[0].placement)
            yield sample, restored

    for sample in samples:
        parts, found = see(sample.image.shape[:2]), []
        waiting.append((sample, parts, found))
        for part in parts:
            seen.append((found, part.see(sample.image)))
            if len(seen) == batch:
                full = True
                run()
        yield from done()
    if seen:
        run()
    yield from done()


def _answer_pictures(model, pictures, see, tasks, batch, out, console, size) -> int:
    """Predict, draw and record every picture; how many there were."""
    from visiontasks.data.images import write_image
    from visiontasks.data.pipeline import Loader

    # read by its threads, one picture at a time: there may be huge ones
    loader, used = Loader(pictures, fields=(), size=size, batch=1), set()
    samples = (sample for _, few in loader.with_samples() for sample in few)
    with _bar(console, len(pictures)) as advance, Records(out / "predictions.json", 2) as records:
        for sample, restored in answers(model, samples, see, tasks, batch):
            stem = _unused(Path(sample.path).stem, used)
            found, drawn = _said_and_drawn(model, tasks, sample.image, restored, out, stem)
            records.add({"path": sample.path, "size": list(sample.image.shape[:2]), **found})
            write_image(out / f"{stem}.png", drawn)
            advance()
    return records.count


def _answer_videos(model, videos, see, tasks, batch, out, console) -> int:
    """Predict and record every frame of every video, and draw each into a video; how many frames there were."""
    used, sources = set(), {video.path.resolve() for video in videos}
    stems = [_unused(video.path.stem, used) for video in videos]
    for stem in stems:
        if (out / f"{stem}.mp4").resolve() in sources:
            raise UserError(f"out: {out / stem}.mp4 is the video itself or another of them; give another folder.")
    with Records(out / "predictions.json", 2) as records:
        for video, stem in zip(videos, stems, strict=True):
            _answer_video(model, video, see, tasks, batch, out, stem, records, console)
    return records.count


def _answer_video(model, video, see, tasks, batch, out, stem, records, console):
    from visiontasks.data.video import VideoWriter
    from visiontasks.sample import Sample

    path, target, count = str(video.path), out / f"{stem}.mp4", 0
    samples = (Sample(frame, id=f"{stem} {number}", path=path) for number, frame in enumerate(video))
    with _bar(console, video.count) as advance, VideoWriter(target, video.fps, room=0.15) as written:
        for number, (sample, restored) in enumerate(answers(model, samples, see, tasks, batch)):
            found, drawn = _said_and_drawn(model, tasks, sample.image, restored, out, f"{stem}_{number:06d}")
            when = {"frame": number, "seconds": round(number / video.fps, 3)}
            records.add({"path": path, **when, "size": list(sample.image.shape[:2]), **found})
            written.write(drawn)
            advance()
            count += 1
    if video.count and count < video.count:
        console.print(f"{path}: it names {video.count} frames, {count} could be read")
    console.print(f"drawn: {target}")


def _said_and_drawn(model, tasks, image, restored, out, stem):
    """What the tasks say of one picture, by task, and the picture with it drawn."""
    from visiontasks.drawing.panels import side_by_side

    found, drawn = {}, []
    kinds = [model.heads[name].task for name in tasks]
    for (name, task), kind in zip(tasks.items(), kinds, strict=True):
        # two heads of one kind are told apart by their own names
        key = kind if kinds.count(kind) == 1 else name
        found[key] = task.record(restored[name], out, stem if key == kind else f"{stem}_{name}")
        drawn.append(task.draw_prediction(image, restored[name]))
    titles = list(tasks) if len(tasks) > 1 else []
    return found, side_by_side(drawn, titles) if len(drawn) > 1 else drawn[0]


@contextlib.contextmanager
def _bar(console, total):
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        shown = bar.add_task("predicting", total=total)
        yield lambda: bar.update(shown, advance=1)


def _unused(stem: str, used: set[str]) -> str:
    """The stem, numbered where a picture of another folder or ending had it already."""
    name, number = stem, 2
    while {name, f"{name}_mask"} & used:
        name, number = f"{stem}_{number}", number + 1
    used |= {name, f"{name}_mask"}  # the mask file's name is taken with it
    return name


if __name__ == "__main__":
    main()
