-- scripts/schema_sql writes this file
-- version 2, stages dns connect tls wait transfer auth start discover initialize initialized ping list call close;

CREATE TABLE bench_runs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL,
	kind TEXT NOT NULL,
	state TEXT NOT NULL,
	started_at_ms INTEGER NOT NULL,
	finished_at_ms INTEGER,
	checker_version TEXT NOT NULL,
	plan_digest TEXT NOT NULL,
	seed INTEGER NOT NULL,
	workers INTEGER NOT NULL,
	slot_s INTEGER NOT NULL,
	"plan" TEXT,
	environment TEXT,
	calibrations TEXT,
	capacity TEXT,
	notes TEXT,
	host TEXT NOT NULL,
	pid INTEGER NOT NULL,
	client_bound TEXT
);

CREATE INDEX bench_runs_by_name ON bench_runs (name, plan_digest);

CREATE TABLE cache_entries (
	category TEXT NOT NULL,
	"key" TEXT NOT NULL,
	value TEXT NOT NULL,
	created_at_ms INTEGER NOT NULL,
	expires_at_ms INTEGER NOT NULL,
	used_at_ms INTEGER DEFAULT '0' NOT NULL,
	PRIMARY KEY (category, "key")
)
 WITHOUT ROWID;

CREATE TABLE contracts (
	digest TEXT NOT NULL,
	document TEXT NOT NULL,
	contract_bytes INTEGER,
	document_bytes INTEGER,
	PRIMARY KEY (digest)
);

CREATE TABLE known_fleets (
	config_path TEXT NOT NULL,
	environment TEXT NOT NULL,
	servers_digest TEXT NOT NULL,
	ttl_ms INTEGER,
	PRIMARY KEY (config_path, environment)
)
 WITHOUT ROWID;

CREATE TABLE mcp_facts (
	id INTEGER NOT NULL,
	era TEXT,
	transport TEXT,
	protocol_version TEXT,
	server_name TEXT,
	server_version TEXT,
	capabilities TEXT,
	tool_count INTEGER,
	resource_count INTEGER,
	template_count INTEGER,
	prompt_count INTEGER,
	tools_digest TEXT,
	contract_digest TEXT,
	tools_bytes INTEGER,
	tools_tokens INTEGER,
	fingerprint TEXT NOT NULL,
	PRIMARY KEY (id),
	CONSTRAINT mcp_facts_fingerprint UNIQUE (fingerprint)
);

CREATE TABLE rollup_marks (
	id INTEGER NOT NULL,
	first_run_id INTEGER NOT NULL,
	raw_from_ms INTEGER NOT NULL,
	sorted_before_run_id INTEGER DEFAULT '0' NOT NULL,
	PRIMARY KEY (id)
);

CREATE TABLE runs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	state TEXT NOT NULL,
	started_at_ms INTEGER NOT NULL,
	finished_at_ms INTEGER,
	servers_expected INTEGER NOT NULL,
	servers_cached INTEGER DEFAULT '0' NOT NULL,
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
	objective_ratio FLOAT,
	objective_window_ms INTEGER,
	config_path TEXT,
	environment TEXT,
	retired_at_ms INTEGER,
	PRIMARY KEY (id),
	UNIQUE (name)
);

CREATE TABLE urls (
	id INTEGER NOT NULL,
	url TEXT NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (url)
);

CREATE TABLE bench_baselines (
	name TEXT NOT NULL,
	run_id INTEGER NOT NULL,
	set_at_ms INTEGER NOT NULL,
	PRIMARY KEY (name),
	FOREIGN KEY(run_id) REFERENCES bench_runs (id)
)
 WITHOUT ROWID;

CREATE TABLE bench_failures (
	run_id INTEGER NOT NULL,
	series INTEGER NOT NULL,
	stage INTEGER NOT NULL,
	reason TEXT NOT NULL,
	failed INTEGER NOT NULL,
	PRIMARY KEY (run_id, series, stage, reason),
	FOREIGN KEY(run_id) REFERENCES bench_runs (id)
)
 WITHOUT ROWID;

CREATE TABLE bench_health (
	run_id INTEGER NOT NULL,
	at_s INTEGER NOT NULL,
	worker INTEGER NOT NULL,
	cpu_ratio FLOAT NOT NULL,
	busy_ratio FLOAT NOT NULL,
	lag_p99_us INTEGER NOT NULL,
	lag_max_us INTEGER NOT NULL,
	late_p99_us INTEGER NOT NULL,
	gc_us INTEGER NOT NULL,
	in_flight INTEGER NOT NULL,
	backlog INTEGER NOT NULL,
	descriptors INTEGER NOT NULL,
	ports INTEGER NOT NULL,
	memory_bytes INTEGER NOT NULL,
	starved_us INTEGER NOT NULL,
	PRIMARY KEY (run_id, at_s, worker),
	FOREIGN KEY(run_id) REFERENCES bench_runs (id)
)
 WITHOUT ROWID;

CREATE TABLE bench_levels (
	run_id INTEGER NOT NULL,
	place INTEGER NOT NULL,
	stage INTEGER NOT NULL,
	level FLOAT NOT NULL,
	good BOOLEAN NOT NULL,
	why TEXT NOT NULL,
	offered_per_s FLOAT NOT NULL,
	achieved_per_s FLOAT NOT NULL,
	p50_ms FLOAT,
	p99_ms FLOAT,
	failed_ratio FLOAT NOT NULL,
	client_bound BOOLEAN NOT NULL,
	PRIMARY KEY (run_id, place),
	FOREIGN KEY(run_id) REFERENCES bench_runs (id)
)
 WITHOUT ROWID;

CREATE TABLE bench_series (
	run_id INTEGER NOT NULL,
	series INTEGER NOT NULL,
	scenario TEXT NOT NULL,
	operation TEXT NOT NULL,
	model TEXT NOT NULL,
	server TEXT NOT NULL,
	url TEXT NOT NULL,
	PRIMARY KEY (run_id, series),
	FOREIGN KEY(run_id) REFERENCES bench_runs (id)
)
 WITHOUT ROWID;

CREATE TABLE bench_slots (
	run_id INTEGER NOT NULL,
	part INTEGER NOT NULL,
	at_s INTEGER NOT NULL,
	stage INTEGER NOT NULL,
	series INTEGER NOT NULL,
	offered INTEGER NOT NULL,
	dropped INTEGER NOT NULL,
	ok INTEGER NOT NULL,
	failed INTEGER NOT NULL,
	censored INTEGER NOT NULL,
	done_ok INTEGER NOT NULL,
	done_failed INTEGER NOT NULL,
	connections INTEGER NOT NULL,
	received_bytes INTEGER NOT NULL,
	refused INTEGER NOT NULL,
	resent INTEGER NOT NULL,
	max_us INTEGER NOT NULL,
	reasons TEXT,
	phases_us TEXT,
	histograms BLOB,
	PRIMARY KEY (run_id, part, at_s, stage, series),
	FOREIGN KEY(run_id) REFERENCES bench_runs (id)
)
 WITHOUT ROWID;

CREATE TABLE bench_stages (
	run_id INTEGER NOT NULL,
	stage INTEGER NOT NULL,
	scenario TEXT NOT NULL,
	name TEXT NOT NULL,
	kind TEXT NOT NULL,
	measured BOOLEAN NOT NULL,
	from_s FLOAT NOT NULL,
	until_s FLOAT NOT NULL,
	start_level FLOAT NOT NULL,
	end_level FLOAT NOT NULL,
	users INTEGER,
	servers INTEGER,
	block INTEGER,
	PRIMARY KEY (run_id, stage),
	FOREIGN KEY(run_id) REFERENCES bench_runs (id)
)
 WITHOUT ROWID;

CREATE TABLE bench_summaries (
	run_id INTEGER NOT NULL,
	series INTEGER NOT NULL,
	stage INTEGER NOT NULL,
	seconds FLOAT NOT NULL,
	offered INTEGER NOT NULL,
	dropped INTEGER NOT NULL,
	ok INTEGER NOT NULL,
	failed INTEGER NOT NULL,
	censored INTEGER NOT NULL,
	done_ok INTEGER NOT NULL,
	done_failed INTEGER NOT NULL,
	connections INTEGER NOT NULL,
	received_bytes INTEGER NOT NULL,
	refused INTEGER NOT NULL,
	resent INTEGER NOT NULL,
	max_us INTEGER NOT NULL,
	offered_per_s FLOAT NOT NULL,
	achieved_per_s FLOAT NOT NULL,
	ok_per_s FLOAT NOT NULL,
	failed_ratio FLOAT NOT NULL,
	response_p50_us INTEGER,
	response_p90_us INTEGER,
	response_p95_us INTEGER,
	response_p99_us INTEGER,
	response_p999_us INTEGER,
	response_max_us INTEGER,
	service_p50_us INTEGER,
	service_p90_us INTEGER,
	service_p95_us INTEGER,
	service_p99_us INTEGER,
	service_p999_us INTEGER,
	service_max_us INTEGER,
	first_byte_p50_us INTEGER,
	first_byte_p90_us INTEGER,
	first_byte_p95_us INTEGER,
	first_byte_p99_us INTEGER,
	first_byte_p999_us INTEGER,
	first_byte_max_us INTEGER,
	late_p50_us INTEGER,
	late_p90_us INTEGER,
	late_p95_us INTEGER,
	late_p99_us INTEGER,
	late_p999_us INTEGER,
	late_max_us INTEGER,
	PRIMARY KEY (run_id, series, stage),
	FOREIGN KEY(run_id) REFERENCES bench_runs (id)
)
 WITHOUT ROWID;

CREATE TABLE bench_thresholds (
	run_id INTEGER NOT NULL,
	place INTEGER NOT NULL,
	metric TEXT NOT NULL,
	expression TEXT NOT NULL,
	over_s FLOAT,
	value FLOAT,
	passed BOOLEAN NOT NULL,
	aborted BOOLEAN NOT NULL,
	at_s FLOAT,
	PRIMARY KEY (run_id, place),
	FOREIGN KEY(run_id) REFERENCES bench_runs (id)
)
 WITHOUT ROWID;

CREATE TABLE breakers (
	server_id INTEGER NOT NULL,
	kind TEXT NOT NULL,
	state TEXT NOT NULL,
	failures INTEGER NOT NULL,
	successes INTEGER NOT NULL,
	since_ms INTEGER NOT NULL,
	retry_at_ms INTEGER,
	reason TEXT,
	PRIMARY KEY (server_id, kind),
	CONSTRAINT known_state CHECK (state in ('closed', 'open', 'half_open')),
	FOREIGN KEY(server_id) REFERENCES servers (id)
)
 WITHOUT ROWID;

