"""What people get wrong in a URL, found before redis-py overlooks it: pure.

Rules: redis-py ignores what it cannot read (a database that is no number, what follows a ``#``, the
host of a ``unix://`` URL), and would lead to another store than was meant. A text names the scheme
and says how to write it, but shows nothing of the URL: any part may be a piece of a password.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Collection, Iterable
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

_LAST_PORT = 65535
#: What Python leaves out of a URL that it takes apart.
_UNSEEN = frozenset("\t\r\n")
_OF_IPV6 = frozenset(string.hexdigits + ":.")


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _has_blank(host: str) -> bool:
    return any(letter.isspace() for letter in host)


def _lacks_brackets(host: str) -> bool:
    return host.count(":") > 1 and _OF_IPV6.issuperset(host)


def _has_bad_port(host: str) -> bool:
    name, _, port = host.rpartition(":")
    if not port or not name and ":" not in host or host.endswith("]"):
        return False
    return not _is_number(port) or len(port) > 5 or not 0 < int(port) <= _LAST_PORT


def _has_bad_database(parts: SplitResult) -> bool:
    return parts.scheme != "unix" and not _is_number(_path(parts) or "0")


def _has_two_databases(parts: SplitResult) -> bool:
    path = _path(parts)
    option = parse_qs(parts.query).get("db", [path])[0]
    return parts.scheme != "unix" and path != "" and _is_number(option) and int(option) != int(path)


def _path(parts: SplitResult) -> str:
    """Give what is after the host; one slash may follow it, as one may follow the host."""
    return unquote(parts.path).removeprefix("/").removesuffix("/")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


#: What may be wrong with a host and port, and what to say of it.
_OF_HOSTS: tuple[tuple[Callable[[str], bool], str], ...] = (
    (_has_blank, "the address in this {scheme}:// URL has a blank in it; leave it out"),
    (
        _lacks_brackets,
        "the IPv6 address in this {scheme}:// URL must stand in brackets, as in {scheme}://[::1]:6379",
    ),
    (
        _has_bad_port,
        f"the port in this {{scheme}}:// URL is not a number from 1 to {_LAST_PORT}; write host:port, "
        "and quote special characters in user and password",
    ),
)

#: What may be wrong with a URL, but for its host and port.
_OF_URLS: tuple[tuple[Callable[[SplitResult], bool], str], ...] = (
    (
        lambda parts: parts.fragment != "",
        "this {scheme}:// URL has a '#', after which everything would be ignored; write it as %23",
    ),
    (
        lambda parts: parts.scheme == "unix" and (_host(parts) != "" or parts.path in ("", "/")),
        "this unix:// URL does not name the file of a socket by its absolute path; write three slashes, "
        "as in unix:///tmp/redis.sock",
    ),
    (
        _has_bad_database,
        "the database in this {scheme}:// URL is not a whole number; the form is {form}",
    ),
    (
        _has_two_databases,
        "this {scheme}:// URL asks for one database by its path and for another by the option db; give "
        "only one",
    ),
)

#: What comes after the scheme, by its variant.
_FORMS = {"": "host:port/0", "sentinel": "host:port,host:port/service/0", "cluster": "host:port"}


def find_slip(url: str, scheme: str, hosts: Iterable[str] | None = None) -> str | None:
    """Tell what is wrong with a URL, if it is one of the usual slips.

    Parameters
    ----------
    url : str
        One that redis-py reads.
    scheme : str
        How it began when the user wrote it.
    hosts : iterable of str, optional
        Hosts and ports that the user wrote, if they are not in `url`.

    Returns
    -------
    str or None
        One sentence that says what to write.
    """
    if not _UNSEEN.isdisjoint(url):
        return f"this {scheme}:// URL has a line break or a tab in it; leave it out"
    parts = urlsplit(url)
    if hosts is None:
        hosts = () if parts.scheme == "unix" else (_host(parts),)
    texts = [text for is_wrong, text in _OF_URLS[:1] if is_wrong(parts)]
    texts += [text for host in hosts for is_wrong, text in _OF_HOSTS if is_wrong(host)]
    texts += [text for is_wrong, text in _OF_URLS[1:] if is_wrong(parts)]
    if not texts:
        return None
    form = f"{scheme}://{_FORMS[scheme.partition('+')[2]]}"
    return texts[0].format(scheme=scheme, form=form)


def wrong_scheme(scheme: str | None, known: Collection[str]) -> str:
    """Say what is wrong with a URL whose scheme is not among the known ones.

    Parameters
    ----------
    scheme : str or None
        What is before the ``://``, if that is there.
    known : collection of str
        Our schemes.
    """
    use = "use " + ", ".join(f"{each}://" for each in known)
    if scheme is None:
        return f"a URL starts with its scheme; {use}"
    # A scheme is a word, or some; what is none may be a password that went astray.
    if re.fullmatch("[a-z]+([+-][a-z]+)*", scheme) is None:
        return f"this is no scheme of ours; {use}"
    meant = scheme.replace("-", "+")
    hint = f"you may mean {meant}://" if meant in known else use
    return f"'{scheme}://' is no scheme of ours; {hint}"


def wrong_option(error: Exception, scheme: str) -> str | None:
    """Say which option of a URL has a value that redis-py cannot read, if `error` is about one."""
    found = re.search(r"Invalid value for [`'](\w+)[`']", str(error))
    return (
        found and f"the option {found[1]} of this {scheme}:// URL cannot have the value it is given"
    )
