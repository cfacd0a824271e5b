# %% [markdown]
# # AlexNet, VGG, GoogLeNet, ResNet and after: what they cost, what they see
#
# Seven networks of six families, from 2012 to 2019, measured on your machine: parameters, multiply-adds, memory, time,
# and how much of the image one number sees. Then one photograph: what a trained network makes of it, and what its
# prediction rests on.
#
# **To open this file:** VS Code and PyCharm run its cells as they are. For Jupyter: `pip install jupyter jupytext`,
# then `jupytext --to ipynb 2_architectures.py`.
#
# **To run it:** `pip install -e ".[tensorflow]" scikit-learn` in a clone of visiontasks. Nothing is downloaded. The
# costs are of networks with random weights, because they do not depend on the weights. What is *seen* is shown with
# EfficientNet-Lite0, whose ImageNet weights are installed with the package.

# %%
import math
import time

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

import visiontasks as vt

# %% tags=["parameters"]
NETWORKS = ["alexnet", "vgg16", "googlenet", "resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite0"]
SIZE = 224  # height and width of the images
REPEATS = 8  # of each time; the shortest counts, because other programs only make it longer

# %% [markdown]
# ## What they cost
#
# | network | year | the new idea |
# | --- | --- | --- |
# | AlexNet | 2012 | a deep network trained on GPUs, with ReLU and dropout |
# | VGG-16 | 2014 | nothing but 3×3 convolutions: two of them see 5×5, three see 7×7, with fewer weights |
# | GoogLeNet | 2014 | several filter sizes side by side; 1×1 convolutions make channels few before a costly layer |
# | ResNet | 2015 | a layer adds to its input; so a hundred layers can be trained |
# | MobileNetV2 | 2018 | depthwise convolutions: each channel is filtered alone, 1×1 convolutions mix them |
# | EfficientNet-Lite | 2019 | MobileNet's blocks; depth, width and image size grow together |
#
# Each network gets the 1000 classes of ImageNet, with the dense layers of its paper. `layer_costs` lists the layers.

# %%
DENSE = {"alexnet": (4096, 4096), "vgg16": (4096, 4096)}  # hidden units; the later networks have none
TOP1 = {  # published accuracy on ImageNet in percent (of torchvision's first weights, Keras's, TensorFlow's)
    "alexnet": 56.5, "vgg16": 71.6, "googlenet": 69.8, "resnet18": 69.8, "resnet50": 76.1, "mobilenet_v2": 71.3,
    "efficientnet_lite0": 75.1,
}  # fmt: skip


def build(name):
    """A VisionModel with random weights."""
    form = {"form": "torchvision"} if name == "alexnet" else {}  # for images of 224×224
    backbone = vt.backbone(name, input_shape=(SIZE, SIZE, 3), **form)
    pooling = "flatten" if name in DENSE else "avg"
    return vt.VisionModel(backbone, vt.heads.Classifier(1000, pooling=pooling, hidden=DENSE.get(name, ())))


def seconds(model):
    """The time of one image."""
    image, times = np.zeros((1, SIZE, SIZE, 3), np.uint8), []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        model.predict_on_batch(image)
        times.append(time.perf_counter() - start)
    return min(times[1:])  # the first call builds the graph


table, fields = {}, {}
for name in NETWORKS:
    model = build(name)
    layers = vt.layer_costs(model.backbone)
    dense = model.count_params() - model.backbone.count_params()
    table[name] = {
        "convolutional weights": sum(layer.parameters for layer in layers),
        "dense weights": dense,
        # a dense layer multiplies each of its weights once
        "multiply-adds": sum(layer.multiply_adds for layer in layers) + dense,
        "numbers in feature maps": sum(math.prod(layer.shape) for layer in layers),
        "seconds": seconds(model),
    }
    deepest = list(model.taps["classifier"])[0]
    fields[name] = vt.explain.ReceptiveFields(model.backbone, deepest, (SIZE, SIZE))
    del model  # VGG's weights alone take half a gigabyte

# %%
print(f"{'network':20} {'parameters':>12} {'in dense':>8} {'mult-adds':>10} {'weights':>8} {'maps':>7} {'time':>7}")
for name, row in table.items():
    parameters = row["convolutional weights"] + row["dense weights"]
    print(
        f"{name:20} {parameters:12,} {row['dense weights'] / parameters:8.0%} {row['multiply-adds'] / 1e9:8.2f} G "
        f"{parameters * 4 / 2**20:5.0f} MB {row['numbers in feature maps'] * 4 / 2**20:4.0f} MB "
        f"{row['seconds'] * 1000:4.0f} ms"
    )

# %% [markdown]
# - Most parameters of AlexNet and VGG are in their dense layers. GoogLeNet replaced these by a mean over the image, and
#   all networks after it did the same.
# - Parameters and multiply-adds are different costs. A weight of a convolution is used at every position, a weight of a
#   dense layer once. AlexNet has many parameters and is fast; ResNet-50 has fewer and is slower.
# - Weights take memory once. Feature maps take memory for every image of a batch, because training keeps them for the
#   gradient. With a large batch they are what fills a GPU.
#
# **Look for** (left): how far the points lie from a line. Time is not only multiply-adds: depthwise convolutions have
# few, but they wait for memory. **Look for** (right): which networks are beaten in both, cost and accuracy. The
# accuracies are published, not measured here.

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for number, (name, row) in enumerate(table.items()):
    adds, area = row["multiply-adds"] / 1e9, 4e-6 * (row["convolutional weights"] + row["dense weights"])
    for ax, height in zip(axes, (row["seconds"] * 1000, TOP1[name]), strict=True):
        ax.scatter(adds, height, s=area, alpha=0.5)
        beside, side = ((4, 6), "left") if number % 2 else ((-4, -14), "right")
        ax.annotate(name, (adds, height), beside, textcoords="offset points", fontsize=9, ha=side)
