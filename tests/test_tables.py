"""Tables of patches and pixels."""

from __future__ import annotations

import landslide_example as example
import numpy as np
import pandas as pd
import pytest

from eolab.core.errors import DataError, ParameterError
from eolab.data import tables
from eolab.data.store import Store
from eolab.studies.landslide.channels import PIXEL_CHANNELS

ROWS = np.arange(example.PATCHES)
TRAIN, HELD = ROWS[:28], ROWS[28:]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return example.write(tmp_path_factory.mktemp("tables") / "store")


def patch_table(store: Store, rows, channels=PIXEL_CHANNELS) -> pd.DataFrame:
    return tables.patch_table(store, rows, channels)


def pixel_table(store: Store, rows, per_patch: int = 64, seed: int = 0) -> pd.DataFrame:
    return tables.pixel_table(store, rows, per_patch, seed, PIXEL_CHANNELS)


# === Patches ===


def test_a_patch_is_described_by_the_distribution_of_its_channels(store: Store) -> None:
    table = patch_table(store, ROWS)
    assert table["id"].tolist() == [100 + row for row in ROWS]
    assert tables.features_of(table)[:5] == ["B01_mean", "B01_std", "B01_p05", "B01_p50", "B01_p95"]
    assert len(tables.features_of(table)) == 5 * len(PIXEL_CHANNELS) == 90
    for row in (0, 17, 39):
        image, _ = example.patch(row)
        for name in ("B08", "slope", "NDVI"):
            values = image[..., example.NAMES.index(name)].astype(float).ravel()
            expected = [values.mean(), values.std(), *np.quantile(values, [0.05, 0.5, 0.95])]
            found = table.loc[row, [f"{name}_{s}" for s in ("mean", "std", "p05", "p50", "p95")]]
            np.testing.assert_allclose(found.to_numpy(float), expected, rtol=1e-5, atol=1e-6)


def test_unknown_pixels_count_in_neither_label_nor_share(store: Store) -> None:
    table = patch_table(store, ROWS)
    for row in ROWS:
        _, label = example.patch(row)
        known = label[label != 255]
        if row == example.UNKNOWN:
            assert table.loc[row, "label"] == 255
            assert np.isnan(table.loc[row, "share"])
        else:
            assert table.loc[row, "label"] == int((known == 1).any())
            assert table.loc[row, "share"] == pytest.approx((known == 1).mean())
    assert table.loc[list(example.EMPTY), "label"].tolist() == [0, 0]


def test_rows_come_in_the_order_asked_for_whatever_is_in_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = patch_table(store, ROWS).set_index("id")
    drawn = pixel_table(store, ROWS, 8)
    monkeypatch.setattr(tables, "AT_ONCE", 3)
    some = np.array([31, 4, 12, 5])
    pd.testing.assert_frame_equal(patch_table(store, some).set_index("id"), whole.loc[100 + some])
    pd.testing.assert_frame_equal(pixel_table(store, ROWS, 8), drawn)
    mask = np.isin(ROWS, some)
    assert patch_table(store, mask)["id"].tolist() == [104, 105, 112, 131]


def test_few_patches_are_in_memory_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    gather = Store.gather
    monkeypatch.setattr(
        Store, "gather", lambda self, rows, names: asked.append(len(rows)) or gather(self, rows, names)
    )
    patch_table(store, ROWS)
    pixel_table(store, ROWS)
    assert sum(asked) == 2 * len(ROWS)
    assert max(asked) <= tables.AT_ONCE < len(ROWS)


def test_a_missing_channel_and_missing_rows_are_named(store: Store) -> None:
    with pytest.raises(DataError, match="no channel 'NDWI': did you mean 'NDVI'"):
        patch_table(store, ROWS, ["NDWI"])
    with pytest.raises(DataError, match="No sample is given"):
        pixel_table(store, [])
    with pytest.raises(DataError, match="No sample is given"):
        patch_table(store, np.zeros(len(ROWS), bool))


# === Pixels ===


