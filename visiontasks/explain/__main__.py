"""python -m visiontasks.explain run=DIR|recipe=NAME source=FILE|DIR|GLOB [how=gradcam]: what an answer rests on."""

import contextlib
import json
import sys
from pathlib import Path

from visiontasks import cli
from visiontasks.errors import UserError, near

WORDS = ("run", "recipe", "source", "how", "target", "head", "tap", "channels", "out", "believe", "json")
# {how: (the module of this room, the function of an Explained, its arguments, what it is called in a title)}
METHODS = {
    "gradcam": ("cam", "cam_of", {}, "Grad-CAM"),
    "gradcam++": ("cam", "cam_of", {"plus": True}, "Grad-CAM++"),
    "integrated": ("attribution", "integrated_of", {}, "integrated gradients"),
    "smooth": ("attribution", "smooth_of", {}, "SmoothGrad"),
    "occlusion": ("sliding", "occluded_of", {}, "occlusion"),
    "rise": ("masking", "rise_of", {}, "RISE"),
}
CHANNELS = ("filters", "maps", "patches")  # of the network, not of an answer

USAGE = """python -m visiontasks.explain run=DIR|recipe=NAME source=FILE|DIR|GLOB [how=gradcam] [out=DIR] [key=value …]

  run=DIR      a run's folder: its best checkpoint is explained
  recipe=NAME  a recipe whose weights are complete without training, such as imagenet
  source=…     an image, a folder of images, or a glob
  how=…        gradcam, gradcam++ (a level's channels, weighted by gradients), integrated, smooth (gradients of pixels),
               occlusion (a sliding gray square), rise (random masks); several as how=gradcam,occlusion
               filters, maps, patches: the first convolution's kernels; each level's strongest feature maps for each
               image; the images' patches that excite channels most, cut out by the exact receptive field
  target=…     what is explained: a class, a tag or a keypoint by name or number; of a head that explains several kinds
               also mask:NAME, joint:NAME, or mask alone; by default the strongest answer of each image
  head=NAME    of a model with several heads
  tap=C4       for gradcam: one level, instead of all that the head takes; for patches: the level, by default the finest
  channels=0,5 for patches: the channels' numbers; by default the first eight
  out=DIR      a new folder for explanations.json and the drawn images; by default explanations, or where that exists
               explanations_2 and so on
  believe=false  leave out the checks whether a map may be believed, which take most of the time
  json=true    print JSON alone
  key=value    overrides of a recipe=, such as backbone.name=resnet50"""


def main(arguments: list[str] | None = None):
    cli.run(explain, arguments, lambda: USAGE)


def explain(arguments: list[str]) -> int:
    """Explain every image, and write `explanations.json` and drawings; returns the exit code."""
    words, overrides = cli.words(arguments, WORDS, open_ended=True)
    if "source" not in words or ("run" in words) == ("recipe" in words):
        raise UserError("expected source=FILE|DIR|GLOB and either run=DIR or recipe=NAME.")
    if "run" in words and overrides:
        raise UserError(f"{overrides[0]}: a run is explained as it was trained; overrides go with recipe=.")
    hows = words.get("how", "gradcam").split(",")
    for how in hows:
        if how not in (*METHODS, *CHANNELS):
            raise UserError(f"unknown method {how!r}. {near(how, (*METHODS, *CHANNELS))}", "how")
    believe, as_json = cli.flag({"believe": "true", **words}, "believe"), cli.flag(words, "json")
    # JSON is alone on standard output: what is printed on the way is no part of it
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        records = _explained(words, overrides, hows, believe)
    if as_json:
        print(json.dumps(records, indent=2, ensure_ascii=False))
    return 0


def _explained(words, overrides, hows, believe) -> list[dict]:
    from visiontasks.data.bit_depth import settle_bits
    from visiontasks.data.sources.images import Images
    from visiontasks.evaluation.results import results_folder, write_json

    console, images = cli.console(), Images(words["source"])
    model, preprocess = _model(words, overrides, console)
    settle_bits([images], preprocess.bits)
    answers, others = ([how for how in hows if (how in METHODS) == wanted] for wanted in (True, False))
    other = None
    if answers and believe:
        from visiontasks.explain.believing import shuffled

        other = shuffled(model)
    out, records, used = results_folder(words.get("out"), Path("explanations")), [], set()
    if others:
        _channels(model, images, preprocess, words, others, out, console)
    for sample in _samples(images) if answers else ():
        placement = preprocess.placement(sample.image.shape[:2])
        record, drawn = _one(model, other, sample.image, placement, words, answers)
        records.append({"path": sample.path, "drawing": _write(drawn, sample.path, "", out, used), **record})
        console.print(_line(records[-1]))
    if answers:
        write_json(out / "explanations.json", records)
        records = json.loads((out / "explanations.json").read_text(encoding="utf-8"))  # NaN is null there
    if images.report:
        console.print(f"images skipped or mended:\n{images.report}")
    console.print(f"{len(images)} images: {out}")
    return records


