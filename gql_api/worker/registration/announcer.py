"""The thread by which a worker announces its task functions and its heartbeat in MongoDB, without blocking."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import bootsteps
from pymongo.errors import DuplicateKeyError, PyMongoError

from gql_api.dispatch import OperationalError, broker_id
from gql_api.outage import is_outage
from gql_api.record import fields
from gql_api.record.writes import Write
from gql_api.registry import stored_versions, workers
from gql_api.standalone import initiation_hint, warn_if_standalone
from gql_api.worker.backend.backend import Backend
from gql_api.worker.registration.signatures import definitions_of
from gql_api.worker.state.consumption import consumption
from gql_api.worker.state.process import RUN
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.validator import protect

if TYPE_CHECKING:
    from pymongo.collection import Collection

logger = logging.getLogger(__name__)

_STOP_SECONDS = 2.0
# Workers that were killed leave their entries behind, under names that may never come back.
_KEPT_SECONDS = 24 * 3600.0


class Announcer(bootsteps.StartStopStep):
    """A bootstep that runs the thread in the worker's main process, after the pool has forked its children."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, parent: Any) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, args=(parent,), name="announcer", daemon=True)
        self._thread.start()

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - the bootstep's signature
        """Stop, and withdraw the announcement; if MongoDB does not answer, it expires."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=_STOP_SECONDS)
        self._thread = None

    def terminate(self, parent: Any) -> None:
        """Stop the same way when the worker has to stop at once."""
        self.stop(parent)

    def _run(self, worker: Any) -> None:
        backend = worker.app.backend
        if not isinstance(backend, Backend):
            logger.warning("Tasks are not announced: the result backend is %r, not ours", backend)
            return
        interval = backend.settings.worker_heartbeat_seconds
        entry = _Entry(backend.connections, worker.hostname)
        functions = _Functions(backend.connections)
        broker = None
        while True:
            # A broker that came back empty has another id.
            broker = _broker_of(worker.app) or broker
            try:
                functions.announce(worker.app)
                entry.store(functools.partial(_beat, worker, functions.names, interval, broker))
            except Exception as error:
                if is_outage(error):
                    hint = initiation_hint(backend.connections.mongo().topology_description)
                    logger.warning("MongoDB does not answer, this worker cannot announce its tasks%s: %s", hint, error)
                else:
                    logger.exception("This worker cannot announce its tasks")
            if self._stopping.wait(interval):
                break
        entry.withdraw()
        functions.report()


class _Functions:
    """The task functions of this worker, each in the version that it has.

    ``names`` are those that the worker's entry has: their names, and those with their versions.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._seen: Write | None = None
        self._report_at = 0.0
        self.names: list[str] = []

    def announce(self, app: Any) -> None:
        """Store the definitions, once, and report from time to time that this worker still has them."""
        if self._seen is not None:
            if time.monotonic() >= self._report_at:
                self.report()
            return
        protect(self._connections.database())
        definitions = definitions_of(app)
        for definition in definitions:
            filter_, update = workers.announce(definition)
            self._collection().update_one(filter_, update, upsert=True)
        versions = [each.version for each in definitions if each.version is not None]
        names = [each.name for each in definitions]
        self._seen = stored_versions.seen(names, [each.digest for each in definitions if each.digest is not None])
        self.names = [*names, *versions]
        self._report_at = time.monotonic() + stored_versions.REPORT_SECONDS
        warn_if_standalone(self._connections.mongo().topology_description)

    def report(self) -> None:
        """Report that this worker has its versions: one that comes back soon is not a new one."""
        if self._seen is None:
            return
        self._report_at = time.monotonic() + stored_versions.REPORT_SECONDS
        try:
            self._collection().update_many(*self._seen)
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, this worker could not report its versions: %s", error)

    def _collection(self) -> Collection[dict[str, Any]]:
        return self._connections.database()[fields.DEFINITIONS]


class _Entry:
    """The entry of this worker among the announced workers.

    Its id is the name of the worker, or a longer one while another worker has the same name.
    """

    def __init__(self, connections: Connections, hostname: str) -> None:
        self._connections = connections
        self._hostname = hostname
        self._id = hostname
        self._swept = False

    def store(self, beat: Callable[[str], Write]) -> None:
        """Store a heartbeat. ``beat`` returns it for the id of an entry."""
        entries = self._connections.database()[fields.WORKERS]
        if not self._swept:
            entries.delete_many(workers.outlived(_KEPT_SECONDS))
            self._swept = True
        # Of a worker with the same name that was killed, or of an earlier version.
        entries.delete_one(workers.without_worker(self._id))
        filter_, update = beat(self._id)
        try:
            entries.update_one(filter_, update, upsert=True)
        except DuplicateKeyError:
            self._id = workers.own_entry(self._hostname, RUN)
            filter_, update = beat(self._id)
            entries.update_one(filter_, update, upsert=True)

    def withdraw(self) -> None:
        """Delete the entry."""
        try:
            self._connections.database()[fields.WORKERS].delete_one(workers.by_run(self._id, RUN))
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, this worker could not withdraw its announcement: %s", error)


def _broker_of(app: Any) -> str | None:
    try:
        return broker_id(app)
    except OperationalError:
        return None
    except Exception:
        # Without its heartbeat the worker would count as dead, and it may run tasks all the same.
        logger.exception("This worker cannot read the id of its broker")
        return None


def _beat(worker: Any, task_names: list[str], interval: float, broker: str | None, entry: str) -> Write:
    return workers.beat(
        worker.hostname,
        pool=str(worker.pool_cls.__module__).rpartition(".")[2],
        concurrency=_concurrency(worker),
        task_names=task_names,
        # Read at each beat, because consumers can be added and cancelled.
        queues=sorted(worker.app.amqp.queues.consume_from),
        good_for_seconds=interval * workers.GOOD_FOR_BEATS,
        consuming=consumption.is_going_on,
        run=RUN,
        entry=entry,
        broker=broker,
    )


def _concurrency(worker: Any) -> int:
    """Return the number of tasks that a worker can run at the same time, as of now: it can be changed."""
    autoscaler = getattr(worker, "autoscaler", None)
    # Of a pool that grows with the number of tasks, each process more is ready when it is needed.
    return int(worker.pool.num_processes if autoscaler is None else autoscaler.max_concurrency)
