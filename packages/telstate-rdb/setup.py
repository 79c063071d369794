"""Builds the C extensions, if there is a compiler; everything else is in pyproject.toml."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            f"telstate_rdb.{name}",
            [f"src/telstate_rdb/{name}.c"],
            py_limited_api=True,
            optional=True,
        )
        for name in ("_lzf", "_walk")
    ],
    # One wheel for CPython 3.11 and later.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
