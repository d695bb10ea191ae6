"""Which questions an import leaves open on its own, so that its user knows what the other half of the log has to bring."""

from __future__ import annotations

from divergence.errors import InputError
from divergence.executions.foreign import sources_of
from divergence.executions.importers import Imported
from divergence.executions.names import ROW
from divergence.executions.read import read


def closed(imported: Imported) -> dict[str, str]:
    """The questions that these rows alone cannot answer, each with what is missing; `all` where none can be asked."""
    if not imported.rows:
        return {"all": "It needs executions; none was imported."}
    try:
        answers = read([source.frame.drop(ROW) for source in sources_of(imported, "import")]).answers()
    except InputError as error:
        return {"all": str(error)}
    return {answer.question: answer.reason or "" for answer in answers if not answer.identified}
