"""Maps of scenes with the network of a run of any study: ``eolab map RUN SCENE``, and the same in a notebook.

A study that prepares its scenes in its own way has a module ``products`` with ``scene_of(trained, wanted)``,
which serves all samples that its functions have made, those of a user's study too. Of other samples the bands
are read that the network's channels are named after::

    from eolab.studies import products

    products.map_scene(run_folder, "S2A_MSIL2A_….SAFE", "map.tif", stac=True, polygons=True)
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox

from eolab import prediction, runs, tasks
from eolab.core.errors import DataError, ParameterError, RunError
from eolab.data import catalog, schemes
from eolab.data.catalog import DataEntry
from eolab.data.ground import pixel_size_m
from eolab.data.layouts import patches, rasters
from eolab.data.layouts.series import of_day
from eolab.data.schemes import COLORS, ClassScheme
from eolab.data.store import Store, open_store
from eolab.prediction import mapping
from eolab.prediction.ranges import TASK_FILE
from eolab.prediction.serving import Form
from eolab.prediction.sources import resolve

WHOLE = ("image_classification", "multilabel_classification")  # tasks with labels of whole images
SEQUENCES = "sequence_classification"
UNDATED = "1970-01-01"  # stands for the day of images that nobody has dated
PRODUCTS = ("sentinel2_safe", "sentinel2_corine")  # layouts of folders of Sentinel-2 products
PIXEL_TOLERANCE = 0.1
FEW = 5  # labels that are named one by one


@dataclass(frozen=True)
class Wanted:
    """What is to be mapped.

    Attributes:
        place: Sentinel-2 product, GeoTIFF, folder of images, or data set of the catalogue.
        date: Day, or year of a series; empty where there is one.
        tile: Tile, where there are several.
        dem: Heights, for networks that read them.
    """

    place: str | Path
    date: str = ""
    tile: str = ""
    dem: str | Path | None = None


@dataclass(frozen=True)
class Trained:
    """A run that has trained a network.

    Attributes:
        record: The run.
    """

    record: runs.RunRecord

    @cached_property
    def described(self) -> tuple[str, str, Mapping[str, tasks.Channels]]:
        """Task, name of the architecture, and channels by input; a saved baseline reads series of pixels."""
        if not (self.record.folder / TASK_FILE).is_file() and resolve(self.record.folder):
            return "series_classification", str(self.record.params.get("model", "baseline")), {}
        return tasks.described(self.record.folder)

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.described[0]

    @property
    def output(self) -> str:
        """The output that is mapped, where its network has several."""
        return "values" if self.task == "regression" else "mask"

    @property
    def channels(self) -> tasks.Channels:
        """Channels of the input ``image``, of which a scene gives those that the network reads.

        Raises:
            ParameterError: If the network reads something else too.
        """
        found = self.described[2]
        if set(found) != {"image"}:
            raise ParameterError(
                f"The network of {self.record.folder.name} reads {' and '.join(found)}: a scene has images "
                "of one sensor alone; train a network that reads no more."
            )
        chosen = found["image"]
        return replace(chosen, stored=tuple(dict.fromkeys(chosen.sources or chosen.names)))

    @cached_property
    def before(self) -> runs.RunRecord:
        """The run that made its samples.

        Raises:
            RunError: If it is not known.
        """
        found = self.record.upstream.get("preprocessed")
        if found is None:
            raise RunError(f"{self.record.folder} names no run of its samples: train it again.")
        return runs.load(found)

    @cached_property
    def samples(self) -> Store:
        """The samples that it has learned from."""
        return open_store(self.before.folder / "store")

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What its samples say of themselves; nothing where they are not kept."""
        return self.samples.metadata if (self.before.folder / "store").is_dir() else {}

    def option(self, name: str, default: str) -> Any:
        """Return how its samples were prepared: what they say of it, or the parameter of their run."""
        return {**self.before.params, **self.facts}.get(name, default)

    @cached_property
    def dataset(self) -> DataEntry | None:
        """The data set of its samples; None where the catalogue does not name it any more."""
        return catalog.load().get(str(self.facts.get("dataset")))

    def scheme(self) -> ClassScheme:
        """Return the classes that it tells apart.

        Raises:
            DataError: If its samples do not name them.
        """
        facts = self.samples.metadata
        if "class_scheme" in facts:
            return schemes.scheme_of(facts)
        names = facts["coords"].get("class")
        if names is None:
            raise DataError(
                f"{self.samples.path} names no classes: write them into its metadata, as coords: class."
            )
        colors = facts.get("colors") or itertools.cycle(COLORS)
        return ClassScheme.numbered(str(facts.get("dataset")), zip(names, colors, strict=False))


