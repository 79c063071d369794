"""A web page over a telescope state, live or in a snapshot; needs the extra ``web``."""

from telstate_rdb.extras import require_extra

require_extra(
    "telstate", "web", "The web page needs", "starlette", "sse_starlette", "uvicorn", "plotly"
)

from telstate.web._app import create_app  # noqa: E402  # needs them

__all__ = ["create_app"]
