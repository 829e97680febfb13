"""Twins: simulated data sets in their exact published layout, with a truth that is known.

One writer a layout: ``sentinel2_corine``, ``landslide4sense``, ``sen12flood``, ``bigearthnet``. They share
one world: random fields, parcels and other ``patterns``, ``materials`` with their spectra, seasons,
backscatter and speckle (numbers in ``tables/``), the ``sky`` with sun and clouds; and what every writer needs
(``writing``). Every writer takes a folder and a seed, and the same seed gives the same pixels. The marker
file ``twin.json`` says that the data are simulated.
"""
