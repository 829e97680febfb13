"""Twins: simulated data sets in their exact published layout, with a truth that is known.

One module a writer (``landcover``), on shared terrain, land cover, spectra and clouds. Every writer takes a
folder and a seed, and the same seed gives the same pixels. The marker file ``twin.json`` says that the data
are simulated.
"""
