def walk(
    buffer: bytes | bytearray | memoryview,
    position: int,
    count: int,
    tail: bytes,
    head: bytes,
    size: int,
    order: int,
    is_trusted: bool,
    /,
) -> tuple[int, int, int, int, int, int, bytes, int]: ...
