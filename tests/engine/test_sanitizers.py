"""The kernel under the address and undefined-behaviour sanitizers, against a brute force in the same program."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNEL = HERE.parents[1] / "src" / "patchmosaic" / "engine" / "native"
COMPILER = shutil.which("g++") or shutil.which("clang++")


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler here")
def test_the_kernel_is_clean_under_sanitizers(tmp_path):
    program = tmp_path / "check"
    flags = ["-std=c++17", "-O1", "-g", "-fopenmp", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", "-DPATCHMOSAIC_ISA=checked"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    source = HERE / "native" / "check.cpp"
    subprocess.run([COMPILER, *flags, *sanitizers, f"-I{KERNEL}", str(source), "-o", str(program)], check=True)
    # libgomp keeps its threads' memory for the life of the process: no leak of ours.
    run = subprocess.run([str(program)], env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "worst difference" in run.stdout