axes[0].set(xscale="log", yscale="log", xlabel="multiply-adds (G)", ylabel="ms per image", title="time, this machine")
axes[1].set(xscale="log", xlabel="multiply-adds (G)", ylabel="top-1 (%)", title="accuracy; area: parameters")
for ax in axes:
    ax.margins(0.25)
plt.show()

# %% [markdown]
# ## How much of the image one number sees
#
# The receptive field of a position in the deepest feature map, for a position in the middle. Followed back through
# every layer, it is exact.
#
# **Look for:** fields that reach beyond the photo. There the network can see everything at once. AlexNet and VGG
# cannot: their dense layers have to put the parts together. A receptive field is only the limit; in practice the middle
# of it counts most.

# %%
photo = load_sample_image("china.jpg")  # by danielbuechele, CC BY 2.0
side = min(photo.shape[:2])
top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
photo = np.asarray(Image.fromarray(photo[top : top + side, left : left + side]).resize((SIZE, SIZE), Image.LANCZOS))

figure, ax = plt.subplots(figsize=(6, 6), layout="constrained")
ax.imshow(photo)
for number, (name, field) in enumerate(fields.items()):
    rows, columns = field.cells
    seen = field.field(rows // 2, columns // 2)
    height, width = seen.bottom - seen.top, seen.right - seen.left
    color = plt.cm.tab10(number)
    ax.add_patch(plt.Rectangle((seen.left, seen.top), width, height, fill=False, color=color, linewidth=2))
    ax.plot([], color=color, label=f"{name}: {height} px")
ax.autoscale_view()
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
ax.axis("off")
plt.show()

# %% [markdown]
# ## What a trained network predicts
#
# From here on the network is EfficientNet-Lite0 with its ImageNet weights.

# %%
model = vt.from_recipe("imagenet", f"data.size=[{SIZE},{SIZE}]")
prediction = vt.Predictor(model)(photo)
figure, ax = plt.subplots(figsize=(4, 6), layout="constrained")
ax.imshow(prediction.draw())
ax.axis("off")
plt.show()

# %% [markdown]
# ## What it sees: feature maps
#
# The three strongest maps of each level: on the left of the trained network, on the right of the same network after its
# weights were shuffled.
#
# **Look for:** at `C1`, both look alike: edges and colors. Random filters find edges too. So an image of the first
# layer proves nothing about training. Deeper, the trained maps have a few strong positions, and you can name some: the
# roofs, the sky, the building. The shuffled ones show noise, and the border, where the padding is.

# %%
shuffled = vt.explain.shuffled(model)
maps = [vt.explain.feature_maps(one.backbone, photo, count=3) for one in (model, shuffled)]
figure, axes = plt.subplots(len(maps[0]), 6, figsize=(10, 1.75 * len(maps[0])), layout="constrained")
for row, level in zip(axes, maps[0], strict=True):
    row[0].set_ylabel(level)
    values = [one for of_network in maps for one in of_network[level][1]]
    for ax, one in zip(row, values, strict=True):
        ax.imshow(one)
        ax.set(xticks=[], yticks=[])
axes[0, 1].set_title("trained")
axes[0, 4].set_title("shuffled weights")
plt.show()

# %% [markdown]
# ## What the prediction is based on: Grad-CAM, and when not to believe it
#
# Grad-CAM (Selvaraju et al. 2017) weights the channels of the last feature map by how much the class score depends on
# them. Four maps:
#
# 1. for the network's own prediction;
# 2. for another class that fits a part of the photo;
# 3. for a class that is not in the photo at all;
# 4. for the prediction of the shuffled network, which knows nothing.
#
# **Look for:** whether the map moves with the class; and that every map is colorful, because each is scaled to its own
# maximum. A map of nothing looks like a map of something. So `faithfulness` takes the bright pixels away and tests
# whether the score falls sooner than for a blob in the middle. The titles say what comes out.

# %%
images, best = photo[None], prediction.to_json()["classifier"][0]["name"]
asked = [(model, best), (model, "lakeside"), (model, "goldfish"), (shuffled, None)]
figure, axes = plt.subplots(1, len(asked), figsize=(12, 3.6), layout="constrained")
for ax, (one, target) in zip(axes, asked, strict=True):
    explained = vt.explain.Explained(one, images, target)
    heat = vt.explain.grad_cam(one, images, target)
    (judged,) = vt.explain.faithfulness(explained, heat)
    ax.imshow(photo)
    ax.imshow(heat[0], cmap="inferno", alpha=0.6)
    who = explained.names[0] + (" (shuffled)" if one is shuffled else "")
    ax.set_title(f"{who}\n{'faithful' if judged.faithful else 'not faithful'}")
    ax.set_xlabel("\n".join(judged.reasons), fontsize=8)
    ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# A network with 1000 classes always gives one of them. This is a tower of the Summer Palace in Beijing: no class
# has that name, and palace, bell cote and lakeside each have a point. "Right" and "wrong" are not the only cases.
#
# ## Try
#
# 1. `python -m visiontasks.backbones googlenet --per-layer` prints each layer. Which ones have the most multiply-adds?
# 2. `vt.backbone("vgg16", weights="imagenet", …)` downloads torchvision's weights. Draw `vt.explain.filters(backbone)`
#    for AlexNet, with and without weights.
# 3. Set `SIZE = 448`. Which columns of the table grow by four, and which do not change? Why can `alexnet` not stay?
# 4. Ask Grad-CAM for "boathouse", and for your own photo.