def map_scene(
    run: str | Path,
    scene: str | Path,
    path: str | Path,
    *,
    date: str = "",
    tile: str = "",
    dem: str | Path | None = None,
    engine: Any = "keras",
    stac: bool = False,
    polygons: bool = False,
) -> Path:
    """Map a scene with the network of a run, as a Cloud-Optimised GeoTIFF.

    Of classes band 1 is the likelier and band 2 its probability in percent; labels of whole images have a
    band each, with the label's probability in percent, and a pixel for each patch; values have one band.

    Args:
        run: Folder of a run that has trained a network.
        scene: Sentinel-2 product (.SAFE or .zip), GeoTIFF, folder of images, or data set of the catalogue.
        path: The file to write.
        date: Day of the image where there are several; for networks of series the year.
        tile: Tile, where there are several.
        dem: Heights in metres, for networks that read them.
        engine: What computes, see :func:`eolab.prediction.load`.
        stac: Whether to write a STAC item beside it.
        polygons: Whether to write the areas of classes as polygons beside it, a GeoPackage.

    Returns:
        The path.

    Raises:
        ParameterError: If the run has no network that maps scenes, or a day or tile must be chosen.
        DataError: If the scene cannot be used: no place on the ground, other bands, pixels of another size,
            or values on another scale than the network has learned from.
    """
    trained, wanted = Trained(runs.load(run)), Wanted(scene, date, tile, dem)
    resolve(trained.record.folder)
    if trained.task == SEQUENCES:
        raise ParameterError(
            f"{run} has learned {trained.task}: its network gives one label to each image of a sequence, and "
            "no map; give a run that has learned masks, values or labels of patches."
        )
    found = of_study(trained, "scene_of")(trained, wanted)
    predictor = prediction.load(trained.record.folder, engine=engine, output=trained.output)
    channels = trained.described[2].get("image")
    return mapping.map_scene(
        predictor,
        replace(found, tags=_tags(trained, found) | dict(found.tags)),
        path,
        whole=trained.task in WHOLE,
        trained=channels.trained if channels else None,
        stac=stac,
        polygons=polygons,
    )


def of_study(trained: Trained, name: str) -> Any:
    """Return a function of the study that has made a network's samples, else this module's of that name."""
    room = f"eolab.studies.{trained.facts.get('study') or trained.record.record.get('study')}"
    own = find_spec(room) and find_spec(f"{room}.products")
    return getattr(import_module(f"{room}.products") if own else None, name, None) or globals()[name]


def said(path: Path) -> str:
    """Say in one sentence what a map holds, from its file."""
    with rasterio.open(path) as file:
        beside = [str(path.with_suffix(end)) for end in (".json", ".gpkg") if path.with_suffix(end).exists()]
        if file.count == 1:
            what = f"{file.descriptions[0]} in {file.units[0]}"
        elif "classes" in file.tags(1):
            what = "the likelier class and its probability in percent"
        else:
            names = [str(name) for name in file.descriptions]
            few = ", ".join(names) if len(names) <= FEW else f"{len(names)} labels"
            what = f"the probability in percent of {few}"
        if count := file.tags().get("images"):
            what += f", from {count} image{'s' * (count != '1')} of {file.tags()['year']}"
        text = f"{path}: {what}, {file.nodata:g} where there are no data"
    return f"{text}; beside it {', '.join(beside)}." if beside else f"{text}."