CREATE TABLE contract_versions (
	server_id INTEGER NOT NULL,
	version INTEGER NOT NULL,
	run_id INTEGER NOT NULL,
	seen_at_ms INTEGER NOT NULL,
	digest TEXT NOT NULL,
	grade TEXT,
	changes TEXT NOT NULL,
	breaking INTEGER DEFAULT '0' NOT NULL,
	risky INTEGER DEFAULT '0' NOT NULL,
	cosmetic INTEGER DEFAULT '0' NOT NULL,
	PRIMARY KEY (server_id, version),
	CONSTRAINT known_grade CHECK (grade in ('breaking', 'risky', 'cosmetic')),
	FOREIGN KEY(server_id) REFERENCES servers (id),
	FOREIGN KEY(run_id) REFERENCES runs (id)
)
 WITHOUT ROWID;

CREATE INDEX contract_versions_by_digest ON contract_versions (digest);

CREATE INDEX contract_versions_by_run ON contract_versions (run_id);

CREATE TABLE incidents (
	server_id INTEGER NOT NULL,
	started_at_ms INTEGER NOT NULL,
	ended_at_ms INTEGER,
	reason TEXT,
	down_ms INTEGER DEFAULT '0' NOT NULL,
	maintenance_ms INTEGER DEFAULT '0' NOT NULL,
	down_until_ms INTEGER DEFAULT '0' NOT NULL,
	PRIMARY KEY (server_id, started_at_ms),
	FOREIGN KEY(server_id) REFERENCES servers (id)
)
 WITHOUT ROWID;

CREATE TABLE recent_checks (
	run_id INTEGER NOT NULL,
	server_id INTEGER NOT NULL,
	started_at_ms INTEGER NOT NULL,
	duration_us INTEGER NOT NULL,
	status TEXT NOT NULL,
	reason TEXT,
	detail TEXT,
	score FLOAT,
	tries INTEGER NOT NULL,
	suspect BOOLEAN DEFAULT '0' NOT NULL,
	maintenance BOOLEAN DEFAULT '0' NOT NULL,
	PRIMARY KEY (run_id, server_id),
	CONSTRAINT known_status CHECK (status in ('HEALTHY', 'DEGRADED', 'UNHEALTHY', 'UNKNOWN')),
	FOREIGN KEY(run_id) REFERENCES runs (id),
	FOREIGN KEY(server_id) REFERENCES servers (id)
)
 WITHOUT ROWID;

CREATE INDEX recent_checks_by_time ON recent_checks (server_id, started_at_ms);

CREATE TABLE recent_probes (
	run_id INTEGER NOT NULL,
	server_id INTEGER NOT NULL,
	kind TEXT NOT NULL,
	position INTEGER NOT NULL,
	started_at_ms INTEGER NOT NULL,
	duration_us INTEGER NOT NULL,
	status TEXT NOT NULL,
	reason TEXT,
	detail TEXT,
	score FLOAT,
	failed_stage TEXT,
	url_id INTEGER,
	attempts INTEGER NOT NULL,
	earlier_reasons TEXT,
	dns_us INTEGER,
	connect_us INTEGER,
	tls_us INTEGER,
	wait_us INTEGER,
	transfer_us INTEGER,
	auth_us INTEGER,
	start_us INTEGER,
	discover_us INTEGER,
	initialize_us INTEGER,
	initialized_us INTEGER,
	ping_us INTEGER,
	list_us INTEGER,
	call_us INTEGER,
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
	stderr_tail TEXT,
	mcp_facts_id INTEGER,
	remarks TEXT,
	PRIMARY KEY (run_id, server_id, kind),
	CONSTRAINT known_status CHECK (status in ('HEALTHY', 'DEGRADED', 'UNHEALTHY', 'UNKNOWN')),
	FOREIGN KEY(run_id) REFERENCES runs (id),
	FOREIGN KEY(server_id) REFERENCES servers (id),
	FOREIGN KEY(url_id) REFERENCES urls (id),
	FOREIGN KEY(mcp_facts_id) REFERENCES mcp_facts (id)
)
 WITHOUT ROWID;

CREATE TABLE rollup_state (
	server_id INTEGER NOT NULL,
	rolled_until_ms INTEGER NOT NULL,
	last_at_ms INTEGER,
	last_outcome INTEGER,
	last_known INTEGER,
	base_at_ms INTEGER,
	base_outcome INTEGER,
	base_known INTEGER,
	last_down_ms INTEGER,
	last_maintenance_ms INTEGER,
	last_down_until_ms INTEGER,
	base_down_ms INTEGER,
	base_maintenance_ms INTEGER,
	base_down_until_ms INTEGER,
	last_rhythm TEXT,
	base_rhythm TEXT,
	hold_ms INTEGER,
	PRIMARY KEY (server_id),
	FOREIGN KEY(server_id) REFERENCES servers (id)
)
 WITHOUT ROWID;

CREATE INDEX rollup_state_by_time ON rollup_state (rolled_until_ms);

CREATE TABLE run_alerts (
	run_id INTEGER NOT NULL,
	at_ms INTEGER NOT NULL,
	resource TEXT NOT NULL,
	level TEXT NOT NULL,
	value FLOAT NOT NULL,
	threshold FLOAT NOT NULL,
	detail TEXT NOT NULL,
	PRIMARY KEY (run_id, at_ms, resource, level),
	FOREIGN KEY(run_id) REFERENCES runs (id)
)
 WITHOUT ROWID;

CREATE TABLE run_cached (
	run_id INTEGER NOT NULL,
	server_id INTEGER NOT NULL,
	from_run_id INTEGER NOT NULL,
	PRIMARY KEY (run_id, server_id),
	FOREIGN KEY(run_id) REFERENCES runs (id),
	FOREIGN KEY(server_id) REFERENCES servers (id),
	FOREIGN KEY(from_run_id) REFERENCES runs (id)
)
 WITHOUT ROWID;

CREATE TABLE run_caches (
	run_id INTEGER NOT NULL,
	category TEXT NOT NULL,
	hits INTEGER NOT NULL,
	misses INTEGER NOT NULL,
	stale_hits INTEGER NOT NULL,
	evicted INTEGER NOT NULL,
	entries INTEGER NOT NULL,
	PRIMARY KEY (run_id, category),
	FOREIGN KEY(run_id) REFERENCES runs (id)
)
 WITHOUT ROWID;

CREATE TABLE run_pools (
	run_id INTEGER NOT NULL,
	kind TEXT NOT NULL,
	created INTEGER NOT NULL,
	reused INTEGER NOT NULL,
	closed_by_peer INTEGER NOT NULL,
	evicted INTEGER NOT NULL,
	waits INTEGER NOT NULL,
	wait_us INTEGER NOT NULL,
	longest_wait_us INTEGER NOT NULL,
	most_in_use INTEGER NOT NULL,
	most_open INTEGER NOT NULL,
	idle INTEGER NOT NULL,
	in_use INTEGER NOT NULL,
	tls_handshakes INTEGER NOT NULL,
	tls_resumed INTEGER NOT NULL,
	paced INTEGER NOT NULL,
	paced_us INTEGER NOT NULL,
	program_waits INTEGER NOT NULL,
	program_wait_us INTEGER NOT NULL,
	PRIMARY KEY (run_id, kind),
	FOREIGN KEY(run_id) REFERENCES runs (id)
)
 WITHOUT ROWID;

CREATE TABLE run_resources (
	run_id INTEGER NOT NULL,
	samples INTEGER NOT NULL,
	warnings INTEGER NOT NULL,
	most_cpu_percent FLOAT NOT NULL,
	most_machine_cpu_percent FLOAT NOT NULL,
	most_memory_bytes INTEGER NOT NULL,
	most_machine_memory_percent FLOAT NOT NULL,
	most_descriptors_percent FLOAT NOT NULL,
	most_ports_percent FLOAT NOT NULL,
	closed_ms INTEGER NOT NULL,
	most_waiting INTEGER NOT NULL,
	longest_wait_ms INTEGER NOT NULL,
	dropped INTEGER NOT NULL,
	PRIMARY KEY (run_id),
	FOREIGN KEY(run_id) REFERENCES runs (id)
)
 WITHOUT ROWID;

CREATE TABLE run_workers (
	run_id INTEGER NOT NULL,
	worker INTEGER NOT NULL,
	pid INTEGER NOT NULL,
	checks INTEGER NOT NULL,
	suspect_checks INTEGER NOT NULL,
	cpu_ms INTEGER NOT NULL,
	peak_memory_bytes INTEGER NOT NULL,
	lag_p99_us INTEGER NOT NULL,
	longest_lag_us INTEGER NOT NULL,
	most_at_once INTEGER NOT NULL,
	concurrency_at_end INTEGER NOT NULL,
	ports_at_busiest_origin INTEGER NOT NULL,
	PRIMARY KEY (run_id, worker, pid),
	FOREIGN KEY(run_id) REFERENCES runs (id)
)
 WITHOUT ROWID;

CREATE TABLE series (
	id INTEGER NOT NULL,
	server_id INTEGER NOT NULL,
	kind TEXT NOT NULL,
	stage TEXT NOT NULL,
	PRIMARY KEY (id),
	CONSTRAINT series_names UNIQUE (server_id, kind, stage),
	FOREIGN KEY(server_id) REFERENCES servers (id)
);

CREATE TABLE sorted_checks (
	server_id INTEGER NOT NULL,
	run_id INTEGER NOT NULL,
	started_at_ms INTEGER NOT NULL,
	duration_us INTEGER NOT NULL,
	status TEXT NOT NULL,
	reason TEXT,
	detail TEXT,
	score FLOAT,
	tries INTEGER NOT NULL,
	suspect BOOLEAN DEFAULT '0' NOT NULL,
	maintenance BOOLEAN DEFAULT '0' NOT NULL,
	PRIMARY KEY (server_id, run_id),
	CONSTRAINT known_status CHECK (status in ('HEALTHY', 'DEGRADED', 'UNHEALTHY', 'UNKNOWN')),
	FOREIGN KEY(server_id) REFERENCES servers (id),
	FOREIGN KEY(run_id) REFERENCES runs (id)
)
 WITHOUT ROWID;

