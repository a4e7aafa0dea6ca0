-- The first released schema, as text: what every later version must be able to bring up to date.
CREATE TABLE cache_entries (
  category TEXT NOT NULL,
  "key" TEXT NOT NULL,
  value TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  PRIMARY KEY (category, "key")
)
 WITHOUT ROWID;

CREATE TABLE mcp_facts (
  id INTEGER NOT NULL,
  era TEXT,
  protocol_version TEXT,
  server_name TEXT,
  server_version TEXT,
  capabilities TEXT,
  tool_count INTEGER,
  tools_digest TEXT,
  tools_bytes INTEGER,
  fingerprint TEXT NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT mcp_facts_fingerprint UNIQUE (fingerprint)
);

CREATE TABLE runs (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  state TEXT NOT NULL,
  started_at_ms INTEGER NOT NULL,
  finished_at_ms INTEGER,
  servers_expected INTEGER NOT NULL,
  workers INTEGER NOT NULL,
  concurrency INTEGER NOT NULL,
  config_path TEXT,
  environment TEXT,
  checker_version TEXT NOT NULL,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL
);

CREATE TABLE schema_migrations (
  version INTEGER NOT NULL,
  applied_at TEXT NOT NULL,
  PRIMARY KEY (version)
);

CREATE TABLE servers (
  id INTEGER NOT NULL,
  name TEXT NOT NULL,
  group_name TEXT NOT NULL,
  tags TEXT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (name)
);

CREATE TABLE tool_snapshots (
  digest TEXT NOT NULL,
  tools TEXT NOT NULL,
  tool_count INTEGER NOT NULL,
  PRIMARY KEY (digest)
);

CREATE TABLE checks (
  server_id INTEGER NOT NULL,
  run_id INTEGER NOT NULL,
  started_at_ms INTEGER NOT NULL,
  duration_us INTEGER NOT NULL,
  status TEXT NOT NULL,
  reason TEXT,
  detail TEXT,
  score FLOAT,
  tries INTEGER NOT NULL,
  PRIMARY KEY (server_id, run_id),
  CONSTRAINT known_status CHECK (status in ('HEALTHY', 'DEGRADED', 'UNHEALTHY', 'UNKNOWN')),
  FOREIGN KEY(server_id) REFERENCES servers (id),
  FOREIGN KEY(run_id) REFERENCES runs (id)
)
 WITHOUT ROWID;

CREATE INDEX checks_by_run ON checks (run_id);

CREATE TABLE probes (
  server_id INTEGER NOT NULL,
  run_id INTEGER NOT NULL,
  kind TEXT NOT NULL,
  position INTEGER NOT NULL,
  started_at_ms INTEGER NOT NULL,
  duration_us INTEGER NOT NULL,
  status TEXT NOT NULL,
  reason TEXT,
  detail TEXT,
  score FLOAT,
  failed_stage TEXT,
  url TEXT,
  attempts INTEGER NOT NULL,
  earlier_reasons TEXT,
  dns_us INTEGER,
  connect_us INTEGER,
  tls_us INTEGER,
  wait_us INTEGER,
  transfer_us INTEGER,
  discover_us INTEGER,
  initialize_us INTEGER,
  initialized_us INTEGER,
  ping_us INTEGER,
  list_us INTEGER,
  close_us INTEGER,
  http_status INTEGER,
  received_bytes INTEGER,
  connections_opened INTEGER,
  reused BOOLEAN,
  redirects INTEGER,
  certificate_expires_at_ms INTEGER,
  auth_metadata_url TEXT,
  retry_after_s INTEGER,
  sessions_opened INTEGER,
  sessions_closed INTEGER,
  mcp_facts_id INTEGER,
  PRIMARY KEY (server_id, run_id, kind),
  CONSTRAINT known_status CHECK (status in ('HEALTHY', 'DEGRADED', 'UNHEALTHY', 'UNKNOWN')),
  FOREIGN KEY(server_id) REFERENCES servers (id),
  FOREIGN KEY(run_id) REFERENCES runs (id),
  FOREIGN KEY(mcp_facts_id) REFERENCES mcp_facts (id)
)
 WITHOUT ROWID;

CREATE INDEX probes_by_run ON probes (run_id);

insert into schema_migrations values (1, '2026-11-23 00:00:00');