def _samples(images):
    from visiontasks.data.pipeline import Loader

    # one image at a time, because images may be huge
    loader = Loader(images, fields=(), size=(1, 1), batch=1)
    return (sample for _, few in loader.with_samples() for sample in few)


def _write(drawn, path, ending, out, used) -> str:
    """Write a drawing under the image's name, numbered if another has it; the file's name."""
    from visiontasks.data.images import write_image

    stem = chosen = f"{Path(path).stem}{ending}"
    number = 2
    while chosen in used:
        chosen, number = f"{stem}_{number}", number + 1
    used.add(chosen)
    write_image(out / f"{chosen}.png", drawn)
    return f"{chosen}.png"


def _channels(model, images, preprocess, words, hows, out, console):
    """Write the sheets of filters, feature maps and patches."""
    from visiontasks.backbones.backbone import levels
    from visiontasks.explain import channels, exciting, sheets

    def canvases():
        return (
            (sample.path, preprocess.placement(sample.image.shape[:2]).place_image(sample.image))
            for sample in _samples(images)
        )

    used = set()
    if "filters" in hows:
        _write(sheets.filter_sheet(channels.filters(model.backbone)), "filters", "", out, used)
        for name, norms in channels.filter_norms(model.backbone).items():
            dead = f", {(norms < 1e-3 * norms.max()).sum()} of them next to 0"
            console.print(f"{name}: {len(norms)} filters, norms {norms.min():.3g} to {norms.max():.3g}{dead}")
    if "maps" in hows:
        for path, canvas in canvases():
            drawn = sheets.map_sheet(canvas, channels.feature_maps(model.backbone, canvas))
            _write(drawn, path, "_maps", out, used)
    if "patches" in hows:
        tap = words.get("tap") or next(iter(levels(model.backbone)))
        numbers = [_whole_number(word) for word in words.get("channels", "0,1,2,3,4,5,6,7").split(",")]
        found = exciting.patches(model.backbone, (canvas for _, canvas in canvases()), tap, numbers)
        _write(sheets.patch_sheet(tap, found), f"patches_{tap}", "", out, used)


def _whole_number(word) -> int:
    if not word.strip().isdigit():
        raise UserError(f"expected numbers such as 0,5; got {word!r}.", "channels")
    return int(word)


def _model(words, overrides, console):
    from visiontasks import api, build
    from visiontasks.preprocess import Preprocess
    from visiontasks.training.run_directory import RunDirectory

    if "run" in words:
        checkpoint = RunDirectory.find(words["run"]).checkpoint
        console.print(f"checkpoint: {checkpoint}")
        cli.start_keras()
        model = api.load_model(checkpoint, compile=False)
    else:
        recipe, _ = build.recipe(words["recipe"], overrides)
        build.check_complete(recipe)
        cli.start_keras()
        model = build.model(recipe)
    return model, Preprocess.of(model)


def _one(model, other, image, placement, words, hows):
    """(the JSON-ready record, the drawing) of one image."""
    from visiontasks.explain.believing import faithfulness, of_guesses
    from visiontasks.explain.pictures import explanation
    from visiontasks.explain.scoring import Explained

    canvas = placement.place_image(image)[None]
    one = Explained(model, canvas, words.get("target"), words.get("head"))
    record = {"head": one.head.name, "kind": one.kind, "name": one.names[0], "score": float(one.scores()[0])}
    if one.choice.box is not None:
        import keras

        box = placement.restore_boxes(keras.ops.convert_to_numpy(one.choice.box))[0]
        record["box"] = [round(value, 2) for value in box.tolist()]
    maps, judged = {how: map_of(one, how, words.get("tap")) for how in hows}, {}
    if other is not None:
        guesses, lost = of_guesses(one), Explained(other, canvas, f"{one.kind}:{record['name']}", words.get("head"))
        judged = {
            how: faithfulness(one, values, map_of(lost, how, words.get("tap")), guesses)[0]
            for how, values in maps.items()
        }
        record["maps"] = {how: judged[how].to_json() for how in hows}
    titled = {METHODS[how][3]: (values[0], judged.get(how)) for how, values in maps.items()}
    return record, explanation(image, placement, record["name"], record.get("box"), titled)


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
