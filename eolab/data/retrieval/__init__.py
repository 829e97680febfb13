"""Images from STAC catalogues: found by tile or area, dates and clouds, and fetched into a folder.

The layout ``rasters`` opens such a folder. Files are fetched once, checked, and then read from the disk, as a
study reads each of them many times. So odc-stac, which reads from the network with each pass, is not needed:
pixel grid, mosaics and masks are those of the layout.
"""

from eolab.data.retrieval.fetching import fetch, fetch_summary
from eolab.data.retrieval.planning import plan, rates
from eolab.data.retrieval.searching import SERVICES, search