CREATE INDEX checks_by_run ON sorted_checks (run_id);

CREATE INDEX checks_by_time ON sorted_checks (server_id, started_at_ms);

CREATE TABLE sorted_probes (
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
	url_id INTEGER,
	attempts INTEGER NOT NULL,
	earlier_reasons TEXT,
	dns_us INTEGER,
	connect_us INTEGER,
	tls_us INTEGER,
	wait_us INTEGER,
	transfer_us INTEGER,
	auth_us INTEGER,
	start_us INTEGER,
	discover_us INTEGER,
	initialize_us INTEGER,
	initialized_us INTEGER,
	ping_us INTEGER,
	list_us INTEGER,
	call_us INTEGER,
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
	stderr_tail TEXT,
	mcp_facts_id INTEGER,
	remarks TEXT,
	PRIMARY KEY (server_id, run_id, kind),
	CONSTRAINT known_status CHECK (status in ('HEALTHY', 'DEGRADED', 'UNHEALTHY', 'UNKNOWN')),
	FOREIGN KEY(server_id) REFERENCES servers (id),
	FOREIGN KEY(run_id) REFERENCES runs (id),
	FOREIGN KEY(url_id) REFERENCES urls (id),
	FOREIGN KEY(mcp_facts_id) REFERENCES mcp_facts (id)
)
 WITHOUT ROWID;

CREATE TABLE day_latency (
	series_id INTEGER NOT NULL,
	slot INTEGER NOT NULL,
	count INTEGER NOT NULL,
	sum_us INTEGER NOT NULL,
	min_us INTEGER NOT NULL,
	max_us INTEGER NOT NULL,
	p50_us INTEGER NOT NULL,
	p95_us INTEGER NOT NULL,
	p99_us INTEGER NOT NULL,
	histogram BLOB NOT NULL,
	PRIMARY KEY (series_id, slot),
	FOREIGN KEY(series_id) REFERENCES series (id)
)
 WITHOUT ROWID;

CREATE TABLE day_outcomes (
	series_id INTEGER NOT NULL,
	slot INTEGER NOT NULL,
	healthy INTEGER NOT NULL,
	degraded INTEGER NOT NULL,
	unhealthy INTEGER NOT NULL,
	unknown INTEGER NOT NULL,
	maintenance INTEGER NOT NULL,
	suspect INTEGER NOT NULL,
	healthy_ms INTEGER NOT NULL,
	degraded_ms INTEGER NOT NULL,
	unhealthy_ms INTEGER NOT NULL,
	unknown_ms INTEGER NOT NULL,
	maintenance_ms INTEGER NOT NULL,
	changes INTEGER NOT NULL,
	reasons TEXT,
	PRIMARY KEY (series_id, slot),
	FOREIGN KEY(series_id) REFERENCES series (id)
)
 WITHOUT ROWID;

CREATE TABLE hour_latency (
	series_id INTEGER NOT NULL,
	slot INTEGER NOT NULL,
	count INTEGER NOT NULL,
	sum_us INTEGER NOT NULL,
	min_us INTEGER NOT NULL,
	max_us INTEGER NOT NULL,
	p50_us INTEGER NOT NULL,
	p95_us INTEGER NOT NULL,
	p99_us INTEGER NOT NULL,
	histogram BLOB NOT NULL,
	PRIMARY KEY (series_id, slot),
	FOREIGN KEY(series_id) REFERENCES series (id)
)
 WITHOUT ROWID;

CREATE TABLE hour_outcomes (
	series_id INTEGER NOT NULL,
	slot INTEGER NOT NULL,
	healthy INTEGER NOT NULL,
	degraded INTEGER NOT NULL,
	unhealthy INTEGER NOT NULL,
	unknown INTEGER NOT NULL,
	maintenance INTEGER NOT NULL,
	suspect INTEGER NOT NULL,
	healthy_ms INTEGER NOT NULL,
	degraded_ms INTEGER NOT NULL,
	unhealthy_ms INTEGER NOT NULL,
	unknown_ms INTEGER NOT NULL,
	maintenance_ms INTEGER NOT NULL,
	changes INTEGER NOT NULL,
	reasons TEXT,
	PRIMARY KEY (series_id, slot),
	FOREIGN KEY(series_id) REFERENCES series (id)
)
 WITHOUT ROWID;

CREATE VIEW checks as select
  server_id as server_id,
  run_id as run_id,
  started_at_ms as started_at_ms,
  duration_us as duration_us,
  status as status,
  reason as reason,
  detail as detail,
  score as score,
  tries as tries,
  suspect as suspect,
  maintenance as maintenance
from sorted_checks
union all
select
  server_id as server_id,
  run_id as run_id,
  started_at_ms as started_at_ms,
  duration_us as duration_us,
  status as status,
  reason as reason,
  detail as detail,
  score as score,
  tries as tries,
  suspect as suspect,
  maintenance as maintenance
from recent_checks;

CREATE VIEW probes as select
  server_id as server_id,
  run_id as run_id,
  kind as kind,
  position as position,
  started_at_ms as started_at_ms,
  duration_us as duration_us,
  status as status,
  reason as reason,
  detail as detail,
  score as score,
  failed_stage as failed_stage,
  url_id as url_id,
  attempts as attempts,
  earlier_reasons as earlier_reasons,
  dns_us as dns_us,
  connect_us as connect_us,
  tls_us as tls_us,
  wait_us as wait_us,
  transfer_us as transfer_us,
  auth_us as auth_us,
  start_us as start_us,
  discover_us as discover_us,
  initialize_us as initialize_us,
  initialized_us as initialized_us,
  ping_us as ping_us,
  list_us as list_us,
  call_us as call_us,
  close_us as close_us,
  http_status as http_status,
  received_bytes as received_bytes,
  connections_opened as connections_opened,
  reused as reused,
  redirects as redirects,
  certificate_expires_at_ms as certificate_expires_at_ms,
  auth_metadata_url as auth_metadata_url,
  retry_after_s as retry_after_s,
  sessions_opened as sessions_opened,
  sessions_closed as sessions_closed,
  stderr_tail as stderr_tail,
  mcp_facts_id as mcp_facts_id,
  remarks as remarks
from sorted_probes
union all
select
  server_id as server_id,
  run_id as run_id,
  kind as kind,
  position as position,
  started_at_ms as started_at_ms,
  duration_us as duration_us,
  status as status,
  reason as reason,
  detail as detail,
  score as score,
  failed_stage as failed_stage,
  url_id as url_id,
  attempts as attempts,
  earlier_reasons as earlier_reasons,
  dns_us as dns_us,
  connect_us as connect_us,
  tls_us as tls_us,
  wait_us as wait_us,
  transfer_us as transfer_us,
  auth_us as auth_us,
  start_us as start_us,
  discover_us as discover_us,
  initialize_us as initialize_us,
  initialized_us as initialized_us,
  ping_us as ping_us,
  list_us as list_us,
  call_us as call_us,
  close_us as close_us,
  http_status as http_status,
  received_bytes as received_bytes,
  connections_opened as connections_opened,
  reused as reused,
  redirects as redirects,
  certificate_expires_at_ms as certificate_expires_at_ms,
  auth_metadata_url as auth_metadata_url,
  retry_after_s as retry_after_s,
  sessions_opened as sessions_opened,
  sessions_closed as sessions_closed,
  stderr_tail as stderr_tail,
  mcp_facts_id as mcp_facts_id,
  remarks as remarks
from recent_probes;

CREATE VIEW latest_status as select
  s.name as server,
  c.status as status,
  c.reason as reason,
  c.detail as detail,
  c.score as score,
  strftime('%Y-%m-%dT%H:%M:%fZ', c.started_at_ms / 1000.0, 'unixepoch') as started_at,
  round(c.duration_us / 1000.0, 3) as duration_ms,
  s.group_name as server_group,
  s.tags as tags,
  c.run_id as run_id,
  c.tries as tries,
  c.suspect as suspect,
  c.maintenance as maintenance,
  (select coalesce(sum(json_array_length(p.remarks)), 0) from sorted_probes p where p.server_id = c.server_id and p.run_id = c.run_id) as remark_count,
  s.name as server_name,
  strftime('%Y-%m-%dT%H:%M:%fZ', (c.started_at_ms + case when json_array_length(coalesce(t.last_rhythm, '[]')) > 1 then t.hold_ms else coalesce(max(300000, min(3 * (c.started_at_ms - (select started_at_ms from (select * from (select started_at_ms from sorted_checks b where b.server_id = c.server_id and b.started_at_ms < c.started_at_ms order by started_at_ms desc limit 0 + 1)
union all
select * from (select started_at_ms from recent_checks b where b.server_id = c.server_id and b.started_at_ms < c.started_at_ms order by started_at_ms desc limit 0 + 1) order by started_at_ms desc limit 1 offset 0))), max(21600000, (c.started_at_ms - (select started_at_ms from (select * from (select started_at_ms from sorted_checks b where b.server_id = c.server_id and b.started_at_ms < c.started_at_ms order by started_at_ms desc limit 0 + 1)
union all
select * from (select started_at_ms from recent_checks b where b.server_id = c.server_id and b.started_at_ms < c.started_at_ms order by started_at_ms desc limit 0 + 1) order by started_at_ms desc limit 1 offset 0))) * 3 / 2))), 3600000) end) / 1000.0, 'unixepoch') as known_until,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.retired_at_ms / 1000.0, 'unixepoch') as retired_at
from servers s left join rollup_state t on t.server_id = s.id cross join sorted_checks c on c.server_id = s.id and c.run_id = (select run_id from (select * from (select started_at_ms, run_id from sorted_checks n where n.server_id = s.id order by started_at_ms desc, run_id desc limit 0 + 1)
union all
select * from (select started_at_ms, run_id from recent_checks n where n.server_id = s.id order by started_at_ms desc, run_id desc limit 0 + 1) order by started_at_ms desc, run_id desc limit 1 offset 0))
union all
select
  s.name as server,
  c.status as status,
  c.reason as reason,
  c.detail as detail,
  c.score as score,
  strftime('%Y-%m-%dT%H:%M:%fZ', c.started_at_ms / 1000.0, 'unixepoch') as started_at,
  round(c.duration_us / 1000.0, 3) as duration_ms,
  s.group_name as server_group,
  s.tags as tags,
  c.run_id as run_id,
  c.tries as tries,
  c.suspect as suspect,
  c.maintenance as maintenance,
  (select coalesce(sum(json_array_length(p.remarks)), 0) from recent_probes p where p.server_id = c.server_id and p.run_id = c.run_id) as remark_count,
  s.name as server_name,
  strftime('%Y-%m-%dT%H:%M:%fZ', (c.started_at_ms + case when json_array_length(coalesce(t.last_rhythm, '[]')) > 1 then t.hold_ms else coalesce(max(300000, min(3 * (c.started_at_ms - (select started_at_ms from (select * from (select started_at_ms from sorted_checks b where b.server_id = c.server_id and b.started_at_ms < c.started_at_ms order by started_at_ms desc limit 0 + 1)
union all
select * from (select started_at_ms from recent_checks b where b.server_id = c.server_id and b.started_at_ms < c.started_at_ms order by started_at_ms desc limit 0 + 1) order by started_at_ms desc limit 1 offset 0))), max(21600000, (c.started_at_ms - (select started_at_ms from (select * from (select started_at_ms from sorted_checks b where b.server_id = c.server_id and b.started_at_ms < c.started_at_ms order by started_at_ms desc limit 0 + 1)
union all
select * from (select started_at_ms from recent_checks b where b.server_id = c.server_id and b.started_at_ms < c.started_at_ms order by started_at_ms desc limit 0 + 1) order by started_at_ms desc limit 1 offset 0))) * 3 / 2))), 3600000) end) / 1000.0, 'unixepoch') as known_until,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.retired_at_ms / 1000.0, 'unixepoch') as retired_at
from servers s left join rollup_state t on t.server_id = s.id cross join recent_checks c on c.server_id = s.id and c.run_id = (select run_id from (select * from (select started_at_ms, run_id from sorted_checks n where n.server_id = s.id order by started_at_ms desc, run_id desc limit 0 + 1)
union all
select * from (select started_at_ms, run_id from recent_checks n where n.server_id = s.id order by started_at_ms desc, run_id desc limit 0 + 1) order by started_at_ms desc, run_id desc limit 1 offset 0));

