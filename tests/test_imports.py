"""Imports run one way, and `import patchmosaic` costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import patchmosaic

SOURCE = Path(patchmosaic.__file__).parent

# Low to high. A module may import from its own entry and from any layer below, never from its own layer or above.
LAYERS = [
    {"errors", "progress"},
    {"files", "noise", "engine", "metrics"},  # the engine knows nothing of diffusion
    {"locality", "data"},
    {"denoisers", "networks"},  # they meet in calls only: a network is any module, a denoiser any function of (x_t, t)
    {"sampling", "store"},
    {"generation", "laws"},
    {"calibration", "comparison", "provenance", "interop"},
    {"analysis"},
    {"plots"},
    {"report", "runs"},
    {"experiments"},
    {"app"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(SOURCE.rglob("*.py"))
ENGINE_MAY = {"torch", "triton", "jaxtyping", "numpy", "patchmosaic"}
# Its class is a subclass of theirs: `patchmosaic.interop` imports the whole module when it is asked for.
USED_AS_A_WHOLE = {"interop.diffusers_model": {"diffusers"}}
ONLY_WHEN_USED = {"matplotlib", "pyarrow", "sklearn", "datasets", "pandas", "diffusers", "starlette", "uvicorn"}


def dotted(path):
    """The module's name below the package: "denoisers.base"; "" for the package itself."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def imports(path, *, at_top_level=False, for_types=False):
    """(line, absolute module name) of every import; `a.b` for `from a import b`, so that submodules are seen.

    At top level only, what stands inside functions does not count, and without `for_types` neither does TYPE_CHECKING.
    """
    found = []

    def visit(node):
        for child in ast.iter_child_nodes(node):
            if at_top_level and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            if not for_types and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    visit(other)
                continue
            if isinstance(child, ast.Import):
                found.extend((child.lineno, alias.name) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: imports are absolute here"
                found.extend((child.lineno, f"{child.module}.{alias.name}") for alias in child.names)
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def test_every_module_has_its_layer():
    names = {dotted(path).split(".")[0] for path in FILES} - {""}
    unknown = names - set(LEVEL)
    assert not unknown, f"{sorted(unknown)}: place these modules in LAYERS of tests/test_imports.py"


@pytest.mark.parametrize("path", [path for path in FILES if dotted(path)], ids=dotted)
def test_imports_go_down_only(path):
    mine = dotted(path).split(".")[0]
    for line, name in imports(path, for_types=True):
        parts = name.split(".")
        if parts[0] != "patchmosaic" or len(parts) == 1 or parts[1] == mine or parts[1] not in LEVEL:
            continue
        assert LEVEL[parts[1]] < LEVEL[mine], f"{path.name}:{line}: {mine} imports {parts[1]}, which is not below it"


def test_no_module_imports_itself_in_a_circle():
    below = {
        dotted(path): {name.removeprefix("patchmosaic.") for _, name in imports(path) if name.startswith("patchmosaic.")}
        for path in FILES
        if dotted(path)
    }

    def modules(names):
        for name in names:
            for candidate in (name, name.rpartition(".")[0]):
                if candidate in below:
                    yield candidate
                    break

    def walk(name, trail):
        assert name not in trail, f"circular imports: {' -> '.join([*trail, name])}"
        if name not in done:
            for other in modules(below[name]):
                walk(other, [*trail, name])
            done.add(name)

    done = set()
    for name in below:
        # A package's __init__ collects its own submodules; that is no circle.
        if not (SOURCE / name.replace(".", "/") / "__init__.py").exists():
            walk(name, [])


@pytest.mark.parametrize("path", sorted((SOURCE / "engine").glob("*.py")), ids=dotted)
def test_the_engine_knows_nothing_of_diffusion(path):
    for line, name in imports(path, for_types=True):
        package = name.split(".")[0]
        assert package in ENGINE_MAY or package in sys.stdlib_module_names, f"{path.name}:{line}: {name}"
        if package == "patchmosaic":
            assert name.split(".")[1] in ("errors", "engine"), f"{path.name}:{line}: {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: dotted(path) or "patchmosaic")
def test_nothing_unpickles(path):
    for line, name in imports(path):
        assert name.split(".")[0] not in ("pickle", "cPickle", "dill", "joblib", "torchvision"), f"{path.name}:{line}: {name}"
        assert name not in ("torch.load", "torch.hub"), f"{path.name}:{line}: {name}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in ("torch.load", "torch.hub"), f"{path.name}:{node.lineno}"
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "allow_pickle":
                    assert ast.unparse(keyword.value) == "False", f"{path.name}:{node.lineno}: allow_pickle"


@pytest.mark.parametrize("path", FILES, ids=lambda path: dotted(path) or "patchmosaic")
def test_what_is_heavy_or_optional_is_imported_when_used(path):
    heavy = ONLY_WHEN_USED - USED_AS_A_WHOLE.get(dotted(path), set())
    for line, name in imports(path, at_top_level=True):
        assert name.split(".")[0] not in heavy, f"{path.name}:{line}: import {name} inside the function that needs it"


def test_importing_the_package_loads_nothing_heavy():
    script = (
        "import sys, patchmosaic; dir(patchmosaic); patchmosaic.__version__;"
        "print([m for m in ('torch', 'numpy', 'scipy', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_every_public_name_resolves():
    assert sorted(patchmosaic.__all__) == sorted(set(patchmosaic.__all__))
    assert dir(patchmosaic) == sorted(patchmosaic.__all__)
    for name in patchmosaic.__all__:
        assert getattr(patchmosaic, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = patchmosaic.nonsense
