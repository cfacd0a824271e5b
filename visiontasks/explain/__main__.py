"""python -m visiontasks.explain run=DIR|recipe=NAME source=FILE|DIR|GLOB [how=gradcam]: what an answer rests on."""

import contextlib
import json
import sys
from pathlib import Path

from visiontasks import cli
from visiontasks.errors import UserError, near

WORDS = ("run", "recipe", "source", "how", "target", "head", "tap", "out", "believe", "json")
# {how: (the module of this room, the function of an Explained, its arguments, what it is called in a title)}
METHODS = {
    "gradcam": ("cam", "cam_of", {}, "Grad-CAM"),
    "gradcam++": ("cam", "cam_of", {"plus": True}, "Grad-CAM++"),
    "integrated": ("attribution", "integrated_of", {}, "integrated gradients"),
    "smooth": ("attribution", "smooth_of", {}, "SmoothGrad"),
    "occlusion": ("sliding", "occluded_of", {}, "occlusion"),
    "rise": ("masking", "rise_of", {}, "RISE"),
}

USAGE = """python -m visiontasks.explain run=DIR|recipe=NAME source=FILE|DIR|GLOB [how=gradcam] [out=DIR] [key=value …]

  run=DIR      a run's folder: its best checkpoint is explained
  recipe=NAME  a recipe whose weights are complete without training, such as imagenet
  source=…     an image, a folder of images, or a glob
  how=…        gradcam, gradcam++ (a level's channels, weighted by gradients), integrated, smooth (gradients of pixels),
               occlusion (a sliding gray square), rise (random masks); several as how=gradcam,occlusion
  target=…     what is explained: a class, a tag or a keypoint by name or number; of a head that explains several kinds
               also mask:NAME, joint:NAME, or mask alone; by default the strongest answer of each image
  head=NAME    of a model with several heads
  tap=C4       for gradcam: one level, instead of all that the head takes
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
        if how not in METHODS:
            raise UserError(f"unknown method {how!r}. {near(how, METHODS)}", "how")
    believe, as_json = cli.flag({"believe": "true", **words}, "believe"), cli.flag(words, "json")
    # JSON is alone on standard output: what is printed on the way is no part of it
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        records = _explained(words, overrides, hows, believe)
    if as_json:
        print(json.dumps(records, indent=2, ensure_ascii=False))
    return 0 if records else 1


def _explained(words, overrides, hows, believe) -> list[dict]:
    from visiontasks.data.bit_depth import settle_bits
    from visiontasks.data.images import write_image
    from visiontasks.data.pipeline import Loader
    from visiontasks.data.sources.images import Images
    from visiontasks.evaluation.results import results_folder, write_json

    console, images = cli.console(), Images(words["source"])
    model, preprocess = _model(words, overrides, console)
    settle_bits([images], preprocess.bits)
    other = None
    if believe:
        from visiontasks.explain.believing import shuffled

        other = shuffled(model)
    out, records, used = results_folder(words.get("out"), Path("explanations")), [], set()
    loader = Loader(images, fields=(), size=(1, 1), batch=1)
    for sample in (sample for _, few in loader.with_samples() for sample in few):
        placement = preprocess.placement(sample.image.shape[:2])
        record, drawn = _one(model, other, sample.image, placement, words, hows)
        stem = _free(Path(sample.path).stem, used)
        write_image(out / f"{stem}.png", drawn)
        records.append({"path": sample.path, "drawing": f"{stem}.png", **record})
        console.print(_line(records[-1]))
    records = json.loads(json.dumps(records).replace("NaN", "null"))
    write_json(out / "explanations.json", records)
    if images.report:
        console.print(f"images skipped or mended:\n{images.report}")
    console.print(f"{len(records)} images: {out / 'explanations.json'}")
    return records


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
    maps, judged = {how: _map(one, how, words.get("tap")) for how in hows}, {}
    if other is not None:
        guesses, lost = of_guesses(one), Explained(other, canvas, f"{one.kind}:{record['name']}", words.get("head"))
        judged = {
            how: faithfulness(one, values, _map(lost, how, words.get("tap")), guesses)[0]
            for how, values in maps.items()
        }
        record["maps"] = {how: judged[how].to_json() for how in hows}
    titled = {METHODS[how][3]: (values[0], judged.get(how)) for how, values in maps.items()}
    return record, explanation(image, placement, record["name"], record.get("box"), titled)


def _map(explained, how, tap):
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


def _free(stem, used) -> str:
    chosen, number = stem, 2
    while chosen in used:
        chosen, number = f"{stem}_{number}", number + 1
    used.add(chosen)
    return chosen


if __name__ == "__main__":
    main()
