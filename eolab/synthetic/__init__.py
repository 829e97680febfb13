"""Twins: simulated data sets in their exact published layout, with a truth that is known.

One writer a layout: the modules with the names of published layouts. They share one world: random fields,
parcels and other ``patterns``, ``materials`` with their spectra, seasons, backscatter and speckle (numbers in
``tables/``), the ``sky`` with sun and clouds; and what every writer needs (``writing``). Every writer takes a
folder and a seed, and the same seed gives the same pixels. The marker file ``twin.json`` says that the data
are simulated.
"""
