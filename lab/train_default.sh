#!/usr/bin/env bash
# Trains the default model from nothing: about three and a half hours on two CPU cores. Goes on where it was stopped.
#
#   lab/train_default.sh $SEGAE_DATA WORK
#
# base   no labelled scan of the trunk: what synthetic scans alone teach of it (leave-one-out starts here)
# main   all training scans but the held-out ones, and masks that `base` drew
# long   the same for longer, and masks that `main` drew; held-out scans measure and calibrate this one
# final  a little more, with the held-out scans: the shipped file
set -euo pipefail
data=$1 work=$2
mkdir -p "$work"
trunk=(ts_slab lidc0001 ts3mm ts_aorta ts_pulm)
head_neck=(kbp80 kbp82 kbp83 kbp84 kbp86 kbp87 kbp88 kbp89)

stage() { # name, then options of `python -m segae_lab train`
  local name=$1
  shift
  [ -f "$work/$name.onnx" ] ||
    python -m segae_lab train "$data" --work "$work/$name" -o "$work/$name.onnx" --atlas "$work/atlas.npz" "$@"
}
redraw() { python -m segae_lab redraw "$work/$1.onnx" --data "$data" --out "$work/predictions"; }

stage base --steps 5200 --synthetic 0.6 --unlabelled 0.1 --hold-out "${head_neck[@]}" "${trunk[@]}"
redraw base
stage main --steps 10000 --rate 1.2e-3 --initial "$work/base/checkpoint.pt" --predictions "$work/predictions"
redraw main
stage long --steps 16000 --rate 1e-3 --initial "$work/main/checkpoint.pt" --predictions "$work/predictions"
stage final --steps 4000 --rate 5e-4 --initial "$work/long/checkpoint.pt" --predictions "$work/predictions" \
  --hold-out --calibrated-by "$work/long.onnx"