CREATE VIEW check_history as select
  s.name as server,
  c.status as status,
  c.reason as reason,
  c.detail as detail,
  c.score as score,
  strftime('%Y-%m-%dT%H:%M:%fZ', c.started_at_ms / 1000.0, 'unixepoch') as started_at,
  round(c.duration_us / 1000.0, 3) as duration_ms,
  s.group_name as server_group,
  s.tags as tags,
  c.run_id as run_id,
  c.tries as tries,
  c.suspect as suspect,
  c.maintenance as maintenance,
  (select coalesce(sum(json_array_length(p.remarks)), 0) from sorted_probes p where p.server_id = c.server_id and p.run_id = c.run_id) as remark_count
from sorted_checks c join servers s on s.id = c.server_id
union all
select
  s.name as server,
  c.status as status,
  c.reason as reason,
  c.detail as detail,
  c.score as score,
  strftime('%Y-%m-%dT%H:%M:%fZ', c.started_at_ms / 1000.0, 'unixepoch') as started_at,
  round(c.duration_us / 1000.0, 3) as duration_ms,
  s.group_name as server_group,
  s.tags as tags,
  c.run_id as run_id,
  c.tries as tries,
  c.suspect as suspect,
  c.maintenance as maintenance,
  (select coalesce(sum(json_array_length(p.remarks)), 0) from recent_probes p where p.server_id = c.server_id and p.run_id = c.run_id) as remark_count
from recent_checks c join servers s on s.id = c.server_id;

CREATE VIEW availability as select
  s.name as server,
  1.0 * sum(a.up_ms) / nullif(sum(a.up_ms + a.down_ms), 0) as availability_ratio,
  cast(substr(printf('%.9f', 100 * (1.0 * sum(a.up_ms) / nullif(sum(a.up_ms + a.down_ms), 0))), 1, instr(printf('%.9f', 100 * (1.0 * sum(a.up_ms) / nullif(sum(a.up_ms + a.down_ms), 0))), '.') + 3) as real) as availability_percent,
  s.objective_ratio as objective_ratio,
  sum(a.up_ms) / 1000.0 as up_s,
  sum(a.down_ms) / 1000.0 as down_s,
  sum(a.maintenance_ms) / 1000.0 as maintenance_s,
  sum(a.healthy + a.degraded) as up,
  sum(a.healthy + a.degraded + a.unhealthy) as counted,
  sum(a.suspect) as suspect,
  sum(a.unknown) as unknown,
  sum(a.maintenance) as maintenance,
  strftime('%Y-%m-%dT%H:%M:%fZ', min(a.since_ms) / 1000.0, 'unixepoch') as since,
  strftime('%Y-%m-%dT%H:%M:%fZ', max(a.until_ms) / 1000.0, 'unixepoch') as until
from (
  select x.server_id, b.healthy, b.degraded, b.unhealthy, b.unknown, b.maintenance, b.suspect, b.healthy_ms + b.degraded_ms as up_ms, b.unhealthy_ms as down_ms, b.maintenance_ms as maintenance_ms, b.slot * 86400000 as since_ms, b.slot * 86400000 as until_ms
  from series x join day_outcomes b on b.series_id = x.id where x.kind = 'check'
  union all
  select x.server_id, b.healthy, b.degraded, b.unhealthy, b.unknown, b.maintenance, b.suspect, b.healthy_ms + b.degraded_ms as up_ms, b.unhealthy_ms as down_ms, b.maintenance_ms as maintenance_ms, b.slot * 3600000, b.slot * 3600000
  from series x join rollup_state t on t.server_id = x.server_id
  join hour_outcomes b on b.series_id = x.id and b.slot >= t.rolled_until_ms / 86400000 * 24 where x.kind = 'check'
  union all
  select c.server_id, c.status = 'HEALTHY' and not c.suspect and not c.maintenance, c.status = 'DEGRADED' and not c.suspect and not c.maintenance,
    c.status = 'UNHEALTHY' and not c.suspect and not c.maintenance, c.status = 'UNKNOWN' and not c.suspect and not c.maintenance,
    c.maintenance, c.suspect and not c.maintenance,
    max(0, c.spoken_ms) * (c.status in ('HEALTHY', 'DEGRADED') and not c.suspect and not c.maintenance),
    max(0, c.spoken_ms) * (c.status = 'UNHEALTHY' and not c.suspect and not c.maintenance), max(0, c.spoken_ms) * c.maintenance,
    c.started_at_ms, c.started_at_ms
  from (select c.*, min(coalesce(lead(c.started_at_ms) over in_order, cast((julianday('now') - 2440587.5) * 86400000 as integer)),
    c.started_at_ms + case when json_array_length(coalesce(c.last_rhythm, '[]')) > 1 then c.hold_ms else coalesce(max(300000, min(3 * (c.started_at_ms - lag(c.started_at_ms) over in_order), max(21600000, (c.started_at_ms - lag(c.started_at_ms) over in_order) * 3 / 2))), 3600000) end, cast((julianday('now') - 2440587.5) * 86400000 as integer)) - c.started_at_ms as spoken_ms
  from (select c.server_id, c.run_id, c.started_at_ms, c.status, c.suspect, c.maintenance, t.last_rhythm, t.hold_ms from rollup_state t cross join sorted_checks c on c.server_id = t.server_id and c.run_id >= (select first_run_id from rollup_marks) and c.started_at_ms >= t.rolled_until_ms
union all
select c.server_id, c.run_id, c.started_at_ms, c.status, c.suspect, c.maintenance, t.last_rhythm, t.hold_ms from rollup_state t cross join recent_checks c on c.server_id = t.server_id and c.run_id >= (select first_run_id from rollup_marks) and c.started_at_ms >= t.rolled_until_ms) c
  window in_order as (partition by c.server_id order by c.started_at_ms, c.run_id)) c
  union all
  select c.server_id, 0, 0, 0, 0, 0, 0, max(0, c.spoken_ms) * (c.last_outcome in (0, 1)),
    max(0, c.spoken_ms) * (c.last_outcome = 2), max(0, c.spoken_ms) * (c.last_outcome = 4), c.last_at_ms, c.last_at_ms
  from (select t.server_id, t.last_at_ms, t.last_outcome, min(t.last_at_ms + t.hold_ms, cast((julianday('now') - 2440587.5) * 86400000 as integer),
    coalesce((select started_at_ms from (select * from (select started_at_ms from sorted_checks n where n.server_id = t.server_id and n.started_at_ms >= t.rolled_until_ms order by started_at_ms limit 0 + 1)
union all
select * from (select started_at_ms from recent_checks n where n.server_id = t.server_id and n.started_at_ms >= t.rolled_until_ms order by started_at_ms limit 0 + 1) order by started_at_ms limit 1 offset 0)), cast((julianday('now') - 2440587.5) * 86400000 as integer))) - t.rolled_until_ms as spoken_ms
  from rollup_state t where t.last_at_ms >= 0) c
) a join servers s on s.id = a.server_id
where a.healthy + a.degraded + a.unhealthy + a.unknown + a.maintenance + a.suspect + a.up_ms + a.down_ms > 0
group by s.id;

CREATE VIEW hourly_outcomes as select
  s.name as server,
  s.group_name as server_group,
  x.kind as kind,
  strftime('%Y-%m-%dT%H:%M:%SZ', b.slot * 3600, 'unixepoch') as hour,
  b.healthy as healthy,
  b.degraded as degraded,
  b.unhealthy as unhealthy,
  b.unknown as unknown,
  b.maintenance as maintenance,
  b.suspect as suspect,
  1.0 * (b.healthy_ms + b.degraded_ms) / nullif(b.healthy_ms + b.degraded_ms + b.unhealthy_ms, 0) as availability_ratio,
  b.healthy_ms / 1000.0 as healthy_s,
  b.degraded_ms / 1000.0 as degraded_s,
  b.unhealthy_ms / 1000.0 as unhealthy_s,
  b.unknown_ms / 1000.0 as unknown_s,
  b.maintenance_ms / 1000.0 as maintenance_s,
  b.changes as state_changes,
  b.reasons as reasons
from hour_outcomes b join series x on x.id = b.series_id join servers s on s.id = x.server_id;

