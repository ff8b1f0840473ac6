#!/usr/bin/env bash
# Trains the default model: about an hour and a half on two CPU cores. Goes on where it was stopped.
#
#   lab/train_default.sh $SEGAE_DATA WORK [BEGIN]
#
# It begins with BEGIN, a checkpoint or a model file (default: the model in the package). Held-out scans, marked in
# cases.csv, measure and calibrate it. Whoever needs weights free of research terms removes the rows of such sources
# from a copy of cases.csv, and begins with a model that did not learn from them.
set -euo pipefail
data=$1 work=$2 begin=${3:-$(python -c 'from segae.session import find_model; print(find_model("default"))')}
mkdir -p "$work"

# What networks made of the training scans: those that came with the data, and the built-in reference's masks.
python -m segae_lab masks --data "$data" --out "$work/predictions"
cp -n "$data"/data/*_pred_*.nii.gz "$work/predictions/"

python -m segae_lab train "$data" --work "$work/main" -o "$work/main.onnx" --atlas "$work/atlas.npz" \
  --initial "$begin" --predictions "$work/predictions" --steps 15000 --rate 6e-4 --synthetic 0.35 --unlabelled 0.03