def test_drawn_pixels_are_those_of_the_store(store: Store) -> None:
    table = pixel_table(store, ROWS, per_patch=20)
    patch, y, x = table["id"] - 100, table["row"], table["col"]
    image, label = store.arrays["image"], store.arrays["label"]
    np.testing.assert_array_equal(table["slope"], image[patch, y, x, example.SLOPE])
    np.testing.assert_array_equal(table["B03"], image[patch, y, x, example.NAMES.index("B03")])
    np.testing.assert_array_equal(table["label"], label[patch, y, x])
    assert set(table["label"]) == {0, 1}
    assert not table.duplicated(["id", "row", "col"]).any()
    assert 100 + example.UNKNOWN not in set(table["id"])


def test_half_of_the_pixels_are_of_the_class_and_weights_restore_their_share(store: Store) -> None:
    table = pixel_table(store, ROWS, per_patch=20)
    for row in ROWS[ROWS != example.UNKNOWN]:
        part, (_, label) = table[table["id"] == 100 + row], example.patch(row)
        inside, outside = (label == 1).sum(), (label == 0).sum()
        assert len(part) == 20
        assert (part["label"] == 1).sum() == min(inside, 10)
        assert part["weight"].sum() == pytest.approx(inside + outside)
        assert part.loc[part["label"] == 1, "weight"].sum() == pytest.approx(inside)


def test_a_patch_with_fewer_pixels_gives_them_all(store: Store) -> None:
    table = pixel_table(store, [0, 3], per_patch=10_000)
    known = [(example.patch(row)[1] != 255).sum() for row in (0, 3)]
    assert table.groupby("id").size().tolist() == known
    assert (table["weight"] == 1).all()


def test_one_class_fills_up_where_the_other_is_short() -> None:
    label = np.full(100, 1, np.uint8)
    label[:3] = 0
    drawn, weight = tables.draw(label, 20, np.random.default_rng(0))
    assert (label[drawn] == 0).sum() == 3
    assert len(drawn) == 20
    assert weight.sum() == pytest.approx(100)


def test_the_draw_of_a_patch_depends_on_seed_and_patch_alone(store: Store) -> None:
    alone = pixel_table(store, [12], 16, seed=1)
    among = pixel_table(store, ROWS[::-1], 16, seed=1)
    among = among[among["id"] == 112].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, among)
    other = pixel_table(store, [12], 16, seed=2)
    assert not other["row"].equals(alone["row"])


def test_too_few_pixels_are_refused(store: Store) -> None:
    with pytest.raises(ParameterError, match="per_patch is 1"):
        pixel_table(store, ROWS, per_patch=1)


def test_tables_survive_parquet(store: Store, tmp_path) -> None:
    for name, table in (("pixels", pixel_table(store, TRAIN)), ("patches", patch_table(store, ROWS))):
        table.to_parquet(tmp_path / f"{name}.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), table)


def test_pixels_of_several_classes_are_drawn_alike_and_a_rare_one_gives_all() -> None:
    label = np.repeat([0, 1, 2, 255], [500, 300, 5, 195]).astype(np.uint8)
    drawn, weight = tables.draw(label, 65, np.random.default_rng(0))
    assert np.bincount(label[drawn]).tolist() == [30, 30, 5]
    assert [weight[label[drawn] == kind].sum() for kind in range(3)] == pytest.approx([500, 300, 5])
    values = np.where(np.arange(100) % 4 == 0, np.nan, 1.5)
    drawn, weight = tables.draw(values, 30, np.random.default_rng(0))
    assert np.isfinite(values[drawn]).all()
    assert weight.sum() == pytest.approx(75)


def test_statistics_of_images_leave_out_missing_values() -> None:
    image = np.random.default_rng(0).normal(0, 1, (3, 6, 5, 2)).astype(np.float32)
    image[0, :2] = np.nan
    image[1, ..., 1] = np.nan
    found = tables.image_statistics(image, (25, 75))
    assert found.shape == (3, 2, 4)
    for n, c in ((0, 0), (0, 1), (1, 0), (2, 1)):
        values = image[n, ..., c][np.isfinite(image[n, ..., c])]
        expected = [values.mean(), values.std(), *np.percentile(values, (25, 75))]
        np.testing.assert_allclose(found[n, c], expected, rtol=1e-4, atol=1e-6)
    assert np.isnan(found[1, 1]).all()


# === Rows ===


def test_positions_are_even_and_all_where_there_are_few():
    np.testing.assert_array_equal(tables.evenly(11, 3), [0, 5, 10])
    np.testing.assert_array_equal(tables.evenly(2, 9), [0, 1])
