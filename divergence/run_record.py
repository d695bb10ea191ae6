"""What it takes to make results again, as `run.json` keeps it."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from divergence.executions import Executions
    from divergence.joint import Posterior
    from divergence.joint.checks import ModelCheck


def run_record(
    posterior: Posterior, log: Executions | None, checked: Mapping[str, tuple[ModelCheck, ...]] | None = None
) -> dict:
    """What it takes to make the results again: data, configuration, seed, versions; how the fit went, how it was checked."""
    record: dict = {
        "provenance": posterior.provenance,
        "system": platform.platform(),
        "spec": dataclasses.asdict(posterior.spec),
        "fits": [
            {
                "outcome": f.cells.outcome,
                "kind": f.cells.kind,
                "method": f.method,
                "why": f.why,
                "cpu_seconds": f.cpu_seconds,
                **f.counts,
                "diagnostics": [dataclasses.asdict(d) for d in f.diagnostics],
                "checks": {
                    c.kind: {**c.numbers, **({"reason": c.reason} if c.reason else {}), "rows": c.rows.to_dicts()}
                    for c in (checked or {}).get(f.cells.outcome, ())
                },
                "notes": [*f.cells.notes, *f.arms.notes],
            }
            for f in posterior.fits
        ],
    }
    if log is not None:
        record["data"] = [{"file": s.file, "bytes": s.bytes, "sha256": s.sha256} for s in log.sources]
        record["rows"] = dataclasses.asdict(log.counts)
        record["factors"] = log.factors
        record["configuration"] = _plain(dataclasses.asdict(log.configuration))
    return record


def _plain(value: object) -> object:
    """Mappings and tuples as JSON knows them, nothing that is unset."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None and v != {} and v != ()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
