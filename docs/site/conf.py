"""Sphinx: Markdown with MyST, notebooks as they are committed, no network."""

import divergence

project, author, copyright = "divergence", "The divergence developers", "The divergence developers, Apache-2.0"
version = release = divergence.__version__
extensions = ["myst_nb"]
html_theme = "pydata_sphinx_theme"
html_title = f"divergence {version}"
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "search_bar_text": "Search",
}
html_static_path: list[str] = []
nb_execution_mode = "off"  # figures are committed with the notebooks (notebooks/draw.py)
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
exclude_patterns = ["_build"]
nitpicky = True
