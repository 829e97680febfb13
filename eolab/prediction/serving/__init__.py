"""A trained network as an HTTP service: images in, masks, labels or classes out; ``eolab serve RUN``.

=============  ===================================================================================
``reading``    what is sent: GeoTIFF, HDF5 or npy of strangers, its size known before it is read
``answering``  from what was sent to predictions, and from these to a GeoTIFF or JSON
``joining``    requests that wait are predicted together
``service``    the paths of the service, its limits and its errors; needs FastAPI
``server``     uvicorn on a socket, with a limit on slow connections; needs uvicorn
=============  ===================================================================================
"""

from eolab.prediction.serving.answering import Form, Model
from eolab.prediction.serving.joining import Joined
