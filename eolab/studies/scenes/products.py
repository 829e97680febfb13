"""Maps of the labels of a scene, a pixel for each patch of it."""

import xarray as xr

from eolab.data.layouts.bigearthnet import BANDS
from eolab.data.schemes.bigearthnet import class_set
from eolab.prediction import mapping
from eolab.prediction.mapping.bands import Bands
from eolab.studies.products import Trained, Wanted, check_pixels, open_image, scene_entry, scene_of_bands
from eolab.studies.scenes.maps import product_reader
from eolab.studies.scenes.samples import with_classes


def content_of(trained: Trained) -> Bands:
    """Return the labels of a network of the study."""
    samples = with_classes(trained.samples, trained.record.settings.get("classes", ""))
    return mapping.probability_bands(class_set(samples.metadata["classes"]).scheme)


def scene_of(trained: Trained, wanted: Wanted) -> mapping.Scene:
    """Open a scene for a network of the study.

    One of published patches reads digital numbers of a product of Level-2A, of which clouds and their shadows
    are no data, one of patches of one's own a scene with their bands.
    """
    chosen, content = trained.channels, content_of(trained)
    if tuple(trained.facts["coords"]["band"]) != BANDS:
        return scene_of_bands(trained, wanted, chosen, content=content)
    entry = scene_entry(trained, wanted)
    image, scl, time = open_image(entry, wanted, chosen.stored)
    check_pixels(trained, grid := image.odc.geobox, wanted.place)
    product = xr.Dataset({"reflectance": image} | ({} if scl is None else {"scl": scl}))
    depends = {"scene": str(entry.path), "time": time, "channels": list(chosen.names)}
    return mapping.Scene(
        entry.name, grid, product_reader(product, chosen.stored), content, time, depends=depends
    )
