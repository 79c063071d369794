from typing import Any

from docutils.statemachine import StringList

class Directive:
    required_arguments: int
    has_content: bool
    arguments: list[str]
    content: StringList
    state: Any
