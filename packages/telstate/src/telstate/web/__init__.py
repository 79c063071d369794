"""A web page over a telescope state, live or in a snapshot; needs the extra ``web``."""

from __future__ import annotations

from importlib.util import find_spec

# Only looked for: the script of plotly is needed, and importing it is slow.
for name in ("starlette", "sse_starlette", "uvicorn", "plotly"):
    if find_spec(name) is None:
        raise ImportError(
            f"The web page needs {name}, which is not installed: pip install 'telstate[web]'.",
            name=name,
        )

from telstate.web._app import create_app  # noqa: E402  # needs them

__all__ = ["create_app"]
