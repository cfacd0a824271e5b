"""python -m visiontasks.predict run=DIR|recipe=NAME source=FILE|DIR|GLOB|VIDEO [out=DIR]: predict for images."""

import contextlib
from pathlib import Path

from visiontasks import cli, standard_streams
from visiontasks.errors import UserError

WORDS = ("run", "recipe", "source", "out", "batch", "tile", "overlap", "flip", "polygons", "detector", "maps")

USAGE = """python -m visiontasks.predict run=DIR|recipe=NAME source=FILE|DIR|GLOB|VIDEO [out=DIR] [key=value …]

  run=DIR      a run's folder: its best checkpoint predicts
  recipe=NAME  a recipe whose weights are complete without training, such as imagenet
  source=…     an image, a folder of images, a glob, or a video file (.mp4, .avi, .mov, .mkv, .webm, …), or a glob such
               as clips/*.mp4; predictions.json numbers the frames of a video from 0
  out=DIR      a new folder for predictions.json and the drawn images or videos; by default predictions, or where that
               exists predictions_2 and so on
  detector=RUN|RECIPE  a run's folder or a recipe that detects the objects, for a model that looks at one at a time,
               such as pose_heatmap; without it, the whole image is one object
  batch=N      images, frames or tiles per batch; by default 8
  tile=N       divide images larger than N pixels into tiles of that size, and merge the tiles' predictions: for small
               objects or details in large images
  overlap=…    share of a tile that its neighbor shows too, from 0 to below 1; by default 0.2, best more than an object
  flip=true    also predict for the mirrored image, and merge both predictions
  polygons=true  objects' masks in predictions.json as polygons, as COCO has them, instead of run lengths; a polygon
               goes along a line to a hole, around it, and back
  maps=true    also draw what keypoints were read from: heat maps, and OpenPose's affinity fields
  key=value    overrides of a recipe=, such as backbone.name=resnet50"""


def main(arguments: list[str] | None = None):
    cli.run(predict, arguments, lambda: USAGE)


def predict(arguments: list[str]) -> int:
    """Predict for every image or frame, and write `predictions.json` and drawings; returns the exit code."""
    words, overrides = cli.words(arguments, WORDS, open_ended=True)
    cli.check_origin(words, overrides, "FILE|DIR|GLOB|VIDEO")
    options = _options(words)
    from visiontasks.data.bit_depth import settle_bits
    from visiontasks.data.sources.images import Images
    from visiontasks.data.video import find_videos
    from visiontasks.evaluation.results import results_folder
    from visiontasks.inference.predictor import Predictor
    from visiontasks.signals import Stop

    console = standard_streams.console()
    videos = find_videos(words["source"])
    images = None if videos else Images(words["source"])
    detector = cli.predictor(words["detector"], console) if "detector" in words else None
    predictor = Predictor(cli.model(words, overrides, console), detector=detector)
    if images is not None:
        settle_bits([images], predictor.preprocess.bits)
    predictor.check_merging(options["tile"], options["flip"])
    polygons = cli.flag(words, "polygons")
    if polygons and not any("instance_masks" in head.fields for head in predictor.model.heads.values()):
        raise UserError("no head of this model predicts masks of objects; leave it out.", "polygons")
    maps = cli.flag(words, "maps")
    if maps and not any("keypoints" in head.fields for head in predictor.model.heads.values()):
        raise UserError("no head of this model predicts keypoints; leave it out.", "maps")
    out = results_folder(words.get("out"), Path("predictions"))

    def stream(samples):
        return predictor.stream(samples, **options)

    total = len(images) if images is not None else None
    with Stop().after_steps() as stop, _Writer(out, stream, console, stop, polygons, maps, total) as writer:
        if videos:
            for video in videos:
                writer.write_video(video)
        else:
            writer.write_images(images)
    if images is not None and images.report:
        console.print(f"images skipped or mended:\n{images.report}")
    console.print(f"{writer.count} {'frames' if videos else 'images'}: {out / 'predictions.json'}")
    return 0 if writer.count else 1


def _options(words) -> dict:
    from visiontasks.inference.predictor import BATCH, OVERLAP, check_options

    def number(key, kind, default):
        try:
            return kind(words[key]) if key in words else default
        except ValueError:
            return words[key]  # its check raises the error

    if "overlap" in words and "tile" not in words:
        raise UserError("overlap: the overlap of tiles; give tile=N too.")
    options = {"batch": number("batch", int, BATCH), "tile": number("tile", int, None)}
    options |= {"overlap": number("overlap", float, OVERLAP)}
    check_options(**options)
    return options | {"flip": cli.flag(words, "flip")}