CREATE VIEW daily_outcomes as select
  s.name as server,
  s.group_name as server_group,
  x.kind as kind,
  strftime('%Y-%m-%d', b.slot * 86400, 'unixepoch') as day,
  b.healthy as healthy,
  b.degraded as degraded,
  b.unhealthy as unhealthy,
  b.unknown as unknown,
  b.maintenance as maintenance,
  b.suspect as suspect,
  1.0 * (b.healthy_ms + b.degraded_ms) / nullif(b.healthy_ms + b.degraded_ms + b.unhealthy_ms, 0) as availability_ratio,
  b.healthy_ms / 1000.0 as healthy_s,
  b.degraded_ms / 1000.0 as degraded_s,
  b.unhealthy_ms / 1000.0 as unhealthy_s,
  b.unknown_ms / 1000.0 as unknown_s,
  b.maintenance_ms / 1000.0 as maintenance_s,
  b.changes as state_changes,
  b.reasons as reasons
from day_outcomes b join series x on x.id = b.series_id join servers s on s.id = x.server_id;

CREATE VIEW hourly_latency as select
  s.name as server,
  s.group_name as server_group,
  x.kind as kind,
  x.stage as stage,
  strftime('%Y-%m-%dT%H:%M:%SZ', b.slot * 3600, 'unixepoch') as hour,
  b.count as samples,
  round(b.sum_us / 1000.0 / b.count, 3) as mean_ms,
  round(b.min_us / 1000.0, 3) as min_ms,
  round(b.p50_us / 1000.0, 3) as p50_ms,
  round(b.p95_us / 1000.0, 3) as p95_ms,
  round(b.p99_us / 1000.0, 3) as p99_ms,
  round(b.max_us / 1000.0, 3) as max_ms
from hour_latency b join series x on x.id = b.series_id join servers s on s.id = x.server_id;

CREATE VIEW daily_latency as select
  s.name as server,
  s.group_name as server_group,
  x.kind as kind,
  x.stage as stage,
  strftime('%Y-%m-%d', b.slot * 86400, 'unixepoch') as day,
  b.count as samples,
  round(b.sum_us / 1000.0 / b.count, 3) as mean_ms,
  round(b.min_us / 1000.0, 3) as min_ms,
  round(b.p50_us / 1000.0, 3) as p50_ms,
  round(b.p95_us / 1000.0, 3) as p95_ms,
  round(b.p99_us / 1000.0, 3) as p99_ms,
  round(b.max_us / 1000.0, 3) as max_ms
from day_latency b join series x on x.id = b.series_id join servers s on s.id = x.server_id;

CREATE VIEW incident_history as select
  s.name as server,
  s.group_name as server_group,
  strftime('%Y-%m-%dT%H:%M:%fZ', i.started_at_ms / 1000.0, 'unixepoch') as started_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', i.ended_at_ms / 1000.0, 'unixepoch') as ended_at,
  (i.ended_at_ms - i.started_at_ms) / 1000.0 as duration_s,
  i.down_ms / 1000.0 as down_s,
  ((coalesce(i.ended_at_ms, i.down_until_ms) - i.started_at_ms) - i.down_ms - min(i.maintenance_ms, (coalesce(i.ended_at_ms, i.down_until_ms) - i.started_at_ms) - i.down_ms)) / 1000.0 as unknown_s,
  min(i.maintenance_ms, (coalesce(i.ended_at_ms, i.down_until_ms) - i.started_at_ms) - i.down_ms) / 1000.0 as maintenance_s,
  strftime('%Y-%m-%dT%H:%M:%fZ', i.down_until_ms / 1000.0, 'unixepoch') as down_until,
  i.reason as reason
from incidents i join servers s on s.id = i.server_id;

CREATE VIEW probe_history as select
  s.name as server,
  p.kind as kind,
  p.status as status,
  p.reason as reason,
  p.detail as detail,
  p.score as score,
  strftime('%Y-%m-%dT%H:%M:%fZ', p.started_at_ms / 1000.0, 'unixepoch') as started_at,
  round(p.duration_us / 1000.0, 3) as duration_ms,
  p.failed_stage as failed_stage,
  u.url as url,
  p.attempts as attempts,
  p.earlier_reasons as earlier_reasons,
  round(p.dns_us / 1000.0, 3) as dns_ms,
  round(p.connect_us / 1000.0, 3) as connect_ms,
  round(p.tls_us / 1000.0, 3) as tls_ms,
  round(p.wait_us / 1000.0, 3) as wait_ms,
  round(p.transfer_us / 1000.0, 3) as transfer_ms,
  round(p.auth_us / 1000.0, 3) as auth_ms,
  round(p.start_us / 1000.0, 3) as start_ms,
  round(p.discover_us / 1000.0, 3) as discover_ms,
  round(p.initialize_us / 1000.0, 3) as initialize_ms,
  round(p.initialized_us / 1000.0, 3) as initialized_ms,
  round(p.ping_us / 1000.0, 3) as ping_ms,
  round(p.list_us / 1000.0, 3) as list_ms,
  round(p.call_us / 1000.0, 3) as call_ms,
  round(p.close_us / 1000.0, 3) as close_ms,
  p.http_status as http_status,
  p.received_bytes as received_bytes,
  p.connections_opened as connections_opened,
  p.reused as reused,
  p.redirects as redirects,
  strftime('%Y-%m-%dT%H:%M:%fZ', p.certificate_expires_at_ms / 1000.0, 'unixepoch') as certificate_expires_at,
  p.auth_metadata_url as auth_metadata_url,
  p.retry_after_s as retry_after_s,
  p.sessions_opened as sessions_opened,
  p.sessions_closed as sessions_closed,
  p.stderr_tail as stderr_tail,
  p.remarks as remarks,
  f.transport as transport,
  f.era as era,
  f.protocol_version as protocol_version,
  f.server_name as mcp_server_name,
  f.server_version as mcp_server_version,
  f.capabilities as capabilities,
  f.tool_count as tool_count,
  f.resource_count as resource_count,
  f.template_count as template_count,
  f.prompt_count as prompt_count,
  f.tools_digest as tools_digest,
  f.contract_digest as contract_digest,
  f.tools_bytes as tools_bytes,
  f.tools_tokens as tools_tokens,
  s.group_name as server_group,
  s.tags as tags,
  p.run_id as run_id,
  coalesce(c.suspect, 0) as suspect,
  coalesce(c.maintenance, 0) as maintenance
from servers s cross join sorted_probes p on p.server_id = s.id left join urls u on u.id = p.url_id left join mcp_facts f on f.id = p.mcp_facts_id left join sorted_checks c on c.server_id = p.server_id and c.run_id = p.run_id
union all
select
  s.name as server,
  p.kind as kind,
  p.status as status,
  p.reason as reason,
  p.detail as detail,
  p.score as score,
  strftime('%Y-%m-%dT%H:%M:%fZ', p.started_at_ms / 1000.0, 'unixepoch') as started_at,
  round(p.duration_us / 1000.0, 3) as duration_ms,
  p.failed_stage as failed_stage,
  u.url as url,
  p.attempts as attempts,
  p.earlier_reasons as earlier_reasons,
  round(p.dns_us / 1000.0, 3) as dns_ms,
  round(p.connect_us / 1000.0, 3) as connect_ms,
  round(p.tls_us / 1000.0, 3) as tls_ms,
  round(p.wait_us / 1000.0, 3) as wait_ms,
  round(p.transfer_us / 1000.0, 3) as transfer_ms,
  round(p.auth_us / 1000.0, 3) as auth_ms,
  round(p.start_us / 1000.0, 3) as start_ms,
  round(p.discover_us / 1000.0, 3) as discover_ms,
  round(p.initialize_us / 1000.0, 3) as initialize_ms,
  round(p.initialized_us / 1000.0, 3) as initialized_ms,
  round(p.ping_us / 1000.0, 3) as ping_ms,
  round(p.list_us / 1000.0, 3) as list_ms,
  round(p.call_us / 1000.0, 3) as call_ms,
  round(p.close_us / 1000.0, 3) as close_ms,
  p.http_status as http_status,
  p.received_bytes as received_bytes,
  p.connections_opened as connections_opened,
  p.reused as reused,
  p.redirects as redirects,
  strftime('%Y-%m-%dT%H:%M:%fZ', p.certificate_expires_at_ms / 1000.0, 'unixepoch') as certificate_expires_at,
  p.auth_metadata_url as auth_metadata_url,
  p.retry_after_s as retry_after_s,
  p.sessions_opened as sessions_opened,
  p.sessions_closed as sessions_closed,
  p.stderr_tail as stderr_tail,
  p.remarks as remarks,
  f.transport as transport,
  f.era as era,
  f.protocol_version as protocol_version,
  f.server_name as mcp_server_name,
  f.server_version as mcp_server_version,
  f.capabilities as capabilities,
  f.tool_count as tool_count,
  f.resource_count as resource_count,
  f.template_count as template_count,
  f.prompt_count as prompt_count,
  f.tools_digest as tools_digest,
  f.contract_digest as contract_digest,
  f.tools_bytes as tools_bytes,
  f.tools_tokens as tools_tokens,
  s.group_name as server_group,
  s.tags as tags,
  p.run_id as run_id,
  coalesce(c.suspect, 0) as suspect,
  coalesce(c.maintenance, 0) as maintenance
from servers s cross join recent_checks k on k.server_id = s.id cross join recent_probes p on p.run_id = k.run_id and p.server_id = k.server_id left join urls u on u.id = p.url_id left join mcp_facts f on f.id = p.mcp_facts_id left join recent_checks c on c.server_id = p.server_id and c.run_id = p.run_id;

