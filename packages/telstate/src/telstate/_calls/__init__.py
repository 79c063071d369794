"""What each method of a telescope state means, without any I/O.

The functions here build a `Call` from a view and the arguments of a method: the operation to execute,
and the function that turns its result into the return value. The synchronous class, the asyncio class
and batches share them, so that each method is "build, execute, finish".
"""
