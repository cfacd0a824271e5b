"""python -m visiontasks.explain run=DIR|recipe=NAME source=FILE|DIR|GLOB [how=…]: why it predicts what it does."""

import contextlib
import json
import sys
from pathlib import Path

import numpy as np

from visiontasks import cli, standard_streams
from visiontasks.errors import UserError, near

WORDS = ("run", "recipe", "source", "how", "target", "box", "head", "tap", "channels")
WORDS += ("count", "size", "steps", "seed", "out", "believe", "json")
# {how: (the module of this room, the function of an Explained, its arguments, what it is called in a title)}
METHODS = {
    "gradcam": ("cam", "cam_of", {}, "Grad-CAM"),
    "gradcam++": ("cam", "cam_of", {"plus": True}, "Grad-CAM++"),
    "hirescam": ("cam", "cam_of", {"local": True}, "HiResCAM"),
    "integrated": ("attribution", "integrated_of", {}, "integrated gradients"),
    "smooth": ("attribution", "smooth_of", {}, "SmoothGrad"),
    "occlusion": ("sliding", "occluded_of", {}, "occlusion"),
    "rise": ("masking", "rise_of", {}, "RISE"),
}
CHANNELS = ("filters", "maps", "patches", "dream")  # of the network, not of a prediction
REPORT = "explanations.json"
BLIND = ("filters", "dream")  # they need no source

USAGE = """python -m visiontasks.explain run=DIR|recipe=NAME source=FILE|DIR|GLOB [how=gradcam] [out=DIR] [key=value …]

  run=DIR      a run's folder: its best checkpoint is explained
  recipe=NAME  a recipe whose weights are complete without training, such as imagenet
  source=…     an image, a folder of images, or a glob; filters and dream need none
  how=…        several as how=gradcam,occlusion; of a prediction:
               gradcam, gradcam++, hirescam (a level's channels, weighted by gradients; of a box, a mask or a joint
               gradcam is hirescam), integrated, smooth (gradients of pixels), occlusion (a sliding gray square),
               rise (random masks)
               of the network:
               filters (the first convolution's kernels), maps (each level's strongest feature maps for each image),
               patches (those that excite channels most, cut out by the exact receptive field, and below them their
               reconstructions by deconvolution), dream (images that excite channels, made from noise by gradients)
  target=…     what is explained: a class, a tag or a keypoint by name or number; of a head that explains several kinds
               also mask:NAME, joint:NAME, or mask alone; by default the strongest prediction of each image
  box=x1,y1,x2,y2  in pixels of the images: of a box, a mask or a joint the one that is nearest to it
  head=NAME    of a model with several heads
  tap=C4       for the CAMs: one level, instead of all that the head takes; for patches and dream: the level, by default
               the finest for patches and the deepest for dream
  channels=0,5 for patches and dream: the channels' numbers; by default the first eight for patches, four for dream
  count=N      for patches: of each channel, by default 9
  steps=N      for dream: steps of gradients, by default 128; seed=N: of the noise; size=H,W: by default the network's
  out=DIR      a new folder for explanations.json and the drawn images; by default explanations, or where that exists
               explanations_2 and so on
  believe=false  leave out the checks whether a map may be believed, which take most of the time
  json=true    print JSON alone: explanations.json, and for filters the norms of all
  key=value    overrides of a recipe=, such as backbone.name=resnet50"""


def main(arguments: list[str] | None = None):
    cli.run(explain, arguments, lambda: USAGE)


def explain(arguments: list[str]) -> int:
    """Explain every image, and write `explanations.json` and drawings; returns the exit code."""
    words, overrides = cli.words(arguments, WORDS, open_ended=True)
    hows = words.get("how", "gradcam").split(",")
    for how in hows:
        if how not in (*METHODS, *CHANNELS):
            raise UserError(f"unknown method {how!r}. {near(how, (*METHODS, *CHANNELS))}", "how")
    cli.check_origin(words, overrides, None if set(hows) <= set(BLIND) else "FILE|DIR|GLOB")
    believe, as_json = cli.flag({"believe": "true", **words}, "believe"), cli.flag(words, "json")
    # JSON is alone on standard output: what is printed on the way is no part of it
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        report = _explained(words, overrides, hows, believe)
    if as_json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    return 0


