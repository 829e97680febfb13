"""What C++ libraries write to standard error at start-up, which no reader needs."""

from __future__ import annotations

import re

NOISE = re.compile(  # absl and glog lines, and what TensorFlow and CUDA say at start-up
    r"^(WARNING: All log messages before absl"
    r"|[IWEF]\d{4} \d\d:\d\d:\d+\.\d+"
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] "
    r"|To enable the following instructions:"
    r"|SKIPPING RUNTIME REGISTRATION)"
)
