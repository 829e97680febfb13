"""Metadata files of Sentinel-2 Level-2A products: the elements that readers use, in their published form."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

import numpy as np
from rasterio.warp import transform

from eolab.synthetic.calendar import CRS, ORIGIN, RELATIVE_ORBIT, TILE, Pass, stamp
from eolab.synthetic.sun import Sun

Array = np.ndarray

_PSD = "https://psd-14.sentinel2.eo.esa.int/PSD"
_VERSION = "esa/safe/sentinel/1.1/sentinel-2/msi/archive_l2a_user_product"
_SCENE_CLASSES = (
    "NODATA", "SATURATED_DEFECTIVE", "DARK_FEATURE_SHADOW", "CLOUD_SHADOW", "VEGETATION", "NOT_VEGETATED",
    "WATER", "UNCLASSIFIED", "CLOUD_MEDIUM_PROBA", "CLOUD_HIGH_PROBA", "THIN_CIRRUS", "SNOW_ICE",
)  # fmt: skip
_SHARES = (
    ("SATURATED_DEFECTIVE_PIXEL_PERCENTAGE", (1,)),
    ("DARK_FEATURES_PERCENTAGE", (2,)),
    ("CLOUD_SHADOW_PERCENTAGE", (3,)),
    ("VEGETATION_PERCENTAGE", (4,)),
    ("NOT_VEGETATED_PERCENTAGE", (5,)),
    ("WATER_PERCENTAGE", (6,)),
    ("UNCLASSIFIED_PERCENTAGE", (7,)),
    ("MEDIUM_PROBA_CLOUDS_PERCENTAGE", (8,)),
    ("HIGH_PROBA_CLOUDS_PERCENTAGE", (9,)),
    ("THIN_CIRRUS_PERCENTAGE", (10,)),
    ("SNOW_ICE_PERCENTAGE", (11,)),
)


def product(item: Pass, images: list[str], scl: Array, size: int) -> str:
    """Return ``MTD_MSIL2A.xml``; images are paths in the product without ``.jp2``."""
    schema = f"{_PSD}/User_Product_Level-2A.xsd"
    start = _iso(item.time)
    files = "\n".join(f"            <IMAGE_FILE>{name}</IMAGE_FILE>" for name in images)
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-2A_User_Product xmlns:n1="{schema}">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>{start}</PRODUCT_START_TIME>
      <PRODUCT_STOP_TIME>{start}</PRODUCT_STOP_TIME>
      <PRODUCT_URI>{item.product}</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL>
      <PRODUCT_TYPE>S2MSI2A</PRODUCT_TYPE>
      <PROCESSING_BASELINE>{item.baseline}</PROCESSING_BASELINE>
      <GENERATION_TIME>{_iso(item.generation)}</GENERATION_TIME>
      <PREVIEW_IMAGE_URL>Not applicable</PREVIEW_IMAGE_URL>
      <PREVIEW_GEO_INFO>Not applicable</PREVIEW_GEO_INFO>
      <Datatake datatakeIdentifier="G{item.mission}_{stamp(item.time)}_{item.orbit:06d}_N{item.baseline}">
        <SPACECRAFT_NAME>Sentinel-{item.mission[1:]}</SPACECRAFT_NAME>
        <DATATAKE_TYPE>INS-NOBS</DATATAKE_TYPE>
        <DATATAKE_SENSING_START>{start}</DATATAKE_SENSING_START>
        <SENSING_ORBIT_NUMBER>{RELATIVE_ORBIT}</SENSING_ORBIT_NUMBER>
        <SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION>
      </Datatake>
      <Query_Options completeSingleTile="true">
        <PRODUCT_FORMAT>SAFE_COMPACT</PRODUCT_FORMAT>
      </Query_Options>
      <Product_Organisation>
        <Granule_List>
          <Granule {_granule(item)}>
{files}
          </Granule>
        </Granule_List>
      </Product_Organisation>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
      </Special_Values>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX>
      </Special_Values>
      <Image_Display_Order>
        <RED_CHANNEL>3</RED_CHANNEL>
        <GREEN_CHANNEL>2</GREEN_CHANNEL>
        <BLUE_CHANNEL>1</BLUE_CHANNEL>
      </Image_Display_Order>
      <QUANTIFICATION_VALUES_LIST>
        <BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
        <AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>
        <WVP_QUANTIFICATION_VALUE unit="cm">1000.0</WVP_QUANTIFICATION_VALUE>
      </QUANTIFICATION_VALUES_LIST>
{_offsets(item)}      <Scene_Classification_List>
{_scene_classes()}
      </Scene_Classification_List>
    </Product_Image_Characteristics>
  </n1:General_Info>
  <n1:Geometric_Info>
    <Product_Footprint>
      <Product_Footprint>
        <Global_Footprint>
          <EXT_POS_LIST>{_footprint(size)}</EXT_POS_LIST>
        </Global_Footprint>
      </Product_Footprint>
      <RASTER_CS_TYPE>POINT</RASTER_CS_TYPE>
      <PIXEL_ORIGIN>1</PIXEL_ORIGIN>
    </Product_Footprint>
    <Coordinate_Reference_System>
      <GEO_TABLES version="1">EPSG</GEO_TABLES>
      <HORIZONTAL_CS_TYPE>GEOGRAPHIC</HORIZONTAL_CS_TYPE>
    </Coordinate_Reference_System>
  </n1:Geometric_Info>
  <n1:Quality_Indicators_Info>
    <Cloud_Coverage_Assessment>{_percent(scl, (8, 9, 10)):.6f}</Cloud_Coverage_Assessment>
{_content(scl, "    ")}
  </n1:Quality_Indicators_Info>
</n1:Level-2A_User_Product>
"""


