"""Configuration of the documentation: `nox -s docs` builds it, with warnings as errors and without a network."""

import sys
from importlib import metadata
from pathlib import Path

import matplotlib

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "telstate"
author = "the telstate authors"
copyright = author
release = metadata.version("telstate")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.graphviz",
    "sphinx_click",
    "sphinx_design",
    "telstate_kernel",
    "telstate_reference",
]
exclude_patterns = ["_build", "samples", "pictures", "**/.ipynb_checkpoints"]
nitpicky = True
# A name of a type that several modules have leads to one of them.
suppress_warnings = ["ref.python"]

# Pages
smartquotes = False
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_execution_in_temp = True
nb_merge_streams = True

# Docstrings
default_role = "link-or-code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {
    "AllowPickle": "telstate_codec.AllowPickle",
    "Key": "telstate_codec.Key",
    "Time": "telstate_codec.Time",
}
add_module_names = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# Diagrams
graphviz_output_format = "svg"
# Colours that read well on light and on dark pages.
_DIAGRAM = {
    "G": {"bgcolor": "transparent", "fontname": "sans-serif", "fontsize": "12"},
    "N": {
        "fontname": "sans-serif",
        "fontsize": "12",
        "shape": "box",
        "style": "filled,rounded",
        "fillcolor": "#dce9f5",
        "color": "#4a7fb0",
        "fontcolor": "#102030",
    },
    "E": {"fontname": "sans-serif", "fontsize": "11", "color": "#808080", "fontcolor": "#808080"},
}
graphviz_dot_args = [
    f"-{kind}{name}={value}"
    for kind, attributes in _DIAGRAM.items()
    for name, value in attributes.items()
]

# The look. Everything is in the build: no page needs a network.
html_theme = "pydata_sphinx_theme"
html_title = "telstate"
# Fonts in which plots of text line up: the first has the characters of lines, which the second lacks.
_FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")
html_static_path = [
    "_static",
    *(str(_FONTS / f"{name}.ttf") for name in ("DejaVuSans", "DejaVuSansMono")),
]
html_css_files = ["telstate.css"]
html_show_sourcelink = False
# Without a mode, the theme reports an error to the console of the browser.
html_context = {"default_mode": "auto"}
# There is nothing beside the gallery, and pictures need the width.
html_sidebars: dict[str, list[str]] = {"gallery/*": []}
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
}
