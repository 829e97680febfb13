"""eolab: a notebook-first research kit for deep learning on Earth-observation data.

Importing the package is cheap (no TensorFlow, no rasterio): each room is imported by name where it is used,
for example ``from eolab import catalog, plots``.
"""

__version__ = "0.1.0"
