#!/bin/bash
# A run on SLURM: `sbatch deploy/slurm.sh SLIDES STORE [more of embedstore ingest]`. Ray starts on every node of the allocation; slides and
# store are on the shared file system. Change: partition, time, the number of nodes and what each has.
#SBATCH --job-name=embedstore
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120      # two minutes before the end: finished slides are committed; submit again to go on
#SBATCH --no-kill                # a node that fails costs the slides that it had in hand, not the run
set -euo pipefail

slides=$1 store=$2
shift 2
environment=${EMBEDSTORE_ENV:-$HOME/embedstore}              # which all nodes see
[ -f "$environment/bin/activate" ] || { echo "no Python environment at $environment: name one in EMBEDSTORE_ENV" >&2; exit 1; }
source "$environment/bin/activate"
export RAY_AUTH_MODE=disabled                               # the nodes are this allocation's alone
export RAY_USAGE_STATS_ENABLED=0                            # or Ray would report the use of the cluster to its makers
export GRPC_DNS_RESOLVER=native                             # names of nodes as their other programs find them, /etc/hosts too

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$head:$((20000 + SLURM_JOB_ID % 20000))
log=ray-$SLURM_JOB_ID.log                                   # what Ray says; the job's output has what embedstore says
one() { srun --nodes=1 --ntasks=1 --overlap --nodelist="$1" "${@:2}"; }
options=(--num-cpus "$SLURM_CPUS_PER_TASK" --object-store-memory 2000000000 --temp-dir "${TMPDIR:-/tmp}/ray-$SLURM_JOB_ID" --block)

one "$head" ray start --head --port "${address#*:}" --include-dashboard false "${options[@]}" &> "$log" &
ray=$!
until one "$head" ray status --address "$address" >/dev/null 2>&1; do
  kill -0 "$ray" || { echo "Ray did not start on $head: $PWD/$log says why" >&2; exit 1; }
  sleep 2
done
for node in $(scontrol show hostnames "$SLURM_JOB_NODELIST" | tail -n +2); do
  one "$node" ray start --address "$address" "${options[@]}" &>> "$log" &
done

embedstore ingest "$slides" --store "$store" --address "$address" "$@" &
run=$!
trap 'kill -TERM "$run"' TERM
wait "$run" || wait "$run"                                  # the signal ends the first wait, not the run
