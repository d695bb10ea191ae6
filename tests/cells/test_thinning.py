"""Thinned tables: the same for every way of cutting a log, exact for what they keep, unbiased for the rest."""

import contextlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import divergence as dv
from divergence.cells.cells import TABLES, thinned_by
from divergence.cells.replicates import replicates
from divergence.joint.clusters import session_excess
from divergence.numerics import together
from divergence.simulate import simulate, world

SETTING = dv.Configuration(factors=("quantization", "kv_cache_dtype", "concurrency"), kind="binary")


@contextlib.contextmanager
def _rows_max(rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("divergence.cells.cells.ROWS_MAX", rows)
        yield


def _log(seed=0, **sizes):
    log, _ = simulate(world("sessions", **({"n_models": 2, "n_contexts": 2, "n_items": 12} | sizes)), seed)
    return log.with_columns(answer=pl.when(pl.col("score") > 0).then(pl.lit("a")).otherwise(pl.col("item").str.slice(-1)))


def _collapsed(log):
    return dv.collapse(dv.read(log, configuration=SETTING))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 4), st.sampled_from([3, 20, 60]))
def test_parts_merge_to_the_whole(seed, parts, rows):
    """Three or more parts in any order, with bench rows that have no session."""
    log = _log().with_columns(session=pl.when(pl.col("regime") == "deployment").then("session"))
    rng = np.random.default_rng(seed)
    part = rng.permutation(np.arange(log.height) % parts)
    with _rows_max(rows):
        whole = _collapsed(log)
        assert whole.every("sessions") > 1
        assert whole.every("answers") > 1
        merged = None
        for k in rng.permutation(parts):
            one = _collapsed(log.filter(part == k))
            merged = one if merged is None else dv.merge(merged, one)
    assert merged.levels == whole.levels
    for name, (keys, sums) in TABLES.items():
        for column in (*keys, *sums):
            np.testing.assert_array_equal(getattr(merged, name)[column], getattr(whole, name)[column], err_msg=column)


def test_what_is_kept_is_exact():
    log = _log()
    whole = _collapsed(log)
    with _rows_max(30):
        kept = _collapsed(log)
        assert 1 < len(kept.levels["session"]) < len(whole.levels["session"])

    def rows(cells, name):
        table, (keys, sums) = getattr(cells, name), TABLES[name]
        named = [[cells.levels[k][code] if code >= 0 else None for code in table[k]] for k in keys]
        return dict(zip(zip(*named, strict=True), zip(*(table[s] for s in sums), strict=True), strict=True))

    for table in ("sessions", "answers"):
        exact, found = rows(whole, table), rows(kept, table)
        sessions = {key[TABLES[table][0].index("session")] for key in found}
        assert found == {key: v for key, v in exact.items() if key[TABLES[table][0].index("session")] in sessions}


@pytest.mark.parametrize(("rows", "every"), [(0, 1), (2**18, 1), (2**18 + 1, 2), (2**20, 4), (1e8, 512)])
def test_one_in_how_many(rows, every):
    assert thinned_by(rows) == every


def _excess(cells):
    raw_keys = np.stack([cells.counts[k] for k in ("model", "regime", "context", "wave")])
    _, raw = np.unique(raw_keys, axis=1, return_inverse=True)
    raw = raw.ravel()
    weight = cells.counts["n"] / np.bincount(raw, cells.counts["n"])[raw]
    level = np.bincount(raw, weight * cells.counts["y"] / cells.counts["n"])
    return session_excess(cells, cells.counts, raw, weight, level).excess.diagonal().sum()


def test_the_excess_of_sessions_is_unbiased():
    """The same log under other names of its sessions: the mean over names is the exact excess."""
    log = _log(3, n_items=40, n_trials=3)
    exact, found = _excess(_collapsed(log)), []
    with _rows_max(log.height // 4):
        for k in range(40):
            renamed = log.with_columns(session=pl.concat_str(pl.col("session"), pl.lit(f"/{k}")))
            found.append(_excess(_collapsed(renamed)))
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - exact) < 3.5 * error
    assert error < 0.2 * exact  # it could tell an estimate that forgets the factor 4


def test_replicates_are_pairs_of_kept_rows_from_different_sessions():
    """Against a loop over pairs of rows; the bench has no sessions and keeps all of its rows."""
    log = _log(5, n_trials=4).with_columns(session=pl.when(pl.col("regime") == "deployment").then("session"))
    log = pl.concat([log, log.with_columns(trial=pl.col("trial") + 100)])  # each session repeats itself
    with _rows_max(100):
        cells = _collapsed(log)
        assert cells.every("sessions") > 1
        contexts = np.unique(np.stack([cells.counts["regime"], cells.counts["context"]], axis=1), axis=0)
        found, items = replicates(cells, 0, contexts)
    kept = log.filter(pl.col("session").is_null() | pl.col("session").is_in(cells.levels["session"]))
    valid = dv.read(kept, configuration=SETTING).valid.filter(model=cells.levels["model"][0])
    names = {key: cells.levels[key] for key in ("regime", "context", "item")}
    for j, (regime, context) in enumerate(contexts):
        for k, item in enumerate(items[1]):
            rows = valid.filter(regime=names["regime"][regime], context=names["context"][context], item=names["item"][item])
            sessions, score = rows["session"].to_list(), rows["score"].to_list()
            pairs = [
                (a, b)
                for a in range(len(score))
                for b in range(len(score))
                if a != b and (sessions[a] is None or sessions[a] != sessions[b])
            ]
            assert found.n[j, 0, k] == len(score)
            assert found.pairs[j, 0, k] == len(pairs)
            assert found.products[j, 0, k] == sum(score[a] * score[b] for a, b in pairs)


def test_one_number_for_each_combination():
    rng = np.random.default_rng(0)
    codes = [rng.integers(-1, high, 500) for high in (3, 1, 40)]
    _, expected = np.unique(np.stack(codes), axis=1, return_inverse=True)
    np.testing.assert_array_equal(together(*codes), expected.ravel())
    assert together(np.zeros(0, int)).shape == (0,)