def tile(item: Pass, sun: Sun, scl: Array, size: int) -> str:
    """Return ``MTD_TL.xml`` of the granule."""
    sizes = "\n".join(
        f"""      <Size resolution="{m}">
        <NROWS>{size * 10 // m}</NROWS>
        <NCOLS>{size * 10 // m}</NCOLS>
      </Size>
      <Geoposition resolution="{m}">
        <ULX>{ORIGIN[0]:.0f}</ULX>
        <ULY>{ORIGIN[1]:.0f}</ULY>
        <XDIM>{m}</XDIM>
        <YDIM>-{m}</YDIM>
      </Geoposition>"""
        for m in (10, 20, 60)
    )
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-2A_Tile_ID xmlns:n1="{_PSD}/S2_PDI_Level-2A_Tile_Metadata.xsd">
  <n1:General_Info>
    <TILE_ID metadataLevel="Brief">{_tile_id(item)}</TILE_ID>
    <DATASTRIP_ID metadataLevel="Standard">{_datastrip(item)}</DATASTRIP_ID>
    <DOWNLINK_PRIORITY metadataLevel="Standard">NOMINAL</DOWNLINK_PRIORITY>
    <SENSING_TIME metadataLevel="Standard">{_iso(item.crossing)}</SENSING_TIME>
  </n1:General_Info>
  <n1:Geometric_Info>
    <Tile_Geocoding metadataLevel="Brief">
      <HORIZONTAL_CS_NAME>WGS84 / UTM zone {int(CRS[-2:])}N</HORIZONTAL_CS_NAME>
      <HORIZONTAL_CS_CODE>{CRS}</HORIZONTAL_CS_CODE>
{sizes}
    </Tile_Geocoding>
    <Tile_Angles metadataLevel="Standard">
      <Mean_Sun_Angle>
        <ZENITH_ANGLE unit="deg">{sun.zenith:.6f}</ZENITH_ANGLE>
        <AZIMUTH_ANGLE unit="deg">{sun.azimuth:.6f}</AZIMUTH_ANGLE>
      </Mean_Sun_Angle>
    </Tile_Angles>
  </n1:Geometric_Info>
  <n1:Quality_Indicators_Info metadataLevel="Standard">
    <Image_Content_QI>
      <CLOUDY_PIXEL_PERCENTAGE>{_percent(scl, (8, 9, 10)):.6f}</CLOUDY_PIXEL_PERCENTAGE>
{_content(scl, "      ")}
    </Image_Content_QI>
  </n1:Quality_Indicators_Info>