CREATE VIEW probe_errors as select
  s.name as server,
  p.kind as kind,
  p.status as status,
  p.reason as reason,
  p.detail as detail,
  p.score as score,
  strftime('%Y-%m-%dT%H:%M:%fZ', p.started_at_ms / 1000.0, 'unixepoch') as started_at,
  round(p.duration_us / 1000.0, 3) as duration_ms,
  p.failed_stage as failed_stage,
  u.url as url,
  p.attempts as attempts,
  p.earlier_reasons as earlier_reasons,
  round(p.dns_us / 1000.0, 3) as dns_ms,
  round(p.connect_us / 1000.0, 3) as connect_ms,
  round(p.tls_us / 1000.0, 3) as tls_ms,
  round(p.wait_us / 1000.0, 3) as wait_ms,
  round(p.transfer_us / 1000.0, 3) as transfer_ms,
  round(p.auth_us / 1000.0, 3) as auth_ms,
  round(p.start_us / 1000.0, 3) as start_ms,
  round(p.discover_us / 1000.0, 3) as discover_ms,
  round(p.initialize_us / 1000.0, 3) as initialize_ms,
  round(p.initialized_us / 1000.0, 3) as initialized_ms,
  round(p.ping_us / 1000.0, 3) as ping_ms,
  round(p.list_us / 1000.0, 3) as list_ms,
  round(p.call_us / 1000.0, 3) as call_ms,
  round(p.close_us / 1000.0, 3) as close_ms,
  p.http_status as http_status,
  p.received_bytes as received_bytes,
  p.connections_opened as connections_opened,
  p.reused as reused,
  p.redirects as redirects,
  strftime('%Y-%m-%dT%H:%M:%fZ', p.certificate_expires_at_ms / 1000.0, 'unixepoch') as certificate_expires_at,
  p.auth_metadata_url as auth_metadata_url,
  p.retry_after_s as retry_after_s,
  p.sessions_opened as sessions_opened,
  p.sessions_closed as sessions_closed,
  p.stderr_tail as stderr_tail,
  p.remarks as remarks,
  f.transport as transport,
  f.era as era,
  f.protocol_version as protocol_version,
  f.server_name as mcp_server_name,
  f.server_version as mcp_server_version,
  f.capabilities as capabilities,
  f.tool_count as tool_count,
  f.resource_count as resource_count,
  f.template_count as template_count,
  f.prompt_count as prompt_count,
  f.tools_digest as tools_digest,
  f.contract_digest as contract_digest,
  f.tools_bytes as tools_bytes,
  f.tools_tokens as tools_tokens,
  s.group_name as server_group,
  s.tags as tags,
  p.run_id as run_id,
  coalesce(c.suspect, 0) as suspect,
  coalesce(c.maintenance, 0) as maintenance
from servers s cross join sorted_probes p on p.server_id = s.id left join urls u on u.id = p.url_id left join mcp_facts f on f.id = p.mcp_facts_id left join sorted_checks c on c.server_id = p.server_id and c.run_id = p.run_id where p.status <> 'HEALTHY'
union all
select
  s.name as server,
  p.kind as kind,
  p.status as status,
  p.reason as reason,
  p.detail as detail,
  p.score as score,
  strftime('%Y-%m-%dT%H:%M:%fZ', p.started_at_ms / 1000.0, 'unixepoch') as started_at,
  round(p.duration_us / 1000.0, 3) as duration_ms,
  p.failed_stage as failed_stage,
  u.url as url,
  p.attempts as attempts,
  p.earlier_reasons as earlier_reasons,
  round(p.dns_us / 1000.0, 3) as dns_ms,
  round(p.connect_us / 1000.0, 3) as connect_ms,
  round(p.tls_us / 1000.0, 3) as tls_ms,
  round(p.wait_us / 1000.0, 3) as wait_ms,
  round(p.transfer_us / 1000.0, 3) as transfer_ms,
  round(p.auth_us / 1000.0, 3) as auth_ms,
  round(p.start_us / 1000.0, 3) as start_ms,
  round(p.discover_us / 1000.0, 3) as discover_ms,
  round(p.initialize_us / 1000.0, 3) as initialize_ms,
  round(p.initialized_us / 1000.0, 3) as initialized_ms,
  round(p.ping_us / 1000.0, 3) as ping_ms,
  round(p.list_us / 1000.0, 3) as list_ms,
  round(p.call_us / 1000.0, 3) as call_ms,
  round(p.close_us / 1000.0, 3) as close_ms,
  p.http_status as http_status,
  p.received_bytes as received_bytes,
  p.connections_opened as connections_opened,
  p.reused as reused,
  p.redirects as redirects,
  strftime('%Y-%m-%dT%H:%M:%fZ', p.certificate_expires_at_ms / 1000.0, 'unixepoch') as certificate_expires_at,
  p.auth_metadata_url as auth_metadata_url,
  p.retry_after_s as retry_after_s,
  p.sessions_opened as sessions_opened,
  p.sessions_closed as sessions_closed,
  p.stderr_tail as stderr_tail,
  p.remarks as remarks,
  f.transport as transport,
  f.era as era,
  f.protocol_version as protocol_version,
  f.server_name as mcp_server_name,
  f.server_version as mcp_server_version,
  f.capabilities as capabilities,
  f.tool_count as tool_count,
  f.resource_count as resource_count,
  f.template_count as template_count,
  f.prompt_count as prompt_count,
  f.tools_digest as tools_digest,
  f.contract_digest as contract_digest,
  f.tools_bytes as tools_bytes,
  f.tools_tokens as tools_tokens,
  s.group_name as server_group,
  s.tags as tags,
  p.run_id as run_id,
  coalesce(c.suspect, 0) as suspect,
  coalesce(c.maintenance, 0) as maintenance
from servers s cross join recent_checks k on k.server_id = s.id cross join recent_probes p on p.run_id = k.run_id and p.server_id = k.server_id left join urls u on u.id = p.url_id left join mcp_facts f on f.id = p.mcp_facts_id left join recent_checks c on c.server_id = p.server_id and c.run_id = p.run_id where p.status <> 'HEALTHY';

CREATE VIEW remark_history as select
  s.name as server,
  p.kind as kind,
  json_extract(j.value, '$.name') as remark,
  json_extract(j.value, '$.detail') as detail,
  p.status as status,
  strftime('%Y-%m-%dT%H:%M:%fZ', p.started_at_ms / 1000.0, 'unixepoch') as started_at,
  s.group_name as server_group,
  p.run_id as run_id
from servers s cross join sorted_probes p on p.server_id = s.id join json_each(p.remarks) j where p.remarks is not null
union all
select
  s.name as server,
  p.kind as kind,
  json_extract(j.value, '$.name') as remark,
  json_extract(j.value, '$.detail') as detail,
  p.status as status,
  strftime('%Y-%m-%dT%H:%M:%fZ', p.started_at_ms / 1000.0, 'unixepoch') as started_at,
  s.group_name as server_group,
  p.run_id as run_id
from servers s cross join recent_checks k on k.server_id = s.id cross join recent_probes p on p.run_id = k.run_id and p.server_id = k.server_id join json_each(p.remarks) j where p.remarks is not null;

CREATE VIEW contract_history as select
  s.name as server,
  v.version as version,
  strftime('%Y-%m-%dT%H:%M:%fZ', v.seen_at_ms / 1000.0, 'unixepoch') as seen_at,
  v.grade as grade,
  v.breaking + v.risky + v.cosmetic as change_count,
  v.changes as changes,
  v.digest as contract_digest,
  v.run_id as run_id
from contract_versions v join servers s on s.id = v.server_id;

CREATE VIEW run_history as select
  r.id as run_id,
  r.state as state,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as started_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.finished_at_ms / 1000.0, 'unixepoch') as finished_at,
  r.finished_at_ms - r.started_at_ms as duration_ms,
  r.servers_expected as servers_expected,
  r.servers_cached as servers_cached,
  (select count(*) from sorted_checks c where c.run_id = r.id and 1) + (select count(*) from recent_checks c where c.run_id = r.id and 1) as servers_checked,
  (select count(*) from sorted_checks c where c.run_id = r.id and c.suspect) + (select count(*) from recent_checks c where c.run_id = r.id and c.suspect) as suspect,
  (select count(*) from sorted_checks c where c.run_id = r.id and c.maintenance) + (select count(*) from recent_checks c where c.run_id = r.id and c.maintenance) as maintenance,
  (select count(*) from sorted_checks c where c.run_id = r.id and c.status = 'HEALTHY' and not c.suspect and not c.maintenance) + (select count(*) from recent_checks c where c.run_id = r.id and c.status = 'HEALTHY' and not c.suspect and not c.maintenance) as healthy,
  (select count(*) from sorted_checks c where c.run_id = r.id and c.status = 'DEGRADED' and not c.suspect and not c.maintenance) + (select count(*) from recent_checks c where c.run_id = r.id and c.status = 'DEGRADED' and not c.suspect and not c.maintenance) as degraded,
  (select count(*) from sorted_checks c where c.run_id = r.id and c.status = 'UNHEALTHY' and not c.suspect and not c.maintenance) + (select count(*) from recent_checks c where c.run_id = r.id and c.status = 'UNHEALTHY' and not c.suspect and not c.maintenance) as unhealthy,
  (select count(*) from sorted_checks c where c.run_id = r.id and c.status = 'UNKNOWN' and not c.suspect and not c.maintenance) + (select count(*) from recent_checks c where c.run_id = r.id and c.status = 'UNKNOWN' and not c.suspect and not c.maintenance) as unknown,
  r.workers as workers,
  r.concurrency as concurrency,
  r.config_path as config_path,
  r.environment as environment,
  r.checker_version as checker_version,
  r.host as host
from runs r;

CREATE VIEW breaker_states as select
  s.name as server,
  b.kind as kind,
  b.state as state,
  b.failures as failures,
  b.successes as successes,
  strftime('%Y-%m-%dT%H:%M:%fZ', b.since_ms / 1000.0, 'unixepoch') as since,
  strftime('%Y-%m-%dT%H:%M:%fZ', b.retry_at_ms / 1000.0, 'unixepoch') as retry_at,
  b.reason as reason
from breakers b join servers s on s.id = b.server_id;

CREATE VIEW worker_history as select
  m.run_id as run_id,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as run_started_at,
  m.worker as worker,
  m.pid as pid,
  m.checks as checks,
  m.suspect_checks as suspect_checks,
  m.cpu_ms as cpu_ms,
  m.peak_memory_bytes as peak_memory_bytes,
  round(m.lag_p99_us / 1000.0, 3) as lag_p99_ms,
  round(m.longest_lag_us / 1000.0, 3) as longest_lag_ms,
  m.most_at_once as most_at_once,
  m.concurrency_at_end as concurrency_at_end,
  m.ports_at_busiest_origin as ports_at_busiest_origin
from run_workers m join runs r on r.id = m.run_id;

CREATE VIEW pool_history as select
  m.run_id as run_id,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as run_started_at,
  m.kind as kind,
  m.created as created,
  m.reused as reused,
  m.closed_by_peer as closed_by_peer,
  m.evicted as evicted,
  m.waits as waits,
  round(m.wait_us / 1000.0, 3) as wait_ms,
  round(m.longest_wait_us / 1000.0, 3) as longest_wait_ms,
  m.most_in_use as most_in_use,
  m.most_open as most_open,
  m.idle as idle,
  m.in_use as in_use,
  m.tls_handshakes as tls_handshakes,
  m.tls_resumed as tls_resumed,
  m.paced as paced,
  round(m.paced_us / 1000.0, 3) as paced_ms,
  m.program_waits as program_waits,
  round(m.program_wait_us / 1000.0, 3) as program_wait_ms
