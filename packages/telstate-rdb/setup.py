"""Builds the C extension, if there is a compiler; everything else is in pyproject.toml."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "telstate_rdb._lzf", ["src/telstate_rdb/_lzf.c"], py_limited_api=True, optional=True
        )
    ],
    # One wheel for CPython 3.11 and later.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
