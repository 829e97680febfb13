"""Draw a map as QGIS does when it is dropped into it: ``/usr/bin/python3 qgis_render.py MAP PICTURE [SIDE]``.

Prints, as JSON, what QGIS took from the file: its renderer, and the colour and label of each entry.
"""

import json
import os
import sys

from qgis.core import QgsApplication, QgsMapRendererParallelJob, QgsMapSettings, QgsRasterLayer
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

file, picture, side = sys.argv[1], sys.argv[2], int((sys.argv[3:] or [400])[0])
app = QgsApplication([], False)
app.initQgis()
layer = QgsRasterLayer(file, "map")
assert layer.isValid(), f"QGIS cannot open {file}"
settings = QgsMapSettings()
settings.setLayers([layer])
settings.setExtent(layer.extent())
settings.setOutputSize(QSize(side, round(side * layer.height() / layer.width())))
settings.setBackgroundColor(QColor(255, 255, 255))
settings.setDestinationCrs(layer.crs())
job = QgsMapRendererParallelJob(settings)
job.start()
job.waitForFinished()
job.renderedImage().save(picture)
renderer = layer.renderer()
entries = renderer.classes() if renderer.type() == "paletted" else []
provider = layer.dataProvider()
found = {
    "renderer": renderer.type(),
    "classes": [[int(one.value), one.color.name(), one.label] for one in entries],
    "bands": [layer.bandName(number) for number in range(1, layer.bandCount() + 1)],
    "nodata": [provider.sourceNoDataValue(number) for number in range(1, layer.bandCount() + 1)],
}
print(json.dumps(found), flush=True)
os._exit(0)  # QGIS may crash while Python takes its objects apart
