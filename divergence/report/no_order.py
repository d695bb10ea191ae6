"""What the first screen says where nothing links the models of a log: their levels, and that no order of them is known."""

from __future__ import annotations

import dataclasses

from divergence.report.content import PageContent
from divergence.report.decision import Decision
from divergence.report.words import sentence

HEADLINE = "Who is first, on the bench or in deployment, cannot be told: no model links the contexts of these models."


def unlinked(content: PageContent) -> bool:
    """Do models that were judged in both worlds have contexts of their own?"""
    apart = content.no_order.get("deployment", "")
    return bool(apart) and content.answer("reversal") is None and content.reason("reversal") == sentence(apart)


def without_order(content: PageContent, decision: Decision) -> Decision:
    """The decision, without an order that the log does not know."""
    if len(decision.chances) < 2 or not unlinked(content):
        return decision
    told = (sentence(content.no_order["deployment"]), *([content.measure_next] if content.measure_next else []))
    return dataclasses.replace(decision, headline=HEADLINE, sentences=told, pairs=(), chances=())