def _tags(trained: Trained, scene: mapping.Scene) -> dict[str, str]:
    """Return what a map says of itself: the run and network, the scene, whether data were simulated."""
    record = trained.record
    made_by = "/".join(str(record.record.get(key)) for key in ("study", "notebook", "run"))
    task, name, channels = trained.described
    what = getattr(scene.content, "name", "") or "probability of labels"
    day = f" of {scene.times}" if scene.times else ""
    return {
        "TIFFTAG_IMAGEDESCRIPTION": f"{what[:1].upper()}{what[1:]} by {name} of run {made_by}, from "
        f"{scene.name}{day}",
        "run": made_by,
        "task": task,
        "network": name,
        "scene": scene.name,
        "simulated": str(record.simulated).lower(),
    } | ({"channels": ", ".join(channels["image"].names)} if "image" in channels else {})


def content_of(trained: Trained) -> Any:
    """Return what a network predicts: classes, probabilities of labels, or a value in its unit."""
    if trained.task == "multilabel_classification":
        return mapping.probability_bands(trained.scheme())
    if trained.task != "regression":
        return trained.scheme()
    facts = trained.samples.arrays_spec["label"].attrs
    return mapping.ValueBand(str(facts.get("long_name", "value")), unit=str(facts.get("units") or "1"))


def scene_entry(trained: Trained, wanted: Wanted) -> DataEntry:
    """Return a scene as a data set of images.

    What its files do not say of themselves, bands and scale, is taken to be as in the data set that the
    network has learned from.

    Raises:
        ParameterError: If heights are given that no network reads.
        DataError: If there is no such scene, or it holds patches.
    """
    if wanted.dem:
        raise ParameterError("This network reads no heights: leave --dem out.")
    entry = catalog.of_place(wanted.place, "rasters")
    if entry.layout in PRODUCTS:
        entry = replace(entry, layout="rasters")
    if entry.layout != "rasters" or patches.are_meant(entry.images):
        raise DataError(
            f"{wanted.place} has the layout {entry.layout}, or is of patches: a scene is a Sentinel-2 "
            "product, a GeoTIFF or a folder of images."
        )
    if entry.images or rasters.holds_products(entry.path):
        return entry
    day = wanted.date if len(wanted.date) == len(UNDATED) else UNDATED
    learned = trained.dataset.pixels if trained.dataset else {}
    bands = {
        key: one for key, one in (trained.dataset.images if trained.dataset else {}).items() if key == "bands"
    }
    described = itertools.product(({}, {"date": day}), ({}, bands), (entry.pixels, learned))
    return _first_readable(
        [replace(entry, images=day | names, pixels=pixels) for day, names, pixels in described]
    )


def _first_readable(entries: list[DataEntry]) -> DataEntry:
    """Return the first entry whose images can be read, the last of all where none can."""
    for entry in entries:
        try:
            rasters.scan(entry.path, entry.images, entry.pixels)
        except DataError:
            continue
        return entry
    return entries[-1]


def level_of(entry: DataEntry) -> str | None:
    """Return the level of Sentinel-2 products that is taken where there are both: that of the ground."""
    levels = {*rasters.index(entry.path, entry.images, entry.pixels)[0]["level"]} - {""}
    return "L2A" if levels == {"L1C", "L2A"} else None


def open_image(
    entry: DataEntry, wanted: Wanted, names: tuple[str, ...]
) -> tuple[xr.DataArray, xr.DataArray | None, str]:
    """Open the bands of one day.

    Args:
        entry: Data set of layout ``rasters``.
        wanted: Day and tile.
        names: Bands and indices.

    Returns:
        The bands (band, y, x), lazy; the scene classification, None where there is none; and the time, empty
        where nothing says it.

    Raises:
        DataError: If the images lack a band.
        ParameterError: If a day or a tile must be chosen.
    """
    given: dict[str, Any] = {"tile": wanted.tile} if wanted.tile else {}
    source = entry.open(level=level_of(entry), **given)
    layers = rasters.layers(source)
    known = [str(band) for layer in layers for band in layer["band"].values]
    lacking = [name for name in names if name not in known]
    if lacking:
        raise DataError(
            f"{wanted.place} has no {', '.join(lacking)}, which the network reads; it has "
            f"{', '.join(known) or 'no band'}: name the bands in file or entry, or give another scene."
        )
    number = of_day(source, wanted.date, str(wanted.place))
    time = str(source["time"].values[number])[:19]
    layers = [
        layer.isel(time=number).sel(band=[name for name in names if name in layer["band"]])
        for layer in layers
    ]
    image = xr.concat([layer for layer in layers if layer.sizes["band"]], "band").sel(band=list(names))
    return (
        image,
        source["scl"].isel(time=number) if "scl" in source else None,
        "" if time[:10] == UNDATED else time,
    )


