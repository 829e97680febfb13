"""Networks for series of images of one place by several sensors; see :mod:`eolab.models.scenes.inputs`."""
