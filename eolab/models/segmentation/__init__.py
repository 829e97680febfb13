"""Networks that give each pixel of an image a class; one architecture a file, heads shared.

Every function takes the side of the image, the number of bands and of classes, the statistics of the bands, a
width (1 is the published size) and a head; see :mod:`eolab.models.segmentation.heads`.
"""
