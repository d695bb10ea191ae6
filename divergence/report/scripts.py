"""The scripts that draw the charts, inlined once a page: Vega, Vega-Lite, vega-embed, and the notices of their authors.

Their licences (BSD, ISC, MIT) ask that copyright notices go with every copy; a minified bundle has none, so the page
carries them at its end. `template/scripts.txt` holds the texts of the packages that are in the bundle.
"""

from __future__ import annotations

import functools
import re
from importlib import metadata, resources

from divergence.kept import kept_text

MADE = "the scripts of this page: "  # how the bundle's first line begins; what follows are names and versions


@functools.cache
def vega_bundle() -> str:
    """Vega, Vega-Lite and the embedding script as one text, safe inside a script element; its first line says which."""
    bundle = kept_text(f"vega-{metadata.version('vl-convert-python')}-named.js", _made_bundle)
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _made_bundle() -> str:
    import vl_convert

    bundle = vl_convert.javascript_bundle(None)  # pyright: ignore[reportArgumentType]  # its stub forgets None = everything
    lite = vl_convert.get_vegalite_versions()[-1]
    lite = next(iter(re.findall(rf'"({re.escape(lite)}\.\d+)"', bundle)), lite)
    used = f"Vega {vl_convert.get_vega_version()}, Vega-Lite {lite} and vega-embed {vl_convert.get_vega_embed_version()}"
    return f"/*! {MADE}{used}. Their notices stand at the end of the page. */\n{bundle}"


def versions(bundle: str) -> str:
    """Names and versions of the scripts of a bundle, as a sentence lists them."""
    found = re.match(rf"/\*! {re.escape(MADE)}(.+?)\. Their", bundle)
    return found.group(1) if found else "Vega, Vega-Lite and vega-embed"


def notices() -> str:
    """Copyright notices and licences of the scripts, as their packages carry them."""
    return (resources.files("divergence.report") / "template" / "scripts.txt").read_text(encoding="utf-8")
