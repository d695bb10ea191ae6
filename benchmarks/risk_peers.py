"""Other tools on the same rows, in an environment of their own: a failure rate without labels (NannyML), what a monitor
reports of labelled rows (evidently). `risk_calibration.py` runs this; it needs no package of this project.

    python risk_peers.py nannyml|evidently FOLDER        # reads reference.parquet and fresh.parquet, prints one JSON object
"""

import contextlib
import io
import json
import sys
import time
import warnings
from importlib.metadata import version

warnings.filterwarnings("ignore")


def nannyml(reference, fresh) -> dict:
    """CBPE's failure rate: the expected accuracy of a classifier that always predicts a failure."""
    import nannyml as tool

    for frame in (reference, fresh):
        frame["predicted"] = 1
    estimator = tool.CBPE(
        problem_type="classification_binary",
        y_pred_proba="peer_risk",
        y_pred="predicted",
        y_true="failure",
        metrics=["accuracy"],
        chunk_size=len(fresh),
    )
    begin = time.process_time()
    estimator.fit(reference)
    fitted = time.process_time()
    found = estimator.estimate(fresh.drop(columns="failure")).filter(period="analysis").to_df()["accuracy"].iloc[0]
    return {
        "fit": fitted - begin,
        "seconds": time.process_time() - fitted,
        "value": float(found["value"]),
        "lower": float(found["lower_confidence_boundary"]),
        "upper": float(found["upper_confidence_boundary"]),
    }


def evidently(reference, fresh) -> dict:
    """The classification preset of labelled rows, and its log loss, which needs the same numbers as a calibration."""
    from evidently import BinaryClassification, DataDefinition, Dataset, Report
    from evidently.presets import ClassificationPreset

    definition = DataDefinition(
        classification=[BinaryClassification(target="failure", prediction_probas="peer_risk")],
        categorical_columns=["model", "context", "task", "failure"],
        numerical_columns=["peer_risk"],
    )
    data = [
        Dataset.from_pandas(frame[["model", "context", "task", "failure", "peer_risk"]], data_definition=definition)
        for frame in (fresh, reference)
    ]
    begin = time.process_time()
    made = json.loads(Report([ClassificationPreset()]).run(*data).json())
    seconds = time.process_time() - begin
    loss = [m["value"] for m in made["metrics"] if m["metric_name"].startswith("LogLoss")]
    return {
        "seconds": seconds,
        "log_loss": loss[0] if loss else None,
        "reports": sorted({m["metric_name"].partition("(")[0] for m in made["metrics"]}),
    }


def main() -> None:
    """Run one tool."""
    import pandas

    name, folder = sys.argv[1:3]
    frames = [pandas.read_parquet(f"{folder}/{part}.parquet") for part in ("reference", "fresh")]
    with contextlib.redirect_stdout(io.StringIO()):
        found = {"nannyml": nannyml, "evidently": evidently}[name](*frames)
    print(json.dumps({**found, "rows": len(frames[1]), "version": version(name)}))


if __name__ == "__main__":
    main()
