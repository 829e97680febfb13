#!/bin/bash
# Trains on several machines under Slurm; set the numbers below to those of your cluster.
#
#   sbatch docs/launch/slurm.sh landcover --profile full --only 04_train_pixels
#
# A process a machine takes all GPUs of it. Many processors a GPU are needed to read images fast enough: with
# --ntasks-per-node as many as there are GPUs, each process reads for one of them.
#SBATCH --job-name=eolab
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
set -euo pipefail
export KERAS_BACKEND=jax
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
MASTER_ADDR=${hosts%%$'\n'*}
MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export MASTER_ADDR MASTER_PORT
srun --kill-on-bad-exit=1 eolab run "$@"
