"""Ray as the engine: the same results as here, a lost node survived, a store as input and output.

Skipped without Ray; the store needs moto's server and s3fs as well.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retone.batch import storage
from retone.batch.job import Job, local_engine
from retone.batch.plan import plan_of
from retone.batch.rows import Recipe

from .conftest import tree

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'retone[cluster]'")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster(repository: Path) -> Iterator[Any]:
    """A head and a node, each with one processor; processes find this package."""
    from ray.cluster_utils import Cluster

    paths = [str(repository / "src"), os.environ.get("PYTHONPATH", "")]
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)
    os.environ["RAY_DISABLE_IMPORT_WARNING"] = os.environ["OMP_NUM_THREADS"] = "1"
    found = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False},
    )
    found.add_node(num_cpus=1, object_store_memory=80 << 20)
    ray.init(address=found.address, log_to_driver=False, logging_level="ERROR")
    yield found
    ray.shutdown()
    found.shutdown()
    os.environ.clear()
    os.environ.update(before)


def on_ray(job: Job) -> Job:
    from retone.batch.cluster import ray_engine

    job.engine = ray_engine()
    return job


def test_the_same_tree_as_here(cluster: Any, job, clip, tmp_path: Path) -> None:
    for i in range(6):
        clip(f"in/{i}.wav", seed=i)
    (tmp_path / "in" / "bad.wav").write_bytes(b"")
    time.sleep(0.06)
    here = job(tmp_path / "in", "here")
    list(here.run())
    there = on_ray(job(tmp_path / "in", "there"))
    list(there.run())
    assert tree(tmp_path / "there") == tree(tmp_path / "here")
    assert list(there.records()) == list(here.records())
    assert (there.totals.done, there.totals.failed) == (6, 1)
    again = on_ray(job(tmp_path / "in", "there"))
    assert [o.number for o in again.run(in_order=True)] == list(range(7))
    assert again.totals.same == 6


def test_a_lost_node_loses_no_file(cluster: Any, job, clip, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=2, object_store_memory=80 << 20)
    for i in range(24):
        clip(f"in/{i:02}.wav", seed=i, seconds=2.0)
    time.sleep(0.06)
    list(job(tmp_path / "in", "here").run())
    killer = None
    there = on_ray(job(tmp_path / "in", "there"))
    for count, _ in enumerate(there.run()):
        if count == 3 and killer is None:
            killer = threading.Thread(
                target=cluster.remove_node, args=(node,), kwargs={"allow_graceful": False}
            )
            killer.start()
    assert killer is not None
    killer.join()
    assert (there.totals.done, there.totals.failed) == (24, 0)
    assert tree(tmp_path / "there") == tree(tmp_path / "here")


def test_the_bar_moves_inside_a_long_recording(
    cluster: Any, job, clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retone.batch.cluster.LONG", 1)
    monkeypatch.setattr("retone.batch.cluster._LOOK_S", 0.01)
    for i in range(8):  # the process that keeps the notes starts with the first of them
        clip(f"in/{i}.wav", seconds=1000.0)
    seen: list[float] = []
    there = on_ray(job(tmp_path / "in", "there"))
    outcomes = there.run(lambda _, done, total: seen.append(done * 60))
    assert [o.error for o in outcomes] == [""] * 8
    assert seen[-1] == pytest.approx(8000)
    assert any(1 < done % 1000 < 999 for done in seen)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """A bucket of an S3-compatible store on this machine."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install s3fs")
    server = pytest.importorskip("moto.server", reason="moto's server is not installed")
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    before = dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    fs = s3fs.S3FileSystem()
    bucket = f"season-{time.time_ns()}"
    fs.mkdir(bucket)
    yield f"s3://{bucket}"
    running.stop()
    os.environ.clear()
    os.environ.update(before)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_store_as_input_and_output(
    store: str, clip, settings: Path, tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    import fsspec

    fs = fsspec.filesystem("s3")
    for i in range(4):
        fs.put_file(str(clip(f"in/s/{i}.wav", seed=i)), f"{store}/in/s/{i}.wav")
    fs.pipe_file(f"{store}/in/bad.wav", b"")
    fs.put_file(str(settings), f"{store}/settings.json")
    if engine == "ray":
        if ray.is_initialized():
            ray.shutdown()  # processes started before the store do not know its address
        from retone.batch.cluster import ray_engine

        work = ray_engine(None, 1)
    else:
        work = local_engine(0)

    def job() -> Job:
        recipe = Recipe("apply", {"settings": f"{store}/settings.json"})
        plan = plan_of([f"{store}/in"], f"{store}/out", verb="apply")
        return Job(plan, recipe, f"{store}/out", work)

    first = job()
    list(first.run())
    assert (first.totals.done, first.totals.failed) == (4, 1)
    names = set(storage.found_in(f"{store}/out"))
    audio = {f"s/{i}.wav" for i in range(4)}
    wanted = audio | {name + e for name in audio for e in (".json", ".html")}
    assert names == wanted | {".retone/ledger.jsonl"}
    again = job()
    list(again.run())
    assert (again.totals.same, again.totals.failed) == (4, 1)
    fs.put_file(str(clip("new.wav", seed=9)), f"{store}/in/s/2.wav")
    changed = job()
    list(changed.run())
    assert (changed.totals.done, changed.totals.same) == (1, 3)


def test_evaluations_run_on_the_same_cluster(cluster: Any) -> None:
    from retone.lab.evaluate.parallel import measured

    want = list(measured(range(9), abs, 1))
    assert list(measured(range(9), abs, "ray")) == list(measured(range(9), abs, 2)) == want
    with pytest.raises(TypeError, match="bad operand"):
        list(measured(["text"], abs, "ray"))