from run_pools m join runs r on r.id = m.run_id;

CREATE VIEW cache_history as select
  m.run_id as run_id,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as run_started_at,
  m.category as category,
  m.hits as hits,
  m.misses as misses,
  m.stale_hits as stale_hits,
  m.evicted as evicted,
  m.entries as entries
from run_caches m join runs r on r.id = m.run_id;

CREATE VIEW resource_history as select
  m.run_id as run_id,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as run_started_at,
  m.samples as samples,
  m.warnings as warnings,
  m.most_cpu_percent as most_cpu_percent,
  m.most_machine_cpu_percent as most_machine_cpu_percent,
  m.most_memory_bytes as most_memory_bytes,
  m.most_machine_memory_percent as most_machine_memory_percent,
  m.most_descriptors_percent as most_descriptors_percent,
  m.most_ports_percent as most_ports_percent,
  m.closed_ms as closed_ms,
  m.most_waiting as most_waiting,
  m.longest_wait_ms as longest_wait_ms,
  m.dropped as dropped
from run_resources m join runs r on r.id = m.run_id;

CREATE VIEW resource_alerts as select
  m.run_id as run_id,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as run_started_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', m.at_ms / 1000.0, 'unixepoch') as at,
  m.resource as resource,
  m.level as level,
  m.value as value,
  m.threshold as threshold,
  m.detail as detail
from run_alerts m join runs r on r.id = m.run_id;

CREATE VIEW benchmarks as select
  r.id as benchmark_id,
  r.name as benchmark,
  r.kind as kind,
  r.state as state,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as started_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.finished_at_ms / 1000.0, 'unixepoch') as finished_at,
  r.finished_at_ms - r.started_at_ms as duration_ms,
  (select group_concat(b.name, ', ') from bench_baselines b where b.run_id = r.id) as baselines,
  (select count(*) from bench_thresholds t where t.run_id = r.id) as thresholds,
  (select count(*) from bench_thresholds t where t.run_id = r.id and not t.passed) as thresholds_broken,
  r.client_bound as client_bound,
  round(s.seconds, 3) as seconds,
  s.offered as offered,
  s.dropped as dropped,
  s.ok as ok,
  s.failed as failed,
  s.censored as censored,
  s.done_ok as done_ok,
  s.done_failed as done_failed,
  s.connections as connections,
  s.received_bytes as received_bytes,
  s.refused as refused,
  s.resent as resent,
  round(s.offered_per_s, 3) as offered_per_s,
  round(s.achieved_per_s, 3) as achieved_per_s,
  round(s.ok_per_s, 3) as ok_per_s,
  round(s.failed_ratio, 6) as failed_ratio,
  round(s.response_p50_us / 1000.0, 3) as response_p50_ms,
  round(s.response_p90_us / 1000.0, 3) as response_p90_ms,
  round(s.response_p95_us / 1000.0, 3) as response_p95_ms,
  round(s.response_p99_us / 1000.0, 3) as response_p99_ms,
  round(s.response_p999_us / 1000.0, 3) as response_p999_ms,
  round(s.response_max_us / 1000.0, 3) as response_max_ms,
  round(s.service_p50_us / 1000.0, 3) as service_p50_ms,
  round(s.service_p90_us / 1000.0, 3) as service_p90_ms,
  round(s.service_p95_us / 1000.0, 3) as service_p95_ms,
  round(s.service_p99_us / 1000.0, 3) as service_p99_ms,
  round(s.service_p999_us / 1000.0, 3) as service_p999_ms,
  round(s.service_max_us / 1000.0, 3) as service_max_ms,
  round(s.first_byte_p50_us / 1000.0, 3) as first_byte_p50_ms,
  round(s.first_byte_p90_us / 1000.0, 3) as first_byte_p90_ms,
  round(s.first_byte_p95_us / 1000.0, 3) as first_byte_p95_ms,
  round(s.first_byte_p99_us / 1000.0, 3) as first_byte_p99_ms,
  round(s.first_byte_p999_us / 1000.0, 3) as first_byte_p999_ms,
  round(s.first_byte_max_us / 1000.0, 3) as first_byte_max_ms,
  round(s.late_p50_us / 1000.0, 3) as late_p50_ms,
  round(s.late_p90_us / 1000.0, 3) as late_p90_ms,
  round(s.late_p95_us / 1000.0, 3) as late_p95_ms,
  round(s.late_p99_us / 1000.0, 3) as late_p99_ms,
  round(s.late_p999_us / 1000.0, 3) as late_p999_ms,
  round(s.late_max_us / 1000.0, 3) as late_max_ms,
  r.workers as workers,
  r.plan_digest as plan_digest,
  r.plan as plan,
  r.environment as environment,
  r.notes as notes,
  r.seed as seed,
  r.checker_version as checker_version,
  r.host as host
from bench_runs r left join bench_summaries s on s.run_id = r.id and s.series = -1 and s.stage = -1;

CREATE VIEW benchmark_series as select
  r.id as benchmark_id,
  r.name as benchmark,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as benchmark_started_at,
  x.scenario as scenario,
  x.operation as operation,
  x.model as model,
  x.server as server,
  x.url as url,
  round(s.seconds, 3) as seconds,
  s.offered as offered,
  s.dropped as dropped,
  s.ok as ok,
  s.failed as failed,
  s.censored as censored,
  s.done_ok as done_ok,
  s.done_failed as done_failed,
  s.connections as connections,
  s.received_bytes as received_bytes,
  s.refused as refused,
  s.resent as resent,
  round(s.offered_per_s, 3) as offered_per_s,
  round(s.achieved_per_s, 3) as achieved_per_s,
  round(s.ok_per_s, 3) as ok_per_s,
  round(s.failed_ratio, 6) as failed_ratio,
  round(s.response_p50_us / 1000.0, 3) as response_p50_ms,
  round(s.response_p90_us / 1000.0, 3) as response_p90_ms,
  round(s.response_p95_us / 1000.0, 3) as response_p95_ms,
  round(s.response_p99_us / 1000.0, 3) as response_p99_ms,
  round(s.response_p999_us / 1000.0, 3) as response_p999_ms,
  round(s.response_max_us / 1000.0, 3) as response_max_ms,
  round(s.service_p50_us / 1000.0, 3) as service_p50_ms,
  round(s.service_p90_us / 1000.0, 3) as service_p90_ms,
  round(s.service_p95_us / 1000.0, 3) as service_p95_ms,
  round(s.service_p99_us / 1000.0, 3) as service_p99_ms,
  round(s.service_p999_us / 1000.0, 3) as service_p999_ms,
  round(s.service_max_us / 1000.0, 3) as service_max_ms,
  round(s.first_byte_p50_us / 1000.0, 3) as first_byte_p50_ms,
  round(s.first_byte_p90_us / 1000.0, 3) as first_byte_p90_ms,
  round(s.first_byte_p95_us / 1000.0, 3) as first_byte_p95_ms,
  round(s.first_byte_p99_us / 1000.0, 3) as first_byte_p99_ms,
  round(s.first_byte_p999_us / 1000.0, 3) as first_byte_p999_ms,
  round(s.first_byte_max_us / 1000.0, 3) as first_byte_max_ms,
  round(s.late_p50_us / 1000.0, 3) as late_p50_ms,
  round(s.late_p90_us / 1000.0, 3) as late_p90_ms,
  round(s.late_p95_us / 1000.0, 3) as late_p95_ms,
  round(s.late_p99_us / 1000.0, 3) as late_p99_ms,
  round(s.late_p999_us / 1000.0, 3) as late_p999_ms,
  round(s.late_max_us / 1000.0, 3) as late_max_ms
from bench_summaries s join bench_runs r on r.id = s.run_id left join bench_series x on x.run_id = s.run_id and x.series = s.series where s.stage = -1;

CREATE VIEW benchmark_stages as select
  r.id as benchmark_id,
  r.name as benchmark,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as benchmark_started_at,
  x.scenario as scenario,
  x.operation as operation,
  x.model as model,
  x.server as server,
  x.url as url,
  g.stage as stage,
  g.name as stage_name,
  g.kind as stage_kind,
  g.measured as measured,
  g.from_s as from_s,
  g.until_s as until_s,
  g.start_level as start_level,
  g.end_level as end_level,
  g.users as users,
  g.servers as servers,
  g.block as block,
  round(s.seconds, 3) as seconds,
  s.offered as offered,
  s.dropped as dropped,
  s.ok as ok,
  s.failed as failed,
  s.censored as censored,
  s.done_ok as done_ok,
  s.done_failed as done_failed,
  s.connections as connections,
  s.received_bytes as received_bytes,
  s.refused as refused,
  s.resent as resent,
  round(s.offered_per_s, 3) as offered_per_s,
  round(s.achieved_per_s, 3) as achieved_per_s,
  round(s.ok_per_s, 3) as ok_per_s,
  round(s.failed_ratio, 6) as failed_ratio,
  round(s.response_p50_us / 1000.0, 3) as response_p50_ms,
  round(s.response_p90_us / 1000.0, 3) as response_p90_ms,
  round(s.response_p95_us / 1000.0, 3) as response_p95_ms,
  round(s.response_p99_us / 1000.0, 3) as response_p99_ms,
  round(s.response_p999_us / 1000.0, 3) as response_p999_ms,
  round(s.response_max_us / 1000.0, 3) as response_max_ms,
  round(s.service_p50_us / 1000.0, 3) as service_p50_ms,
  round(s.service_p90_us / 1000.0, 3) as service_p90_ms,
  round(s.service_p95_us / 1000.0, 3) as service_p95_ms,
  round(s.service_p99_us / 1000.0, 3) as service_p99_ms,
  round(s.service_p999_us / 1000.0, 3) as service_p999_ms,
  round(s.service_max_us / 1000.0, 3) as service_max_ms,
  round(s.first_byte_p50_us / 1000.0, 3) as first_byte_p50_ms,
  round(s.first_byte_p90_us / 1000.0, 3) as first_byte_p90_ms,
  round(s.first_byte_p95_us / 1000.0, 3) as first_byte_p95_ms,
  round(s.first_byte_p99_us / 1000.0, 3) as first_byte_p99_ms,
  round(s.first_byte_p999_us / 1000.0, 3) as first_byte_p999_ms,
  round(s.first_byte_max_us / 1000.0, 3) as first_byte_max_ms,
  round(s.late_p50_us / 1000.0, 3) as late_p50_ms,
  round(s.late_p90_us / 1000.0, 3) as late_p90_ms,
  round(s.late_p95_us / 1000.0, 3) as late_p95_ms,
  round(s.late_p99_us / 1000.0, 3) as late_p99_ms,
  round(s.late_p999_us / 1000.0, 3) as late_p999_ms,
  round(s.late_max_us / 1000.0, 3) as late_max_ms
