"""The settings that bound what a client, a task or a record may take. docs/limits.md explains them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class LimitSettings(BaseSettings):
    """The limits of a deployment: a part of its settings. Each field's name says its unit."""

    # Values of tasks.
    metadata_max_bytes: int = Field(
        default=64 * 1024,
        gt=0,
        le=8 * 1024 * 1024,
        description="The maximum size of a task's metadata, as JSON in UTF-8.",
    )
    metadata_max_depth: int = Field(
        default=32,
        ge=1,
        le=64,
        description="How deep a task's metadata may be nested, and each of its `args` and `kwargs`.",
    )
    metadata_max_keys: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="The maximum number of keys in a task's metadata, and in each of its `args` and `kwargs`.",
    )
    arguments_max_bytes: int = Field(
        default=1024 * 1024,
        gt=0,
        le=6 * 1024 * 1024,
        description="The maximum size of a task's `args`, and also of its `kwargs`, as JSON in UTF-8.",
    )
    error_max_bytes: int = Field(
        default=32 * 1024,
        ge=1024,
        le=1024 * 1024,
        description="The size to which an error's message, its traceback and its arguments are cut, each, in UTF-8.",
    )
    progress_max_bytes: int = Field(
        default=64 * 1024,
        ge=1024,
        le=1024 * 1024,
        description="The size to which a progress report's message and its other values are cut, each, in UTF-8.",
    )
    answer_max_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=1024 * 1024,
        le=1024 * 1024 * 1024,
        description="How many bytes of tasks and log lines one answer may select: of a query, of a mutation, or of one "
        "event of a subscription. A task counts as often as the answer has it; the task that a mutation returns or an "
        "event is about does not count. An answer that selects more is an error with the code `ANSWER_TOO_LARGE`.",
    )
    log_max_lines: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="The maximum number of log lines kept for a task, over all its attempts.",
    )
    log_max_bytes: int = Field(
        default=1024 * 1024,
        ge=1,
        le=64 * 1024 * 1024,
        description="The maximum size of the log text kept for a task, in UTF-8, over all its attempts.",
    )

    # Documents and their cost.
    document_max_bytes: int = Field(
        default=64 * 1024,
        ge=1024,
        le=8 * 1024 * 1024,
        description="The maximum size of a GraphQL document, in UTF-8.",
    )
    document_max_tokens: int = Field(
        default=2000,
        ge=100,
        le=100_000,
        description="The maximum number of tokens of a document, and also of its comments.",
    )
    document_max_operations: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="The maximum number of operations in a document.",
    )
    document_max_fragments: int = Field(
        default=50,
        ge=0,
        le=1000,
        description="The maximum number of named fragments in a document.",
    )
    document_max_fields: int = Field(
        default=500,
        ge=10,
        le=10_000,
        description="The maximum number of fields of an operation. Those of a fragment count for each of its uses.",
    )
    document_max_depth: int = Field(
        default=12,
        ge=3,
        le=50,
        description="How deep the fields of an operation may be nested.",
    )
    document_max_aliases: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description="The maximum number of aliases in an operation.",
    )
    document_max_directives: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description="The maximum number of directives in an operation.",
    )
    document_max_pairs: int = Field(
        default=2000,
        ge=0,
        le=1_000_000,
        description="The maximum number of pairs of fields with the same key at the same place, which validation "
        "compares: n fields with one key are n(n-1)/2 pairs.",
    )
    document_max_copies: int = Field(
        default=5,
        ge=1,
        le=10_000,
        description="How often an operation may select one value of an object, under different aliases.",
    )
    document_cache_max_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=1024 * 1024,
        le=1024 * 1024 * 1024,
        description="How much memory the parsed documents that a process keeps may take, and the validated ones too.",
    )
    trusted_documents: Path | None = Field(
        default=None,
        description="A JSON file of ids and GraphQL documents. With it, clients can run these documents only, and "
        "those of the task board while it is on.",
    )
    introspection_max_depth: int = Field(
        default=16,
        ge=1,
        le=50,
        description="How deep the fields of an operation may be nested within `__schema` and `__type`.",
    )
    introspection_max_fields: int = Field(
        default=2,
        ge=0,
        le=100,
        description="How many `__schema` and `__type` fields an operation may have.",
    )
    request_max_cost: int = Field(
        default=20_000,
        ge=1000,
        le=10_000_000,
        description="The maximum cost of an operation, by the rules of docs/limits.md.",
    )
    request_max_mutations: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="The maximum number of fields of a mutation.",
    )
    request_max_bulk_mutations: int = Field(
        default=1,
        ge=1,
        le=100,
        description="How many of them may be `createTasks`, `cancelTasks`, `replayTasks` or `deleteTasks`.",
    )
    variables_max_depth: int = Field(
        default=64,
        ge=40,
        le=200,
        description="How deep the values of variables may be nested.",
    )

    # Answers.
    answer_max_errors: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="After this many errors in an answer its execution stops.",
    )
    answer_max_values: int = Field(
        default=100_000,
        ge=1000,
        le=100_000_000,
        description="How many values an answer may have, about: its fields, and the items of its lists.",
    )
    event_loop_block_seconds: float = Field(
        default=0.1,
        ge=0.05,
        le=60.0,
        description="Longer blocks of the event loop are logged and counted, with the operation that caused them.",
    )

    # Connections.
    header_seconds: float = Field(
        default=10.0,
        gt=0.0,
        le=3600.0,
        description="How long `gql-api serve` waits for a request's headers, from the opening of the connection or "
        "the first byte after another request. Then it answers 408 and closes the connection.",
    )
    header_max_bytes: int = Field(
        default=64 * 1024,
        ge=1024,
        le=1024 * 1024,
        description="The maximum size of a request's line and headers under `gql-api serve`. More gets a 431.",
    )
    body_seconds: float = Field(
        default=30.0,
        gt=0.0,
        le=3600.0,
        description="How long `gql-api serve` waits for the body of a request, from the end of its headers. Then it "
        "answers 408 and closes the connection.",
    )
    body_max_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        le=64 * 1024 * 1024,
        description="The maximum size of a request's body. More gets a 413.",
    )
    create_body_max_bytes: int = Field(
        default=4 * 1024 * 1024,
        ge=1024,
        le=64 * 1024 * 1024,
        description="The same for a request that only creates tasks, whose arguments are in its body.",
    )
    bodies_max_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        le=64 * 1024 * 1024 * 1024,
        description="The maximum size of the bodies of all requests that a process is answering. While there are more, "
        "further requests are answered with 503.",
    )
    keep_alive_seconds: int = Field(
        default=5,
        ge=1,
        le=3600,
        description="How long `gql-api serve` keeps an idle HTTP connection open after an answer.",
    )
    list_slots_per_request: int = Field(
        default=4,
        ge=1,
        le=16,
        description="How many lists, counts and facets of one request, WebSocket or shared subscription MongoDB runs "
        "at once, of 16 in a process.",
    )
    connection_init_seconds: float = Field(
        default=5.0,
        gt=0.0,
        le=3600.0,
        description="How long a WebSocket may take to send `connection_init`. Then it is closed with 4408.",
    )
    frame_max_bytes: int = Field(
        default=64 * 1024,
        ge=1024,
        le=64 * 1024 * 1024,
        description="The maximum size of a WebSocket message under `gql-api serve`. A larger one closes its socket "
        "with 1009. A streamed subscription may have a body of this size.",
    )
    messages_per_second: float = Field(
        default=100.0,
        ge=1.0,
        le=100_000.0,
        description="How many messages of one WebSocket the API reads in a second, after a burst of as many. Further "
        "messages wait.",
    )
    operations_per_socket: int = Field(
        default=50,
        ge=1,
        le=10_000,
        description="How many operations of all kinds one WebSocket carries at once.",
    )
    queries_per_socket: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="How many queries and mutations of one WebSocket run at once. Further ones wait in their order.",
    )
    unread_max_bytes: int = Field(
        default=96 * 1024 * 1024,
        ge=1024 * 1024,
        le=64 * 1024 * 1024 * 1024,
        description="How much a process keeps at most for clients that read more slowly than it writes. Above it, the "
        "connections that leave the most unread are closed.",
    )
    connections_max: int = Field(
        default=50_000,
        ge=1,
        le=10_000_000,
        description="How many connections a process has at most: under `gql-api serve` all of them, but not more than "
        "its limit of open files allows; under another server WebSockets and streamed answers.",
    )
    connections_per_address: int = Field(
        default=1000,
        ge=1,
        le=10_000_000,
        description="How many of them one public address has at most.",
    )
    subscriptions_max: int = Field(
        default=100_000,
        ge=1,
        le=10_000_000,
        description="How many subscriptions a process carries at most.",
    )
    watched_conditions_max: int = Field(
        default=20_000,
        ge=1,
        le=10_000_000,
        description="How many conditions the filters of all different taskChanges in a process have at most, each "
        "filter counting one more: an event may have to be compared with all of them.",
    )

    # Task functions.
    rejected_messages_max: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description="How many messages that no worker can handle are kept in Redis for each queue; the newest ones.",
    )
    time_limit_min_seconds: float = Field(
        default=1.0,
        gt=0.0,
        le=86400.0,
        description="The shortest time limit that a client or a sender may give a task: each task that is ended costs "
        "the worker a process.",
    )
    time_limit_default_seconds: float = Field(
        default=0.0,
        ge=0.0,
        description="The time limit of tasks for which neither the sender nor the task function nor the worker has "
        "one; 0 for none.",
    )
    time_limit_max_seconds: float = Field(
        default=0.0,
        ge=0.0,
        description="The longest time limit of any task, and that of tasks without one; 0 for no maximum.",
    )

    # Quotas.
    quota_creates_per_second: float = Field(
        default=0.0,
        ge=0.0,
        le=1_000_000.0,
        description="How many tasks a principal may create in a second, on average; 0 for no quota.",
    )
    quota_tenant_creates_per_second: float = Field(
        default=0.0,
        ge=0.0,
        le=1_000_000.0,
        description="The same for all principals of a tenant together.",
    )
    quota_creates_burst_seconds: int = Field(
        default=10,
        ge=1,
        le=3600,
        description="The time over which both averages are taken: what they allow in it may be created at once.",
    )
    quota_open_tasks: int = Field(
        default=0,
        ge=0,
        le=100_000_000,
        description="How many unfinished tasks a principal may have when it creates another one; 0 for no quota.",
    )
    quota_tenant_open_tasks: int = Field(
        default=0,
        ge=0,
        le=100_000_000,
        description="The same for all tasks of a tenant together.",
    )
    quota_stored_bytes: int = Field(
        default=0,
        ge=0,
        le=2**60,
        description="How large the records and log lines of a principal's tasks may be together when it creates "
        "another one; 0 for no quota.",
    )
    quota_tenant_stored_bytes: int = Field(
        default=0,
        ge=0,
        le=2**60,
        description="The same for all tasks of a tenant together.",
    )
    quota_subscriptions: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="How many subscriptions one process carries for a principal; 0 for no quota.",
    )
    quota_tenant_subscriptions: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="The same for all principals of a tenant together.",
    )
    quota_list_slots: int = Field(
        default=0,
        ge=0,
        le=16,
        description="How many lists, counts and facets of a principal MongoDB runs at once, of 16 in a process; 0 for "
        "no quota.",
    )
    quota_tenant_list_slots: int = Field(
        default=0,
        ge=0,
        le=16,
        description="The same for all principals of a tenant together.",
    )

    @property
    def has_open_task_quotas(self) -> bool:
        """True if unfinished tasks are counted, which needs an index."""
        return bool(self.quota_open_tasks or self.quota_tenant_open_tasks)
