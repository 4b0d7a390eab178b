#!/bin/sh
# Measure on this machine's GPUs: training beside TRL and peft, the fused loss beside plain logits,
# and one run by every way to share it. Writes training.json, loss.json and distributed.txt.
#
#     benchmarks/gpu/run.sh OUT              # an hour on one H200; 30 GB of disk
#     benchmarks/gpu/run.sh OUT --tiny --only lora --trainers woolgather      # any processor
#
# Whatever follows OUT goes to training.py; see `benchmarks/gpu/training.py --help`. PYTHON names
# the interpreter that has woolgather, default: python.
set -eu
usage() { sed -n '2,9s/^# \{0,1\}//p' "$0"; }
case "${1:-}" in
"") usage >&2; exit 2 ;;
-h | --help) usage; exit 0 ;;
esac
out=$1
shift
here=$(CDPATH= cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
mkdir -p "$out"
"$python" "$here/training.py" --folder "$out/work" "$@" > "$out/training.json.part"
mv "$out/training.json.part" "$out/training.json"
gpus=$("$python" -c 'import torch; print(torch.cuda.device_count())')
if [ "$gpus" -eq 0 ]; then
    "$python" "$here/../loss.py" --tokens 256 --vocabularies 32000 --repeats 1 > "$out/loss.json"
    exit 0
fi
"$python" "$here/../loss.py" --device cuda --dtype bfloat16 --width 4096 --tokens 8192 \
    --vocabularies 32000,128256 > "$out/loss.json"
WOOLGATHER_HOME="$out/work" "$python" "$here/distributed.py" --mixture bench \
    --base "$(ls -d "$out"/work/models/* | head -n 1)" --processes "$gpus" --set dtype=bfloat16 \
    --set sequence_length=4096 --set steps=10 > "$out/distributed.txt"
