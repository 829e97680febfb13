#!/usr/bin/env bash
# On a compute instance: the conda environment, the package from this folder, and the kernel "eolab".
# Azure ML runs it as root when the instance is created; again in a terminal, it brings all up to date.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
sudo --user=azureuser --login bash -euo pipefail -c '
  conda env update --name eolab --file "$1/environment.yml"
  conda run --name eolab python -m pip install --no-deps --editable "$1"
  conda run --name eolab python -m ipykernel install --user --name eolab --display-name eolab
' setup "$project"
