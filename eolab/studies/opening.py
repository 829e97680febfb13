"""Opening a data set as its study does, so that a check says beforehand what a study would run into."""

from pathlib import Path

from eolab.data import layouts, own_labels
from eolab.data.catalog import DataEntry
from eolab.data.layouts import patches

OF_LAYOUT = {
    "sentinel2_corine": "landcover",
    "eolearn_patch": "landcover",
    "landslide4sense": "landslide",
    "bigearthnet_v1": "scenes",
    "bigearthnet_v2": "scenes",
    "sen12flood": "flood",
}


def studies_of(entry: DataEntry) -> list[str]:
    """Return the names of the studies that can use a data set, as far as its entry tells."""
    if entry.layout != "rasters":
        return [OF_LAYOUT[entry.layout]] if entry.layout in OF_LAYOUT else []
    series = not patches.are_meant(entry.images)
    masks = any("{sample}" in one["file"] for one in entry.labels.values())
    places = (
        series
        and "{tile}" in entry.images.get("files", "")
        and not {"flooded", "flood"}.isdisjoint(entry.labels)
    )
    usable = any("column" in one or _names_classes(one["file"]) for one in entry.labels.values())
    fits = {
        "flood": places,
        "landcover": series and not places and usable,
        "clearing": series and not places,
        "landslide": masks,
        "scenes": not series and not masks,
    }
    return [name for name, fit in fits.items() if fit]


def first_run(entry: DataEntry, study: str) -> str:
    """Return the command that a study is begun with on a data set of one's own."""
    settings, only = f"dataset={entry.name}", ""
    if study == "scenes" and entry.layout == "rasters":
        found = patches.index(entry.path, entry.images, entry.pixels, entry.labels)
        settings += "" if (found["split"] != "").any() else " split=tile"
    if study == "clearing":
        stands = [name for name, one in entry.labels.items() if "column" in one and "{" not in one["file"]]
        named = "" if "stands" in stands else f" stands={stands[0] if stands else ''}"
        only, settings = " --only 01_explore", f'{settings}{named} objects= points= "classes=[]"'
    return f"eolab run {study}{only} --set {settings}"


def _names_classes(file: str) -> bool:
    """Return whether labels need no column: those of rasters and of waypoints."""
    return Path(file).suffix.lower() in (*own_labels.RASTERS, ".gpx")


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
    elif patches.are_meant(entry.images) and "landslide" in studies_of(entry):
        from eolab.studies.landslide import source as masks

        masks.of_entry(entry)
    elif patches.are_meant(entry.images):
        patches.index(entry.path, entry.images, entry.pixels, entry.labels)
    elif entry.layout == "rasters":
        found, _ = reader.index(entry.path, entry.images, entry.pixels)
        one = (found[["tile", "level"]].nunique() <= 1).all()  # of several tiles one is chosen in a run
        for name in entry.labels:
            file, facts = entry.label_file(name)
            meant = one and "map" not in entry.labels and "landcover" in studies_of(entry)
            vector = meant and "column" in facts
            if vector or file.suffix.lower() in own_labels.RASTERS:
                own_labels.on_grid(entry, entry.open(), name)
        if "flood" in studies_of(entry):
            from eolab.studies.flood import source

            source.index(entry)
    elif hasattr(reader, "index"):
        reader.index(entry.path)
    else:
        entry.open()
