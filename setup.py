"""Hands the extension to CMake; everything else is in pyproject.toml.

Environment: ``ENGINE_SANITIZE=address|thread`` builds the core with ASan+UBSan or TSan,
``ENGINE_BUILD_TYPE`` is CMake's build type (default Release).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()


class CMakeBuild(build_ext):
    def build_extension(self, ext: Extension) -> None:
        import pybind11

        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        build = Path(self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake", "-S", str(ROOT / "bindings"), "-B", str(build), "-G", "Ninja",
            f"-DCMAKE_BUILD_TYPE={os.environ.get('ENGINE_BUILD_TYPE', 'Release')}",
            f"-DENGINE_SANITIZE={os.environ.get('ENGINE_SANITIZE', '')}",
            f"-DENGINE_OUTPUT_DIR={target.parent}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            # A cache kept from an isolated build names a ninja that is gone with it.
            f"-DCMAKE_MAKE_PROGRAM={shutil.which('ninja') or 'ninja'}",
        ]  # fmt: skip
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(build), "--target", "_core"], check=True)


setup(ext_modules=[Extension("engine._core", sources=[])], cmdclass={"build_ext": CMakeBuild})
