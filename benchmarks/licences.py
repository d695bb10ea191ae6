"""Under which licence is each package that a report needs? What the packages themselves declare, as a table.

Run by `make audit`; writes `licences.md` beside this file. A package that declares none is named so, and a licence that
binds who passes the program on (GPL, AGPL) ends the run with 1.
"""

from __future__ import annotations

import importlib.metadata
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[1]
BINDING = re.compile(r"\b(A?GPL|GNU (Affero )?General Public)", re.IGNORECASE)


def locked(lock: str) -> list[str]:
    """Names of the packages of a lock."""
    return sorted(re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / lock).read_text(), re.MULTILINE))


def licence(name: str) -> str | None:
    """What an installed package declares; None where it is not installed (another platform)."""
    try:
        said = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    kinds = [
        entry.rsplit("::", 1)[1].strip() for entry in said.get_all("Classifier") or [] if entry.startswith("License ::")
    ]
    text = said.get("License-Expression") or ", ".join(kinds) or (said.get("License") or "").strip().split("\n")[0]
    return text[:80] or "none declared"


def main() -> int:
    """Write the table; 1 where a licence is binding."""
    rows = [(name, licence(name)) for name in locked("requirements.lock")]
    table = "".join(f"| {name} | {said} |\n" for name, said in rows if said is not None)
    left = ", ".join(name for name, said in rows if said is None) or "none"
    head = "# Licences of what a report needs\n\n| package | licence, as it declares it |\n|---|---|\n"
    (ROOT / "benchmarks" / "licences.md").write_text(f"{head}{table}\nNot on this platform: {left}.\n")
    binding = [name for name, said in rows if said and BINDING.search(said) and "LGPL" not in said and "Lesser" not in said]
    print(f"{len(rows)} packages; binding licences: {', '.join(binding) or 'none'}")
    return 1 if binding else 0


if __name__ == "__main__":
    sys.exit(main())