def _explained(words, overrides, hows, believe) -> dict:
    from visiontasks.data.bit_depth import settle_bits
    from visiontasks.data.pipeline import samples_of
    from visiontasks.data.sources.images import Images
    from visiontasks.evaluation.results import results_folder
    from visiontasks.preprocess import Preprocess
    from visiontasks.signals import Stop

    console, images = standard_streams.console(), Images(words["source"]) if "source" in words else None
    maps, sheets = ([how for how in hows if (how in METHODS) == wanted] for wanted in (True, False))
    box, options = _box(words), _dream_options(words) if "dream" in hows else {}
    count = {"count": cli.number(words, "count", None)} if "count" in words else {}
    model = cli.model(words, overrides, console)
    preprocess, other = Preprocess.of(model), None
    if images is not None:
        settle_bits([images], preprocess.bits)
    if maps and believe:
        from visiontasks.explain.believing import shuffled

        other = shuffled(model)
    out, used, report = results_folder(words.get("out"), Path("explanations")), set(), {}
    with _kept(out, report, console, len(images) if maps else None):
        if sheets:
            args = preprocess, words, sheets, options, count, out, used, console
            report |= _channels(model.backbone, images, *args)
        if maps:
            records, judged = report.setdefault("images", []), []
            with Stop().after_steps() as stop:
                for sample in samples_of(images):
                    record, drawn, of_image = _one(model, other, sample.image, preprocess, words, box, maps)
                    judged.append(of_image)
                    drawing = _write(drawn, sample.path, "", out, used)
                    records.append({"path": sample.path, "drawing": drawing, **record})
                    console.print(_line(records[-1]))
                    stop.check()
            report["maps"] = _together(judged, console)
    if report:
        report = json.loads((out / REPORT).read_text(encoding="utf-8"))  # NaN is null there
    if images is not None and images.report:
        console.print(f"images skipped or mended:\n{images.report}")
    console.print(f"{out}" if images is None else f"{len(images)} images: {out}")
    return report


@contextlib.contextmanager
def _kept(out, report, console, total):
    """Write the report at the end of a block; after a stop or an error what it holds so far, and that it is not all.

    Args:
        total: how many images are explained, or None.
    """
    from visiontasks.evaluation.results import INCOMPLETE, write_json
    from visiontasks.writing import write_text

    try:
        yield
    except (Exception, KeyboardInterrupt):
        count = f" of {len(report.get('images', ()))} of {total} images" if total else ""
        if any(out.glob("*.png")):
            text = f"explain ended before the last drawing: {REPORT} holds what was explained so far{count}"
            console.print(f"{text}: {out}")
            write_json(out / REPORT, report, "out")
            write_text(out / INCOMPLETE, text + "\n", "out")
        raise
    if report:
        write_json(out / REPORT, report, "out")


def _together(judged, console) -> dict:
    """{how: what holds over all images, of whose maps these are the verdicts}; printed if there are several."""
    from visiontasks.explain.believing import together

    verdicts = {how: together([one[how] for one in judged]) for how in (judged[0] if judged else ())}
    for how, one in verdicts.items():
        if one["images"] == 1:
            continue
        wins = f"beats both guesses in {one.get('beats_both', 0)}"
        told = f"{how}, {one['judged']} images: "
        if one["faithful"] is None:
            console.print(f"{told}too few images to judge, {wins}")
            continue
        console.print(
            f"{told}{'' if one['faithful'] else 'not '}faithful, {wins}, sign test p {one['p']:.2g}; deletion "
            f"{one['deletion']:.3f}, insertion {one['insertion']:.3f}; Gaussian {one['gaussian'][0]:.3f}, "
            f"{one['gaussian'][1]:.3f}; random {one['random'][0]:.3f}, {one['random'][1]:.3f}"
        )
    return verdicts


def _write(drawn, path, ending, out, used) -> str:
    """Write a drawing under the image's name, numbered if another has it; the file's name."""
    from visiontasks.data.images import write_image

    stem = chosen = f"{Path(path).stem}{ending}"
    number = 2
    while chosen in used:
        chosen, number = f"{stem}_{number}", number + 1
    used.add(chosen)
    write_image(out / f"{chosen}.png", drawn, "out")
    return f"{chosen}.png"


def _channels(backbone, images, preprocess, words, hows, options, count, out, used, console) -> dict:
    """Write the sheets of filters, feature maps, patches and dreams; what of them is JSON."""
    from visiontasks.backbones.backbone import levels
    from visiontasks.data.pipeline import samples_of
    from visiontasks.explain import channels, dreaming, exciting, sheets

    def canvases():
        return (
            (sample.path, preprocess.placement(sample.image.shape[:2]).place_image(sample.image))
            for sample in samples_of(images)
        )

    report, names = {}, list(levels(backbone))
    if "filters" in hows:
        _write(sheets.filter_sheet(channels.filters(backbone)), "filters", "", out, used)
        every = channels.filter_norms(backbone)
        report["norms"] = {name: norms.tolist() for name, norms in every.items()}
        for name, norms in every.items():
            dead = f", {(norms < 1e-3 * norms.max()).sum()} of them next to 0"
            console.print(f"{name}: {len(norms)} filters, norms {norms.min():.3g} to {norms.max():.3g}{dead}")
    if "maps" in hows:
        for path, canvas in canvases():
            drawn = sheets.map_sheet(canvas, channels.feature_maps(backbone, canvas))
            _write(drawn, path, "_maps", out, used)
    if "patches" in hows:
        tap = words.get("tap", names[0])
        numbers = _numbers(words, range(min(8, backbone.output[tap].shape[-1]) if tap in backbone.output else 1))
        deconvnet = _deconvnet(backbone, tap, console)
        every = (canvas for _, canvas in canvases())
        best = exciting.patches(backbone, every, tap, numbers, deconvnet=deconvnet, **count)
        _write(sheets.patch_sheet(tap, best), f"patches_{tap}", "", out, used)
    if "dream" in hows:
        tap = words.get("tap", names[-1])
        numbers = _numbers(words, range(4))
        dreams, values = dreaming.dream(backbone, tap, numbers, **options)
        _write(sheets.dream_sheet(tap, numbers, dreams, values), f"dream_{tap}", "", out, used)
    return report


