"""Networks that give a patch of an image several labels; one architecture a file, ends shared.

Every function takes the side of the patch, the number of bands and of labels, the statistics of the bands, a
width (1 is the published size), dropout and a penalty on weights; see :mod:`eolab.models.patches.ends`.
"""