class _Writer:
    """Writes predictions to a folder: `predictions.json`, drawings, and files such as masks.

    After a stop or an error they are those of the images so far, and `incomplete.txt` says so.
    """

    def __init__(self, out, stream, console, stop, polygons=False, maps=False, total=None):
        from visiontasks.evaluation.results import Records

        self.out, self.stream, self.console, self._used, self._polygons = out, stream, console, set(), polygons
        self._stop, self._maps, self._total = stop, maps, total
        self._records = Records(out / "predictions.json", 2, "out", partial=True)

    @property
    def count(self) -> int:
        return self._records.count

    def __enter__(self):
        self._records.__enter__()
        return self

    def __exit__(self, kind, *error):
        from visiontasks.evaluation.results import INCOMPLETE
        from visiontasks.writing import write_text

        whole = False
        try:
            self._records.__exit__(kind, *error)
            whole = kind is None
        finally:  # also of a disk that is full at the last record
            if not whole and self._records.path.exists():
                what = f"{self.count} of {self._total} images" if self._total else f"{self.count} frames"
                text = f"predict ended before the last image: predictions.json holds {what}"
                self.console.print(f"{text}: {self._records.path}")
                write_text(self.out / INCOMPLETE, text + "\n", "out")

    def write_images(self, images):
        from visiontasks.data.images import write_image
        from visiontasks.data.pipeline import samples_of

        with _bar(self.console, len(images)) as advance:
            for prediction in self.stream(samples_of(images)):
                stem = self._record(prediction, Path(prediction.sample.path).stem, drawing=".png")
                write_image(self.out / f"{stem}.png", prediction.draw(self._maps), "out")
                advance()
                self._stop.check()

    def write_video(self, video):
        from visiontasks.data.video import VideoWriter
        from visiontasks.sample import Sample

        target = self.out / f"{self._free(video.path.stem, ['.mp4'])}.mp4"
        samples = (Sample(frame, path=str(video.path)) for frame in video)
        count = 0
        with _bar(self.console, video.count) as advance, VideoWriter(target, video.fps, room=0.15) as drawn:
            for number, prediction in enumerate(self.stream(samples)):
                when = {"frame": number, "seconds": round(number / video.fps, 3)}
                self._record(prediction, f"{target.stem}_{number:06d}", **when)
                drawn.write(prediction.draw(self._maps))
                advance()
                count += 1
                self._stop.check()
        if video.count and count < video.count:
            self.console.print(f"{video.path}: {count} of {video.count} frames could be read")
        self.console.print(f"drawn: {target}")

    def _record(self, prediction, stem, drawing=None, **more) -> str:
        """Append a record, and write its files; returns the stem of their names."""
        from visiontasks.evaluation.results import file_part, with_polygons
        from visiontasks.writing import write_bytes

        values, sample = prediction.to_json(), prediction.sample
        values = with_polygons(values) if self._polygons else values
        files = {
            f"_{file_part(head)}_{name}": (head, name, content)
            for head, attachments in prediction.attachments().items()
            for name, content in attachments.items()
        }
        stem = self._free(stem, [*files, *([drawing] if drawing else [])])
        for ending, (head, name, content) in files.items():
            write_bytes(self.out / (stem + ending), content, "out", durable=False)
            values[head][Path(name).stem] = stem + ending
        self._records.add({"path": sample.path, **more, "size": list(sample.image.shape[:2]), **values})
        return stem

    def _free(self, stem, endings) -> str:
        """The stem, numbered if another image's file has the name already, and shortened if it is too long for one."""
        from visiontasks.evaluation.results import shortened
        from visiontasks.writing import LONGEST

        room = LONGEST - max((len(ending.encode()) for ending in endings), default=0)
        chosen, number = shortened(stem, room), 2
        while {chosen + ending for ending in endings} & self._used:
            chosen, number = shortened(f"{stem}_{number}", room), number + 1
        self._used |= {chosen + ending for ending in endings}
        return chosen


@contextlib.contextmanager
def _bar(console, total):
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        shown = bar.add_task("predicting", total=total)
        yield lambda: bar.update(shown, advance=1)


if __name__ == "__main__":
    main()
