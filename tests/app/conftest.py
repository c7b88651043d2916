"""An explorer over a few digits, as an application and as a server that a browser can open."""

import threading

import pytest

starlette = pytest.importorskip("starlette", reason="the explorer needs starlette: pip install 'patchmosaic[app]'")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")
uvicorn = pytest.importorskip("uvicorn", reason="the explorer needs uvicorn")

from explorer_cases import IMAGES  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from patchmosaic.app.server import application, listening  # noqa: E402
from patchmosaic.app.session import Session  # noqa: E402
from patchmosaic.calibration import calibrate  # noqa: E402
from patchmosaic.cli.train import run_training  # noqa: E402
from patchmosaic.comparison import compare  # noqa: E402
from patchmosaic.files import write_json  # noqa: E402
from patchmosaic.networks import TrainingSettings  # noqa: E402
from patchmosaic.runs import DataSource, Run  # noqa: E402


@pytest.fixture
def session(monkeypatch):
    monkeypatch.delenv("PATCHMOSAIC_DATA", raising=False)
    return Session("digits", images=IMAGES)


@pytest.fixture
def client(session):
    return TestClient(application(session), base_url="http://127.0.0.1")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A run on a few digits: a network of 20 training steps, a calibration and a comparison."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    settings = TrainingSettings(steps=20, batch_size=16, learning_rate=1e-3)
    network = {"width": 16, "depth": 1, "padding": "zeros", "conditional": False}
    run_training(folder, DataSource("digits", limit=IMAGES), network, settings, "cpu")
    run = Run(folder)
    calibrate(run.network(), run.pool, "bbELS", seeds=1, steps=3, patch_sizes=(3, 5)).save(run.scale_path("bbELS"))
    machines = {"bbELS": run.machine("bbELS", schedule=run.network().schedule)}
    comparison = compare(run.network(), machines, 4, 3, pool=run.pool)
    write_json(folder / "results.json", {"3": comparison.to_json()})
    return folder, comparison


@pytest.fixture(scope="session")
def serving():
    """Serves an application from a thread until the tests end; called with one, gives its address."""
    servers = []

    def serve(app):
        listener = listening(0)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    for server, thread in servers:
        server.should_exit = True
        thread.join(10)
