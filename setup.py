"""
Hands the compiling of the extension to native/build.py; everything else is in pyproject.toml.

KLLM_TARGET and KLLM_PYTHON_INCLUDE name another machine to build for (native/cross.py sets them).
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).resolve().parent / "native"))


class BuildNative(build_ext):
    def build_extension(self, ext):
        from build import host_target, targets
        from extension import build_extension

        other = os.environ.get("KLLM_TARGET")
        target = targets()[other] if other else host_target()
        out_dir = Path(self.get_ext_fullpath(ext.name)).parent
        build_extension(target, out_dir, os.environ.get("KLLM_PYTHON_INCLUDE"))


options = {"bdist_wheel": {"py_limited_api": "cp310"}}
if "KLLM_TARGET" in os.environ:  # what was built for this machine must not get into it
    options["build"] = {"build_base": f"build/{os.environ['KLLM_TARGET']}/wheel-build"}

setup(
    ext_modules=[Extension("kernel_llm._kllm", sources=[], py_limited_api=True)],
    cmdclass={"build_ext": BuildNative},
    options=options,
)
