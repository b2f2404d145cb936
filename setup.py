"""Hands the compiling of the extension to native/build.py; everything else is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).resolve().parent / "native"))


class BuildNative(build_ext):
    def build_extension(self, ext):
        from build import host_target
        from extension import build_extension

        build_extension(host_target(), Path(self.get_ext_fullpath(ext.name)).parent)


setup(
    ext_modules=[Extension("kernel_llm._kllm", sources=[], py_limited_api=True)],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
