"""The check of a built site finds broken links and what is loaded from other hosts."""

from pathlib import Path

import check_site
import pytest


def problems(folder: Path, body: str) -> list[str]:
    """Return the problems of a site with one page of this body and an empty one."""
    (folder / "index.html").write_text(f"<p id='here'></p>{body}")
    (folder / "other.html").write_text("<p id='there'></p>")
    return list(check_site.problems(folder))


@pytest.mark.parametrize(
    "body",
    [
        "<a href='other.html#there'></a>",
        "<a href='#here'></a>",
        "<a href='https://example.org/page#anchor'></a>",
        "<img src='data:image/png;base64,AA=='>",
        "<style>p { background: url(other.html) }</style>",
    ],
)
def test_sound_links(tmp_path: Path, body: str) -> None:
    """Links to pages and anchors that exist, and links to other hosts, are right."""
    assert problems(tmp_path, body) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<a href='none.html'></a>", "index.html links to none.html, which does not exist"),
        (
            "<a href='other.html#x'></a>",
            "index.html links to other.html#x, but there is no such anchor",
        ),
        ("<a href='#x'></a>", "index.html links to #x, but there is no such anchor"),
        ("<img src='none.png'>", "index.html links to none.png, which does not exist"),
        ("<script src='//example.org/a.js'></script>", "index.html loads //example.org/a.js"),
        ("<link href='https://example.org/a.css'>", "index.html loads https://example.org/a.css"),
        (
            "<style>@import 'https://example.org/a.css'</style>",
            "index.html loads https://example.org/a.css",
        ),
    ],
)
def test_faults(tmp_path: Path, body: str, expected: str) -> None:
    """Anything else is named."""
    assert problems(tmp_path, body) == [expected]


def test_style_sheets(tmp_path: Path) -> None:
    """A style sheet that loads something from another host is named."""
    (tmp_path / "a.css").write_text("@font-face { src: url('https://example.org/a.woff2') }")
    assert problems(tmp_path, "") == ["a.css loads https://example.org/a.woff2"]
