"""What is assumed of an environment's use: sizes stand in templates, use does not, and AWS takes money for both.

Averages over a month, with their units in their names. What is free up to some amount is not taken off: an account has
it once, for all that is in it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Usage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    requests_per_second: float = Field(default=0.5, ge=0, description="To the balancer, each on its own connection.")
    received_gb: float = Field(default=5, ge=0, description="What is sent to the balancer: uploads.")
    sent_gb: float = Field(default=5, ge=0, description="What the balancer answers with.")
    nat_gb: float = Field(default=20, ge=0, description="Both ways through NAT gateways: models, sources, images.")
    between_zones_gb: float = Field(default=5, ge=0, description="Between tasks and stores in different zones.")
    api_tasks_above_least: float = Field(default=0, ge=0, description="Tasks of the API beyond api.least, on average.")
    workers_above_least: float = Field(default=0, ge=0, description="Workers beyond worker.least, on average.")
    pipeline_hours: float = Field(default=30, ge=0, description="In which the scheduled look at the sources runs.")
    backfill_hours: float = Field(default=5, ge=0, description="In which one job for backfills runs.")
    database_gb: float = Field(default=5, ge=0, description="What is in PostgreSQL, for its backups.")
    redis_gb: float = Field(default=0.1, ge=0, description="What is in broker and cache, each.")
    graph_gb: float = Field(default=1, ge=0, description="What is in the graph.")
    graph_ncu: float = Field(default=1, ge=0, description="Neptune's capacity, within least_ncu and most_ncu.")
    graph_million_io: float = Field(default=2, ge=0, description="Million reads and writes of Neptune's disk.")
    vectors_gb: float = Field(default=2, ge=0, description="What is in Chroma's directory.")
    vectors_read_gb: float = Field(default=10, ge=0, description="What Chroma reads of it.")
    vectors_written_gb: float = Field(default=5, ge=0, description="What Chroma writes into it.")
    files_gb: float = Field(default=10, ge=0, description="Original files, with their old versions.")
    files_thousand_writes: float = Field(default=20, ge=0, description="Thousand files that are written.")
    access_log_gb: float = Field(default=1, ge=0, description="Access logs of balancer and files that are kept.")
    changed_percent_a_day: float = Field(default=2, ge=0, le=100, description="Of all data, which backups then hold.")
    log_gb: float = Field(default=3, ge=0, description="Logs of all tasks.")
    flow_log_gb: float = Field(default=0.5, ge=0, description="Connections, by network.flow_logs.")
    store_log_gb: float = Field(default=0.5, ge=0, description="Logs of stores, firewall and functions.")
    image_gb: float = Field(default=5, ge=0, description="Container images that are kept, by their layers.")
    secret_thousand_calls: float = Field(default=10, ge=0, description="Thousand looks at secrets.")
    key_thousand_calls: float = Field(default=100, ge=0, description="Thousand uses of the key.")
