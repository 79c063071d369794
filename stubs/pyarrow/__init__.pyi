# telstate uses pyarrow as Any; its own types are not complete.
from typing import Any

def __getattr__(name: str) -> Any: ...