from bench_summaries s join bench_runs r on r.id = s.run_id left join bench_series x on x.run_id = s.run_id and x.series = s.series join bench_stages g on g.run_id = s.run_id and g.stage = s.stage;

CREATE VIEW benchmark_slots as select
  r.id as benchmark_id,
  r.name as benchmark,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as benchmark_started_at,
  x.scenario as scenario,
  x.operation as operation,
  x.model as model,
  x.server as server,
  x.url as url,
  t.stage as stage,
  t.at_s as at_s,
  r.slot_s as slot_s,
  sum(t.offered) as offered,
  sum(t.dropped) as dropped,
  sum(t.ok) as ok,
  sum(t.failed) as failed,
  sum(t.censored) as censored,
  sum(t.done_ok) as done_ok,
  sum(t.done_failed) as done_failed,
  sum(t.connections) as connections,
  sum(t.received_bytes) as received_bytes,
  sum(t.refused) as refused,
  sum(t.resent) as resent,
  round(max(t.max_us) / 1000.0, 3) as max_ms
from bench_slots t join bench_runs r on r.id = t.run_id left join bench_series x on x.run_id = t.run_id and x.series = t.series group by t.run_id, t.at_s, t.stage, t.series;

CREATE VIEW benchmark_failures as select
  r.id as benchmark_id,
  r.name as benchmark,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as benchmark_started_at,
  x.scenario as scenario,
  x.operation as operation,
  x.model as model,
  x.server as server,
  x.url as url,
  f.stage as stage,
  f.reason as reason,
  f.failed as failed
from bench_failures f join bench_runs r on r.id = f.run_id left join bench_series x on x.run_id = f.run_id and x.series = f.series;

CREATE VIEW benchmark_health as select
  r.id as benchmark_id,
  r.name as benchmark,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as benchmark_started_at,
  h.at_s as at_s,
  h.worker as worker,
  h.cpu_ratio as cpu_ratio,
  h.busy_ratio as busy_ratio,
  round(h.lag_p99_us / 1000.0, 3) as lag_p99_ms,
  round(h.lag_max_us / 1000.0, 3) as lag_max_ms,
  round(h.late_p99_us / 1000.0, 3) as late_p99_ms,
  round(h.gc_us / 1000.0, 3) as gc_ms,
  h.in_flight as in_flight,
  h.backlog as backlog,
  h.descriptors as descriptors,
  h.ports as ports,
  h.memory_bytes as memory_bytes,
  round(h.starved_us / 1000.0, 3) as starved_ms
from bench_health h join bench_runs r on r.id = h.run_id;

CREATE VIEW benchmark_thresholds as select
  r.id as benchmark_id,
  r.name as benchmark,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as benchmark_started_at,
  t.metric as metric,
  t.expression as expression,
  t.over_s as over_s,
  t.value as value,
  t.passed as passed,
  t.aborted as aborted,
  t.at_s as first_broken_s
from bench_thresholds t join bench_runs r on r.id = t.run_id;

CREATE VIEW benchmark_levels as select
  r.id as benchmark_id,
  r.name as benchmark,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at_ms / 1000.0, 'unixepoch') as benchmark_started_at,
  l.stage as stage,
  l.level as level,
  l.good as good,
  l.why as why,
  l.client_bound as client_bound,
  l.offered_per_s as offered_per_s,
  l.achieved_per_s as achieved_per_s,
  l.p50_ms as p50_ms,
  l.p99_ms as p99_ms,
  l.failed_ratio as failed_ratio
from bench_levels l join bench_runs r on r.id = l.run_id;

CREATE TRIGGER checks_insert instead of insert on checks begin select raise(abort, 'UNIQUE constraint failed: checks') where exists (select 1 from sorted_checks where server_id = new.server_id and run_id = new.run_id); insert into recent_checks (server_id, run_id, started_at_ms, duration_us, status, reason, detail, score, tries, suspect, maintenance) values (new.server_id, new.run_id, new.started_at_ms, new.duration_us, new.status, new.reason, new.detail, new.score, new.tries, coalesce(new.suspect, 0), coalesce(new.maintenance, 0)); end;

CREATE TRIGGER checks_delete instead of delete on checks begin delete from sorted_checks where server_id = old.server_id and run_id = old.run_id; delete from recent_checks where server_id = old.server_id and run_id = old.run_id; end;

CREATE TRIGGER checks_update instead of update on checks begin update sorted_checks set server_id = new.server_id, run_id = new.run_id, started_at_ms = new.started_at_ms, duration_us = new.duration_us, status = new.status, reason = new.reason, detail = new.detail, score = new.score, tries = new.tries, suspect = new.suspect, maintenance = new.maintenance where server_id = old.server_id and run_id = old.run_id; update recent_checks set server_id = new.server_id, run_id = new.run_id, started_at_ms = new.started_at_ms, duration_us = new.duration_us, status = new.status, reason = new.reason, detail = new.detail, score = new.score, tries = new.tries, suspect = new.suspect, maintenance = new.maintenance where server_id = old.server_id and run_id = old.run_id; end;

CREATE TRIGGER probes_insert instead of insert on probes begin select raise(abort, 'UNIQUE constraint failed: probes') where exists (select 1 from sorted_probes where server_id = new.server_id and run_id = new.run_id and kind = new.kind); insert into recent_probes (server_id, run_id, kind, position, started_at_ms, duration_us, status, reason, detail, score, failed_stage, url_id, attempts, earlier_reasons, dns_us, connect_us, tls_us, wait_us, transfer_us, auth_us, start_us, discover_us, initialize_us, initialized_us, ping_us, list_us, call_us, close_us, http_status, received_bytes, connections_opened, reused, redirects, certificate_expires_at_ms, auth_metadata_url, retry_after_s, sessions_opened, sessions_closed, stderr_tail, mcp_facts_id, remarks) values (new.server_id, new.run_id, new.kind, new.position, new.started_at_ms, new.duration_us, new.status, new.reason, new.detail, new.score, new.failed_stage, new.url_id, new.attempts, new.earlier_reasons, new.dns_us, new.connect_us, new.tls_us, new.wait_us, new.transfer_us, new.auth_us, new.start_us, new.discover_us, new.initialize_us, new.initialized_us, new.ping_us, new.list_us, new.call_us, new.close_us, new.http_status, new.received_bytes, new.connections_opened, new.reused, new.redirects, new.certificate_expires_at_ms, new.auth_metadata_url, new.retry_after_s, new.sessions_opened, new.sessions_closed, new.stderr_tail, new.mcp_facts_id, new.remarks); end;

CREATE TRIGGER probes_delete instead of delete on probes begin delete from sorted_probes where server_id = old.server_id and run_id = old.run_id and kind = old.kind; delete from recent_probes where server_id = old.server_id and run_id = old.run_id and kind = old.kind; end;

CREATE TRIGGER probes_update instead of update on probes begin update sorted_probes set server_id = new.server_id, run_id = new.run_id, kind = new.kind, position = new.position, started_at_ms = new.started_at_ms, duration_us = new.duration_us, status = new.status, reason = new.reason, detail = new.detail, score = new.score, failed_stage = new.failed_stage, url_id = new.url_id, attempts = new.attempts, earlier_reasons = new.earlier_reasons, dns_us = new.dns_us, connect_us = new.connect_us, tls_us = new.tls_us, wait_us = new.wait_us, transfer_us = new.transfer_us, auth_us = new.auth_us, start_us = new.start_us, discover_us = new.discover_us, initialize_us = new.initialize_us, initialized_us = new.initialized_us, ping_us = new.ping_us, list_us = new.list_us, call_us = new.call_us, close_us = new.close_us, http_status = new.http_status, received_bytes = new.received_bytes, connections_opened = new.connections_opened, reused = new.reused, redirects = new.redirects, certificate_expires_at_ms = new.certificate_expires_at_ms, auth_metadata_url = new.auth_metadata_url, retry_after_s = new.retry_after_s, sessions_opened = new.sessions_opened, sessions_closed = new.sessions_closed, stderr_tail = new.stderr_tail, mcp_facts_id = new.mcp_facts_id, remarks = new.remarks where server_id = old.server_id and run_id = old.run_id and kind = old.kind; update recent_probes set server_id = new.server_id, run_id = new.run_id, kind = new.kind, position = new.position, started_at_ms = new.started_at_ms, duration_us = new.duration_us, status = new.status, reason = new.reason, detail = new.detail, score = new.score, failed_stage = new.failed_stage, url_id = new.url_id, attempts = new.attempts, earlier_reasons = new.earlier_reasons, dns_us = new.dns_us, connect_us = new.connect_us, tls_us = new.tls_us, wait_us = new.wait_us, transfer_us = new.transfer_us, auth_us = new.auth_us, start_us = new.start_us, discover_us = new.discover_us, initialize_us = new.initialize_us, initialized_us = new.initialized_us, ping_us = new.ping_us, list_us = new.list_us, call_us = new.call_us, close_us = new.close_us, http_status = new.http_status, received_bytes = new.received_bytes, connections_opened = new.connections_opened, reused = new.reused, redirects = new.redirects, certificate_expires_at_ms = new.certificate_expires_at_ms, auth_metadata_url = new.auth_metadata_url, retry_after_s = new.retry_after_s, sessions_opened = new.sessions_opened, sessions_closed = new.sessions_closed, stderr_tail = new.stderr_tail, mcp_facts_id = new.mcp_facts_id, remarks = new.remarks where server_id = old.server_id and run_id = old.run_id and kind = old.kind; end;

CREATE TRIGGER known_fleets_server_update after update on servers begin delete from known_fleets; end;

CREATE TRIGGER known_fleets_server_delete after delete on servers begin delete from known_fleets; end;

CREATE TRIGGER known_fleets_result_update after update of value on cache_entries when new.category = 'results' begin delete from known_fleets; end;

CREATE TRIGGER known_fleets_result_delete after delete on cache_entries when old.category = 'results' begin delete from known_fleets; end;

