"""Other drift detectors on the same streams, each in an environment of its own; `drift.py` runs this.

    python drift_peers.py TOOL FOLDER [--seeds 3]     # reads FOLDER/SCENARIO-SEED.parquet, prints JSON lines

A file holds a reference followed by chunks of the stream; `chunk` is -1 in the reference. Every detector learns from the
reference, then looks at the chunks one after the other, with the settings that its documentation starts with. One line a
method and stream: an alarm (0 or 1) for each chunk looked at, and the CPU seconds of learning and looking. Slow methods look
at every fourth chunk only (`LOOKS`). Needs polars and numpy beside the tool itself, and no package of this project.
"""

import argparse
import contextlib
import io
import json
import os
import pathlib
import sys
import time
import warnings
from importlib.metadata import version

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["NML_DISABLE_USAGE_LOGGING"] = os.environ["DO_NOT_TRACK"] = "1"
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

NUMERIC = ("throughput", "queue", "kv_use", "ttft", "tpot", "error_rate", "preemptions")
LABELS = ("route", "class")
LEVEL = 0.05  # of a test, at each look
FEW = 2  # streams of each scenario that a slow method sees
STRIDE = 4  # a slow method looks at every fourth chunk


class Stream:
    """One file: its reference and its chunks."""

    def __init__(self, path: pathlib.Path) -> None:
        frame = pl.read_parquet(path)
        self.scenario, seed = path.stem.rsplit("-", 1)
        self.seed = int(seed)
        self.reference = frame.filter(pl.col("chunk") < 0)
        parts = frame.filter(pl.col("chunk") >= 0).partition_by("chunk", maintain_order=True)
        self.chunks = [part for part in parts]

    def slow(self) -> list[int]:
        """Numbers of the chunks that a slow method looks at."""
        return list(range(STRIDE // 2, len(self.chunks), STRIDE))


def numbers(frame: pl.DataFrame) -> np.ndarray:
    """The signals, shape (rows, 7)."""
    return frame.select(NUMERIC).to_numpy()


def coded(frame: pl.DataFrame) -> np.ndarray:
    """The signals and the two labels as codes, shape (rows, 9)."""
    routes = frame["route"].replace_strict({"edge": 0, "core": 1, "burst": 2, "spill": 3}, return_dtype=pl.Float64)
    return np.column_stack([numbers(frame), routes.to_numpy(), (frame["class"] == "long").to_numpy().astype(float)])


def tested(learn, look, stream: Stream, looks: list[int] | None = None) -> tuple[list[int], list[int], float, int]:
    """Alarms of `look(state, chunk)` after `state = learn(reference)`, at which chunks, CPU seconds and rows looked at."""
    looks = list(range(len(stream.chunks))) if looks is None else looks
    begin = time.process_time()
    state = learn(stream.reference)
    alarms = [int(bool(look(state, stream.chunks[k]))) for k in looks]
    return alarms, looks, time.process_time() - begin, sum(stream.chunks[k].height for k in looks)


# --- what everybody has: charts and tests of one look -------------------------------------------------------------------


def plain(stream: Stream):
    """Three-sigma charts of chunk means, and a Fisher z test of every pair's rank correlation with Bonferroni's level."""
    from scipy import stats

    def charts(reference):
        size = stream.chunks[0].height
        means = coded(reference)[: reference.height // size * size].reshape(-1, size, 9).mean(1)
        return means.mean(0), means.std(0, ddof=1)

    def outside(state, chunk):
        return (np.abs(coded(chunk).mean(0) - state[0]) > 3 * state[1]).any()

    def ranks(frame):
        return np.corrcoef(stats.rankdata(numbers(frame), axis=0).T)[np.triu_indices(len(NUMERIC), 1)], frame.height

    def apart(state, chunk):
        now, size = ranks(chunk)
        z = (np.arctanh(now) - np.arctanh(state[0])) / np.sqrt(1 / (size - 3) + 1 / (state[1] - 3))
        return 2 * stats.norm.sf(np.abs(z).max()) < LEVEL / len(z)

    yield "three-sigma charts of means", "column", tested(charts, outside, stream)
    yield "Fisher z of every pair, Bonferroni", "edge", tested(ranks, apart, stream)


# --- this project -------------------------------------------------------------------------------------------------------


def divergence(stream: Stream):
    """The monitor of `divergence drift`, promised over the planned run; an alarm stays. Both families come from one pass."""
    from divergence.drift.monitor import monitor

    columns = ["time", *NUMERIC, *LABELS]
    seen: list[set[str]] = []

    def learn(reference):
        return monitor(reference.select(columns), horizon=len(stream.chunks), chunk_rows=stream.chunks[0].height)

    def look(state, chunk):
        seen.append({alarm.family for alarm in state.update(chunk.select(columns)).alarms})
        return bool(seen[-1])

    _, *rest = tested(learn, look, stream)
    for family, names in (("structural", "edge"), ("surface", "column")):
        yield f"divergence, {family}", names, ([int(family in found) for found in seen], *rest)


# --- river --------------------------------------------------------------------------------------------------------------


def river(stream: Stream):
    """One detector a column, warmed up on the reference; an alarm of a chunk is an alarm at any of its rows.

    Their default thresholds are for values of about unit size: columns are standardised by the reference.
    """
    from river import drift  # pyright: ignore[reportMissingImports]

    def columns(make):
        def learn(reference):
            centre, spread = numbers(reference).mean(0), numbers(reference).std(0)
            state = [make() for _ in NUMERIC], centre, spread
            feed(state, reference)
            return state

        return learn

    def feed(state, frame):
        detectors, centre, spread = state
        seen = False
        for detector, values in zip(detectors, ((numbers(frame) - centre) / spread).T.tolist(), strict=True):
            for value in values:
                detector.update(value)
                seen |= detector.drift_detected
        return seen

    def errors(detector, frame):
        seen = False
        for value in frame["score"].to_list():
            detector.update(value < 0.5)
            seen |= detector.drift_detected
        return seen

    def warmed(reference):
        detector = drift.binary.DDM()
        errors(detector, reference)
        return detector

    yield "river ADWIN, any column", "column", tested(columns(drift.ADWIN), feed, stream)
    yield "river Page-Hinkley, any column", "column", tested(columns(drift.PageHinkley), feed, stream)
    yield "river DDM on failures", "nothing", tested(warmed, errors, stream)


# --- frouros ------------------------------------------------------------------------------------------------------------


def frouros(stream: Stream):
    """Two-sample tests and distances of columns, and the kernel distance of whole rows with 100 permutations."""
    from frouros.callbacks import PermutationTestDistanceBased  # pyright: ignore[reportMissingImports]
    from frouros.detectors.data_drift import MMD, PSI, ChiSquareTest, KSTest  # pyright: ignore[reportMissingImports]

    def columns(make, names):
        def learn(reference):
            detectors = [(name, make()) for name in names]
            for name, detector in detectors:
                detector.fit(X=reference[name].to_numpy())
            return detectors

        return learn

    def tests(reference):
        return columns(KSTest, NUMERIC)(reference) + columns(ChiSquareTest, LABELS)(reference)

    def small(detectors, chunk):
        found = [detector.compare(X=chunk[name].to_numpy())[0].p_value for name, detector in detectors]
        return min(found) < LEVEL / len(found)

    def far(detectors, chunk):
        return any(d.compare(X=chunk[name].to_numpy())[0].distance > 0.1 for name, d in detectors)

    def kernel(reference):
        centre, spread = numbers(reference).mean(0), numbers(reference).std(0)
        few = reference.sample(500, seed=0)
        callback = PermutationTestDistanceBased(num_permutations=100, random_state=0, num_jobs=1, name="test")
        detector = MMD(callbacks=[callback])
        detector.fit(X=(numbers(few) - centre) / spread)
        return detector, centre, spread

    def moved(state, chunk):
        detector, centre, spread = state
        return detector.compare(X=(numbers(chunk) - centre) / spread)[1]["test"]["p_value"] < LEVEL

    yield "frouros KS and chi-square, Bonferroni", "column", tested(tests, small, stream)
    yield "frouros PSI > .1, any column", "column", tested(columns(PSI, NUMERIC), far, stream)
    if stream.seed < FEW:
        yield "frouros MMD, 500 reference rows", "nothing", tested(kernel, moved, stream, stream.slow())


# --- alibi-detect -------------------------------------------------------------------------------------------------------


def alibi(stream: Stream):
    """Column tests with Bonferroni's level, and a classifier two-sample test with out-of-fold predictions."""
    from alibi_detect.cd import ClassifierDrift, TabularDrift  # pyright: ignore[reportMissingImports]
    from sklearn.ensemble import HistGradientBoostingClassifier

    def tabular(reference):
        return TabularDrift(coded(reference), p_val=LEVEL, categories_per_feature={7: 4, 8: 2})

    def classifier(reference):
        model = HistGradientBoostingClassifier(max_iter=25)
        few = coded(reference.sample(2000, seed=0))
        return ClassifierDrift(few, model, backend="sklearn", p_val=LEVEL, preds_type="probs", n_folds=3, seed=0)

    def flagged(detector, chunk):
        return detector.predict(coded(chunk))["data"]["is_drift"]

    yield "alibi-detect KS and chi-square, Bonferroni", "column", tested(tabular, flagged, stream)
    if stream.seed < FEW:
        found = tested(classifier, flagged, stream, stream.slow())
        yield "alibi-detect classifier two-sample test", "nothing", found


# --- NannyML ------------------------------------------------------------------------------------------------------------


def nannyml(stream: Stream):
    """Jensen-Shannon distance of each column, reconstruction error of principal components, and CBPE (no labels)."""
    import nannyml as tool  # pyright: ignore[reportMissingImports]
    import pandas as pd

    size = stream.chunks[0].height

    def framed(frames):
        table = pl.concat(frames)
        columns = {name: table[name].to_list() for name in (*NUMERIC, *LABELS, "predicted", "score")}
        return pd.DataFrame(columns).assign(decision=1)

    def alarms(calculator, after, alert):
        begin = time.process_time()
        calculator.fit(framed([stream.reference]))
        found = after(calculator)(framed(stream.chunks)).filter(period="analysis").to_df()
        flags = found.loc[:, [c for c in found.columns if c[-1] == alert]].any(axis=1)
        looks = list(range(len(stream.chunks)))
        rows = sum(chunk.height for chunk in stream.chunks)
        return flags.astype(int).tolist(), looks, time.process_time() - begin, rows

    columns = [*NUMERIC, *LABELS]
    each = tool.UnivariateDriftCalculator(
        column_names=columns,
        treat_as_categorical=list(LABELS),
        continuous_methods=["jensen_shannon"],
        categorical_methods=["jensen_shannon"],
        chunk_size=size,
    )
    whole = tool.DataReconstructionDriftCalculator(column_names=columns, chunk_size=size)
    label_free = tool.CBPE(
        problem_type="classification_binary",
        y_pred_proba="predicted",
        y_pred="decision",
        y_true="score",
        metrics=["accuracy"],
        chunk_size=size,
    )
    yield "NannyML Jensen-Shannon, any column", "column", alarms(each, lambda c: c.calculate, "alert")
    yield "NannyML PCA reconstruction", "nothing", alarms(whole, lambda c: c.calculate, "alert")
    yield "NannyML CBPE (accuracy)", "nothing", alarms(label_free, lambda c: c.estimate, "alert")


# --- Evidently ----------------------------------------------------------------------------------------------------------


def evidently(stream: Stream):
    """The drift preset as it comes, and with Kolmogorov-Smirnov tests; its own flag of the data set, and any column."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report  # pyright: ignore[reportMissingImports]
    from evidently.presets import DataDriftPreset  # pyright: ignore[reportMissingImports]

    if stream.seed >= FEW:
        return
    definition = DataDefinition(numerical_columns=list(NUMERIC), categorical_columns=list(LABELS))

    def data(frame):
        columns = {name: frame[name].to_list() for name in (*NUMERIC, *LABELS)}
        return Dataset.from_pandas(pd.DataFrame(columns), data_definition=definition)

    for words, preset in (
        ("defaults", DataDriftPreset()),
        ("KS and chi-square", DataDriftPreset(num_method="ks", cat_method="chisquare")),
    ):
        shares: list[float] = []

        def share(reference, chunk, preset=preset, shares=shares):
            metrics = Report([preset]).run(data(chunk), reference).dict()["metrics"]
            counted = next(m for m in metrics if m["metric_name"].startswith("DriftedColumnsCount"))
            shares.append(counted["value"]["share"])
            return shares[-1] > 0

        found = tested(data, share, stream, stream.slow())
        yield f"Evidently {words}, any column", "column", found
        yield f"Evidently {words}, data set (half of the columns)", "column", ([int(s >= 0.5) for s in shares], *found[1:])


# --- nonconform ---------------------------------------------------------------------------------------------------------


def nonconform(stream: Stream):
    """Restarted simple-jumper martingales over sequential ranks: of an isolation forest's score of a row, of each column.

    The forest learns from the first half of the reference, ranks begin with the second; P(ever an alarm) <= .05 where rows
    are exchangeable (columns: Bonferroni).
    """
    from nonconform.martingales import SimpleJumperMartingale  # pyright: ignore[reportMissingImports]
    from nonconform.monitoring import SequentialRankConformalizer  # pyright: ignore[reportMissingImports]
    from sklearn.ensemble import IsolationForest

    def watched(scores):
        ranks = SequentialRankConformalizer(seed=0)
        ranks.prime_many(scores)
        return ranks, SimpleJumperMartingale()

    def crossed(watch, scores, level):
        ranks, martingale = watch
        states = [martingale.update(p) for p in ranks.update_many(scores)]
        return max(state.log_restarted_martingale for state in states) >= np.log(1 / level)

    def forest(reference):
        half = reference.height // 2
        model = IsolationForest(random_state=0).fit(coded(reference[:half]))
        return model, watched(-model.score_samples(coded(reference[half:])))

    def unusual(state, chunk):
        model, watch = state
        return crossed(watch, -model.score_samples(coded(chunk)), LEVEL)

    def columns(reference):
        return [watched(reference[name].to_numpy()) for name in NUMERIC]

    def any_column(watches, chunk):
        found = [crossed(w, chunk[name].to_numpy(), LEVEL / len(NUMERIC)) for w, name in zip(watches, NUMERIC, strict=True)]
        return any(found)

    yield "nonconform martingale, isolation forest", "nothing", tested(forest, unusual, stream)
    if stream.seed < FEW:
        yield "nonconform martingales of columns", "column", tested(columns, any_column, stream)


TOOLS = {  # what runs, and the distribution whose version is told
    "divergence": (divergence, "eval-divergence"),
    "plain": (plain, "scipy"),
    "river": (river, "river"),
    "frouros": (frouros, "frouros"),
    "alibi-detect": (alibi, "alibi-detect"),
    "nannyml": (nannyml, "nannyml"),
    "evidently": (evidently, "evidently"),
    "nonconform": (nonconform, "nonconform"),
}


def main() -> int:
    """Every stream of the folder, one JSON line a method and stream."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("tool", choices=TOOLS)
    reader.add_argument("folder", type=pathlib.Path)
    reader.add_argument("--seeds", type=int, default=3)
    told = reader.parse_args()
    run, package = TOOLS[told.tool]
    for path in sorted(told.folder.glob("*-*.parquet")):
        stream = Stream(path)
        if stream.seed >= told.seeds:
            continue
        made = run(stream)
        while True:
            with contextlib.redirect_stdout(io.StringIO()):  # some tools talk
                found = next(made, None)
            if found is None:
                break
            method, names, (alarms, looks, seconds, rows) = found
            line = {"tool": told.tool, "version": version(package), "method": method, "names": names}
            line |= {"scenario": stream.scenario, "seed": stream.seed, "alarms": alarms, "looks": looks}
            print(json.dumps(line | {"cpu_s": seconds, "rows": rows}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
