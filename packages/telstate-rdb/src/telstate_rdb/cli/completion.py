"""Completion in bash of words with colons, as host:port and URLs are; that of click takes each for several.

Bash divides words at the characters of COMP_WORDBREAKS, and replaces only the last part of a word.
"""

from __future__ import annotations

import os
import re
from typing import Any

from click.shell_completion import BashComplete as ClickBashComplete
from click.shell_completion import CompletionItem, add_completion_class, split_arg_string

_SOURCE = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(env COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_CURRENT="${COMP_WORDS[COMP_CWORD]}" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class BashComplete(ClickBashComplete):
    """Completes the whole word before the cursor, and tells bash the part of it that it replaces."""

    source_template = _SOURCE
    _kept = ""  # the part of the word that stays

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the current one, and its beginning."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)[1:]
        incomplete = "" if not words or line[-1:].isspace() else words.pop()
        current = os.environ.get("COMP_CURRENT", incomplete).lstrip(":=")
        self._kept = incomplete[: max(len(incomplete) - len(current), 0)]
        return words, incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return a line for the function that bash calls."""
        if item.type != "plain":
            return f"{item.type},{item.value}"
        value = item.value.removeprefix(self._kept)
        return "plain," + re.sub(r"([^\w@%+=:,./-])", r"\\\1", value)


add_completion_class(BashComplete)
