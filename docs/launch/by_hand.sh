#!/bin/bash
# Starts one of several processes that train together; call it once on each machine.
#
#   bash docs/launch/by_hand.sh 0 2 node1 landcover --profile full --only 04_train_pixels     on node1
#   bash docs/launch/by_hand.sh 1 2 node1 landcover --profile full --only 04_train_pixels     on node2
#
# Its arguments are the number of the process, from 0, how many there are, the machine of process 0, and what
# `eolab run` takes. MASTER_PORT is the port that process 0 listens at.
set -euo pipefail
export KERAS_BACKEND=jax RANK=$1 WORLD_SIZE=$2 MASTER_ADDR=$3 MASTER_PORT=${MASTER_PORT:-29500}
shift 3
exec eolab run "$@"