def _deconvnet(backbone, tap, console):
    """The Deconvnet of a tap, or None where there is none for the network's activations."""
    from visiontasks.explain.channels import check_channels
    from visiontasks.explain.deconvolving import Deconvnet

    check_channels(backbone, tap, ())
    try:
        return Deconvnet(backbone, tap)
    except UserError as error:
        console.print(f"patches without reconstructions: {error}")
        return None


def _dream_options(words) -> dict:
    options = {key: cli.number(words, key, None) for key in ("steps",) if key in words}
    if "seed" in words:
        options["seed"] = _whole("seed", words["seed"])
    return options | ({"size": cli.size(words["size"])} if "size" in words else {})


def _box(words):
    """float32 (4,), the word `box`; None without."""
    if "box" not in words:
        return None
    try:
        x1, y1, x2, y2 = map(float, words["box"].strip("[] ").split(","))
    except ValueError:
        x1 = x2 = 0.0
    if not (x1 < x2 and y1 < y2):
        raise UserError(f"expected x1,y1,x2,y2 in pixels, such as 20,30,120,200; got {words['box']!r}.", "box")
    return np.float32([x1, y1, x2, y2])


def _numbers(words, usual) -> list[int]:
    return [_whole("channels", word) for word in words["channels"].split(",")] if "channels" in words else list(usual)


def _whole(key, word) -> int:
    if not word.strip().isdecimal():
        raise UserError(f"expected a whole number, 0 or more; got {word!r}.", key)
    return int(word)


def _one(model, other, image, preprocess, words, box, hows):
    """(the JSON-ready record, the drawing, {how: the Faithfulness}, none without `other`) of one image."""
    from visiontasks.explain.believing import faithfulness
    from visiontasks.explain.drawings import explanation
    from visiontasks.explain.scoring import Explained

    if preprocess.resize == "object":
        placement, box = preprocess.placement(image.shape[:2], box), None
    else:
        placement = preprocess.placement(image.shape[:2])
    canvas = placement.place_image(image)[None]
    near = None if box is None else _on_canvas(box, placement)
    one = Explained(model, canvas, words.get("target"), words.get("head"), near)
    record = {"head": one.head.name, "kind": one.kind, "name": one.names[0], "score": float(one.scores()[0])}
    if one.choice.box is not None:
        import keras

        box = placement.restore_boxes(keras.ops.convert_to_numpy(one.choice.box))[0]
        record["box"] = [round(value, 2) for value in box.tolist()]
    maps, judged = {how: map_of(one, how, words.get("tap")) for how in hows}, {}
    if other is not None:
        # for the same place: a network that has learned nothing would choose another
        lost = Explained(other, canvas, head=words.get("head"), choice=one.choice)
        judged = {
            how: faithfulness(one, values, map_of(lost, how, words.get("tap")))[0] for how, values in maps.items()
        }
        record["maps"] = {how: judged[how].to_json() for how in hows}
    titled = {_title(how, one): (values[0], judged.get(how)) for how, values in maps.items()}
    return record, explanation(image, placement, record["name"], record.get("box"), titled), judged


def _on_canvas(box, placement):
    """A box (4,) in pixels of an image, on the canvas where the image is placed."""
    origin, ahead = placement.restore_points(np.float32([[0, 0], [1, 1]])).astype(np.float64)
    return ((box.reshape(2, 2) - origin) / (ahead - origin)).ravel()


def _title(how, explained):
    local = how == "gradcam" and not explained.of_the_whole_image
    return METHODS["hirescam" if local else how][3]


def map_of(explained, how: str, tap: str | None = None):
    """The maps of an Explained, float32 (B, H, W), by a method's name in METHODS."""
    import importlib

    module, function, arguments, _ = METHODS[how]
    arguments = {**arguments, "tap": tap} if module == "cam" else arguments
    return getattr(importlib.import_module(f"visiontasks.explain.{module}"), function)(explained, **arguments)


def _line(record) -> str:
    told = [
        f"{how}: {'faithful' if one['faithful'] else 'not faithful (' + '; '.join(one['reasons']) + ')'}"
        for how, one in record.get("maps", {}).items()
    ]
    return f"{record['path']}: {record['kind']} {record['name']}" + "".join(f", {text}" for text in told)


if __name__ == "__main__":
    main()
