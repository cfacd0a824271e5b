"""Exports a VisionModel as a SavedModel, from uint8 images to decoded predictions. TensorFlow only."""

import keras


def export(model, filepath, format, verbose, input_signature):
    """See `VisionModel.export`."""
    if format != "tf_saved_model":
        raise ValueError(f'format: expected "tf_saved_model", the only format of VisionModel; got {format!r}.')
    if (backend := keras.backend.backend()) != "tensorflow":
        raise ValueError(
            f"export: expected Keras's backend TensorFlow, got {backend}. Save the model as .keras, and load and "
            "export it with KERAS_BACKEND=tensorflow."
        )
    if input_signature is None:
        input_signature = [keras.InputSpec(shape=(None, *model.backbone.input.shape[1:]), dtype="uint8")]
    (images,) = input_signature if isinstance(input_signature, (list, tuple)) else (input_signature,)
    if None in images.shape[1:3] and any("image" in taps for taps in model.taps.values()):
        raise ValueError(
            "input_signature: expected a fixed height and width, which the heads need; got "
            f'{tuple(images.shape)}. Give input_signature=[keras.InputSpec(shape=(None, 256, 256, 3), dtype="uint8")].'
        )

    def serve(images):
        predictions = model.by_head(model.decode(model(images, training=False)))
        return {
            key if model.single else f"{name}/{key}": value  # a SavedModel has no dicts of dicts
            for name, of_head in predictions.items()
            for key, value in of_head.items()
        }

    # the archive finds the variables; if it tracked the model, it would also trace its call with float images
    archive = keras.export.ExportArchive()
    archive.add_endpoint("serve", serve, [images])
    archive.write_out(filepath, verbose=bool(verbose))