def check_pixels(trained: Trained, grid: GeoBox, place: Any) -> None:
    """Refuse a scene whose pixels have another size than those that a network has learned from.

    Raises:
        DataError: If it has.
    """
    known, found = trained.facts.get("pixel_m"), pixel_size_m(grid)[1]
    if known and abs(found / float(known) - 1) > PIXEL_TOLERANCE:
        raise DataError(
            f"{place} has pixels of {found:.4g} m, and the network has learned from pixels of "
            f"{float(known):.4g} m: bring it to these, such as with gdalwarp -tr."
        )


def scene_of(trained: Trained, wanted: Wanted) -> mapping.Scene:
    """Open a scene for a network that reads the bands of one image as they are.

    Raises:
        ParameterError: If the network reads series.
    """
    if "series" in trained.task or trained.task == "yearly_classification":
        raise ParameterError(
            f"The samples of {trained.record.folder} do not say how series are prepared, as those of "
            "landcover.store_metadata do: write that into their metadata."
        )
    return scene_of_bands(trained, wanted, trained.channels)


def scene_of_bands(
    trained: Trained, wanted: Wanted, chosen: tasks.Channels, scale: float = 1.0, **more: Any
) -> mapping.Scene:
    """Open a scene for a network that reads bands of one image.

    Args:
        trained: The network.
        wanted: The scene.
        chosen: Channels, ``stored`` being the bands that are read.
        scale: What values are multiplied by.
        **more: Fields of the scene in place of these.

    Returns:
        The scene; where a band has no value it is 0, and the pixel has no data.
    """
    entry = scene_entry(trained, wanted)
    image, _, time = open_image(entry, wanted, chosen.stored)
    grid = image.odc.geobox
    check_pixels(trained, grid, wanted.place)

    def read(row: int, col: int, height: int, width: int) -> dict[str, np.ndarray]:
        window = image.isel(y=slice(row, row + height), x=slice(col, col + width))
        values = window.transpose("y", "x", "band").to_numpy().astype(np.float32, copy=False)
        nodata = ~np.isfinite(values).all(axis=-1)
        return {"image": np.nan_to_num(values * np.float32(scale), posinf=0, neginf=0), "nodata": nodata}

    def prepare(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"image": chosen.assemble(inputs["image"])}

    depends = {"scene": str(entry.path), "time": time, "channels": list(chosen.names), "pixels": entry.pixels}
    fields: dict[str, Any] = {"times": time, "prepare": prepare, "depends": depends}
    if "content" not in more:
        fields["content"] = content_of(trained)
    return mapping.Scene(entry.name, grid, read, **fields | more)


def form_of(trained: Trained) -> Form:
    """Return how images are given to a network that reads the bands of its samples as they are.

    Raises:
        ParameterError: If two of its inputs have bands of one name.
    """
    inputs = trained.described[2]
    wanted = [tuple(dict.fromkeys(one.sources or one.names)) for one in inputs.values()]
    bands = tuple(itertools.chain(*wanted)) if inputs else tuple(trained.facts["coords"]["band"])
    if len({*bands}) < len(bands):
        raise ParameterError(
            f"The network of {trained.record.folder.name} reads {' and '.join(inputs)}, which have bands of "
            "one name: it cannot be served."
        )
    chosen = {name: replace(one, stored=bands) for name, one in inputs.items()}

    def prepare(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        image = given["image"] if "valid" in given else np.nan_to_num(given["image"])
        return {**given, "image": image} | {name: one.assemble(image) for name, one in chosen.items()}

    return Form(bands, prepare, of_study(trained, "content_of")(trained))