</n1:Level-2A_Tile_ID>
"""


def manifest(item: Pass, folder: Path) -> str:
    """Return ``manifest.safe``: every file of the product with its size and checksum."""
    objects = []
    for number, path in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
        kind = "text/xml" if path.suffix == ".xml" else "application/octet-stream"
        checksum = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        objects.append(
            f"""    <dataObject ID="Object_{number}">
      <byteStream mimeType="{kind}" size="{path.stat().st_size}">
        <fileLocation locatorType="URL" href="./{path.relative_to(folder).as_posix()}"/>
        <checksum checksumName="MD5">{checksum}</checksum>
      </byteStream>
    </dataObject>"""
        )
    body = "\n".join(objects)
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1" version="{_VERSION}">
  <informationPackageMap>
    <xfdu:contentUnit textInfo="SENTINEL-2 MSI Level-2A User Product" unitType="Product_Level-2A"/>
  </informationPackageMap>
  <metadataSection>
    <metadataObject ID="acquisitionPeriod" classification="DESCRIPTION" category="DMD">
      <metadataWrap mimeType="text/xml" vocabularyName="SAFE" textInfo="Acquisition Period">
        <xmlData><acquisitionPeriod><startTime>{_iso(item.time)}</startTime></acquisitionPeriod></xmlData>
      </metadataWrap>
    </metadataObject>
  </metadataSection>
  <dataObjectSection>
{body}
  </dataObjectSection>
</xfdu:XFDU>
"""


def _iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.024Z")


def _datastrip(item: Pass) -> str:
    made, seen = stamp(item.generation), stamp(item.crossing)
    return f"{item.mission}_OPER_MSI_L2A_DS_VGS1_{made}_S{seen}_N{item.baseline}"


def _tile_id(item: Pass) -> str:
    made = stamp(item.generation)
    return f"{item.mission}_OPER_MSI_L2A_TL_VGS1_{made}_A{item.orbit:06d}_T{TILE}_N{item.baseline}"


def _granule(item: Pass) -> str:
    """Return the attributes of the granule's element."""
    identifiers = f'datastripIdentifier="{_datastrip(item)}" granuleIdentifier="{_tile_id(item)}"'
    return f'{identifiers} imageFormat="JPEG2000"'


def _offsets(item: Pass) -> str:
    """Return the list of offsets, which products before baseline 04.00 do not have."""
    if not item.offset:
        return ""
    rows = "".join(
        f'        <BOA_ADD_OFFSET band_id="{k}">{item.offset}</BOA_ADD_OFFSET>\n' for k in range(13)
    )
    return f"      <BOA_ADD_OFFSET_VALUES_LIST>\n{rows}      </BOA_ADD_OFFSET_VALUES_LIST>\n"


def _scene_classes() -> str:
    return "\n".join(
        f"""        <Scene_Classification_ID>
          <SCENE_CLASSIFICATION_TEXT>SC_{name}</SCENE_CLASSIFICATION_TEXT>
          <SCENE_CLASSIFICATION_INDEX>{code}</SCENE_CLASSIFICATION_INDEX>
        </Scene_Classification_ID>"""
        for code, name in enumerate(_SCENE_CLASSES)
    )


def _percent(scl: Array, codes: tuple[int, ...]) -> float:
    """Return the share of the seen pixels with one of the codes, in percent."""
    return 100 * float(np.isin(scl, codes).sum()) / max(1, int((scl != 0).sum()))


def _content(scl: Array, indent: str) -> str:
    nodata = 100 * float((scl == 0).mean())
    rows = [f"{indent}<NODATA_PIXEL_PERCENTAGE>{nodata:.6f}</NODATA_PIXEL_PERCENTAGE>"]
    rows += [f"{indent}<{tag}>{_percent(scl, codes):.6f}</{tag}>" for tag, codes in _SHARES]
    return "\n".join(rows)


def _footprint(size: int) -> str:
    """Return the corners of the scene as latitude and longitude, closed."""
    right, bottom = ORIGIN[0] + 10 * size, ORIGIN[1] - 10 * size
    x = [ORIGIN[0], right, right, ORIGIN[0], ORIGIN[0]]
    y = [ORIGIN[1], ORIGIN[1], bottom, bottom, ORIGIN[1]]
    longitudes, latitudes = transform(CRS, "EPSG:4326", x, y)
    return " ".join(f"{lat:.9f} {lon:.9f}" for lon, lat in zip(longitudes, latitudes, strict=True)) + " "
