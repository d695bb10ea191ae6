"""What a verdict means elsewhere: for risk scores, for claims from the bench, and for what to replay."""

from __future__ import annotations

from divergence.drift.verdict import NONE, Verdict


def bridges(verdict: Verdict) -> tuple[str, ...]:
    """Sentences for `score`, for `report` and for `compare`."""
    if verdict.verdict == NONE:
        return (
            "Risk scores: nothing seen here makes their calibration stale.",
            "Bench: nothing seen here takes a claim back; what the log did not show is not excluded.",
            "Compare: there is no change to replay.",
        )
    since = min(alarm.change_from for alarm in verdict.alarms)
    structural = any(alarm.family == "structural" for alarm in verdict.alarms)
    edges = [edge for edge in verdict.edges if edge.settled] or list(verdict.edges[:1])
    named = ", ".join(dict.fromkeys(edge.name for edge in edges[:3]))
    why = (
        "their calibration holds for the couplings of the reference, and these changed"
        if structural
        else "their calibration holds for the mix of the reference, and it moved"
    )
    claims = (
        "which combination is best, context effects and coupling, since they describe how requests meet serving contexts"
        if structural
        else "the deployed level, the gap and the cost, since they average over a mix that moved"
    )
    return (
        f"Risk scores: stale since {since} ({why}): fit and calibrate again on rows after {verdict.time}.",
        f"Bench: claims that no longer carry past {since}: {claims}; read rows before and after as two contexts.",
        f"Compare: replay the same items over {named}, before and after: divergence compare BEFORE AFTER, BEFORE the rows "
        f"up to {since} and AFTER those from {verdict.time} on.",
    )


def flips_headline(verdict: Verdict) -> str | None:
    """The headline of an outcome-structure alarm: items answered otherwise at equal accuracy; None without one."""
    flips = next((e for e in verdict.edges if e.kind == "item_flips" and e.settled), None)
    accuracy = any(e.a == "score" and e.kind == "location" and e.settled for e in verdict.edges)
    if flips is None or accuracy:
        return None
    return (
        f"Accuracy stays, the answers do not: {flips.after:.0%} of the items are answered otherwise than before without "
        f"a change of accuracy (repeats alone: {flips.before:.0%})."
    )
