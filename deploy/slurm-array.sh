#!/bin/bash
# Without Ray's cluster: `sbatch deploy/slurm-array.sh slides.csv STORE [more of embedstore ingest]`. Each task of the array ingests on its own
# node; they share the slides of the list, and their commits take turns.
#SBATCH --job-name=embedstore
#SBATCH --array=1-4
#SBATCH --cpus-per-task=16
#SBATCH --gpus=1
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120      # two minutes before the end: finished slides are committed; submit again to go on
set -euo pipefail

slides=$1 store=$2
shift 2
environment=${EMBEDSTORE_ENV:-$HOME/embedstore}              # which all nodes see
[ -f "$environment/bin/activate" ] || { echo "no Python environment at $environment: name one in EMBEDSTORE_ENV" >&2; exit 1; }
source "$environment/bin/activate"
exec embedstore ingest "$slides" --store "$store" "$@"
