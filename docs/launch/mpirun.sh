#!/bin/bash
# Trains on several machines with Open MPI, which starts the processes and does nothing else.
#
#   bash docs/launch/mpirun.sh node1:1,node2:1 landcover --profile full --only 04_train_pixels
#
# Its arguments are the machines, each with its number of processes, and what `eolab run` takes.
set -euo pipefail
hosts=$1
shift
export KERAS_BACKEND=jax MASTER_ADDR=${hosts%%[:,]*} MASTER_PORT=${MASTER_PORT:-29500}
mpirun --host "$hosts" --bind-to none -x KERAS_BACKEND -x MASTER_ADDR -x MASTER_PORT -x PATH eolab run "$@"
