"""Opening a data set as its study does, so that a check says beforehand what a study would run into."""

from eolab.data import layouts, own_labels
from eolab.data.catalog import DataEntry
from eolab.data.layouts import patches


def open_as_its_study(entry: DataEntry) -> None:
    """Open a data set as the first cells of the study that reads its layout do.

    Raises:
        EolabError: What the study would end with.
    """
    reader = layouts.reader(entry.layout)
    if entry.layout in ("sentinel2_corine", "eolearn_patch"):
        from eolab.studies.landcover.series import open_series

        tiles = reader.tiles(entry.path) if hasattr(reader, "tiles") else []
        for tile in tiles or [""]:
            open_series(entry, tile=tile)
    elif patches.are_meant(entry.images):
        patches.index(entry.path, entry.images, entry.pixels, entry.labels)
    elif entry.layout == "rasters":
        reader.index(entry.path, entry.images, entry.pixels)
        for name in entry.labels:
            file, _ = entry.label_file(name)
            if file.suffix.lower() in own_labels.RASTERS:
                own_labels.on_grid(entry, entry.open(), name)
    elif hasattr(reader, "index"):
        reader.index(entry.path)
    else:
        entry.open()
