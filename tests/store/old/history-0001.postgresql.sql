CREATE TABLE alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE artifacts (
    sha256 text NOT NULL,
    size bigint NOT NULL,
    content bytea NOT NULL
);
CREATE TABLE attempts (
    stamps json NOT NULL,
    execution_id text NOT NULL COLLATE pg_catalog."C",
    phase text NOT NULL COLLATE pg_catalog."C",
    step text NOT NULL COLLATE pg_catalog."C",
    item integer NOT NULL,
    attempt integer NOT NULL,
    kind text,
    name text,
    agent text,
    description text,
    status text NOT NULL,
    input json,
    output json,
    error json,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    idempotency_key text,
    trace_id text,
    worker text,
    tokens bigint,
    cost double precision,
    files json,
    provenance text NOT NULL,
    as_of timestamp with time zone
);
CREATE TABLE definitions (
    stamps json NOT NULL,
    sha256 text NOT NULL,
    task_id text NOT NULL,
    name text NOT NULL,
    version text NOT NULL,
    source_path text NOT NULL,
    definition json NOT NULL
);
CREATE TABLE events (
    execution_id text NOT NULL COLLATE pg_catalog."C",
    seq integer NOT NULL,
    kind text NOT NULL,
    phase text NOT NULL COLLATE pg_catalog."C",
    step text NOT NULL COLLATE pg_catalog."C",
    item integer NOT NULL,
    attempt integer NOT NULL,
    occurrence integer NOT NULL,
    at timestamp with time zone NOT NULL,
    payload json NOT NULL
);
CREATE TABLE executions (
    stamps json NOT NULL,
    execution_id text NOT NULL COLLATE pg_catalog."C",
    task_id text,
    task_name text,
    definition_sha256 text,
    task_version text,
    source_path text,
    project text,
    build_id text,
    status text NOT NULL,
    inputs json,
    outputs json,
    error json,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    trace_id text,
    parent_id text,
    cause text,
    provenance text NOT NULL,
    as_of timestamp with time zone
);
CREATE TABLE phases (
    stamps json NOT NULL,
    execution_id text NOT NULL COLLATE pg_catalog."C",
    phase text NOT NULL COLLATE pg_catalog."C",
    name text,
    status text NOT NULL,
    attempt integer NOT NULL,
    outputs json,
    error json,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    provenance text NOT NULL,
    as_of timestamp with time zone
);
INSERT INTO alembic_version VALUES ('0001');
INSERT INTO attempts VALUES ('[[[0, 0, 1767323046678901, 1, 1], ["input", "kind", "name", "started_at"]], [[0, 1, 1, -1767323047678901, 3], ["as_of", "cost", "files", "finished_at", "output", "provenance", "status", "tokens"]]]', 'exec-1767323045678-demo', 'measure', 'count', -1, 1, 'tool', 'shell', NULL, NULL, 'completed', '{"command": ["wc"]}', '{"stdout": "1"}', NULL, '2026-01-02 03:04:06.678901+00', '2026-01-02 03:04:07.678901+00', NULL, NULL, NULL, 12, 0.25, '["a.txt"]', 'live', '2026-01-02 03:04:07.678901+00');
INSERT INTO attempts VALUES ('[[[0, 1, 1, -1767323047678901, 4], ["as_of", "error", "finished_at", "provenance", "status"]]]', 'exec-1767323045678-demo', 'measure', 'count', 3, 1, NULL, NULL, NULL, NULL, 'failed', NULL, NULL, '{"type": "step_failed", "message": "it broke", "category": "transient", "step": null, "phase": null, "will_retry": false, "retry_in_seconds": null, "affects": ["a", "b"], "hint": null, "stack": null}', NULL, '2026-01-02 03:04:07.678901+00', NULL, NULL, NULL, NULL, NULL, NULL, 'live', '2026-01-02 03:04:07.678901+00');
INSERT INTO attempts VALUES ('[[[0, 1, 1, -1767323046928901, 4], ["as_of", "error", "finished_at", "input", "kind", "name", "provenance", "started_at", "status", "trace_id", "worker"]]]', 'exec-1767323045678-demo', 'measure', 'rows', -1, 1, 'tool', 'python', NULL, NULL, 'failed', '{"function": "parts:read"}', NULL, '{"type": "step_failed", "message": "ValueError: row 17 is broken", "category": "transient", "step": "rows", "phase": "measure", "will_retry": false, "retry_in_seconds": null, "affects": [], "hint": null, "stack": "Traceback (most recent call last):\n  File \"/srv/taskmark/activities/boundary.py\", line 91, in supervised\n    done = await body(heart)\n  File \"/srv/demo/parts.py\", line 12, in read\n    raise ValueError(f\"row {number} is broken\")\nValueError: row 17 is broken\n"}', '2026-01-02 03:04:06.678901+00', '2026-01-02 03:04:06.928901+00', NULL, 'tttttttttttttttttttttttttttttttt', '7@a', NULL, NULL, NULL, 'live', '2026-01-02 03:04:06.928901+00');
INSERT INTO attempts VALUES ('[[[0, 1, 1, -1767323048178901, 3], ["as_of", "finished_at", "input", "kind", "name", "output", "provenance", "started_at", "status", "trace_id", "worker"]]]', 'exec-1767323045678-demo', 'measure', 'rows', -1, 2, 'tool', 'python', NULL, NULL, 'completed', '{"function": "parts:read"}', '[1, 2]', NULL, '2026-01-02 03:04:07.678901+00', '2026-01-02 03:04:08.178901+00', NULL, 'tttttttttttttttttttttttttttttttt', '7@a', NULL, NULL, NULL, 'live', '2026-01-02 03:04:08.178901+00');
INSERT INTO attempts VALUES ('[[[0, 1, 1, -1767323047688901, 3], ["as_of", "finished_at", "input", "kind", "name", "output", "provenance", "started_at", "status", "trace_id"]]]', 'exec-1767323045678-demo', 'measure', 'found', -1, 1, 'tool', 'search-files', NULL, NULL, 'completed', '{"pattern": "TODO"}', '{"matches": [{"path": "a.py", "line": 3, "text": "# TODO"}], "files": 4, "truncated": false}', NULL, '2026-01-02 03:04:07.678901+00', '2026-01-02 03:04:07.688901+00', NULL, 'tttttttttttttttttttttttttttttttt', NULL, NULL, NULL, NULL, 'live', '2026-01-02 03:04:07.688901+00');
INSERT INTO attempts VALUES ('[[[0, 1, 1, -1767323048428901, 3], ["agent", "as_of", "cost", "files", "finished_at", "input", "kind", "name", "output", "provenance", "started_at", "status", "tokens", "trace_id"]]]', 'exec-1767323045678-demo', 'measure', 'ask', -1, 1, 'agent', 'analyst', 'analyst', NULL, 'completed', '{}', '{"verdict": "fine"}', NULL, '2026-01-02 03:04:07.678901+00', '2026-01-02 03:04:08.428901+00', NULL, 'tttttttttttttttttttttttttttttttt', NULL, 1200, 0.1, '["notes.md", "report.md"]', 'live', '2026-01-02 03:04:08.428901+00');
INSERT INTO attempts VALUES ('[[[0, 1, 1, -1767323048578901, 3], ["as_of", "finished_at", "kind", "name", "output", "provenance", "started_at", "status"]]]', 'exec-1767323045678-demo', 'measure', 'sure', -1, 1, 'question', 'sure', NULL, NULL, 'completed', NULL, '"yes"', NULL, '2026-01-02 03:04:08.478901+00', '2026-01-02 03:04:08.578901+00', NULL, NULL, NULL, NULL, NULL, NULL, 'live', '2026-01-02 03:04:08.578901+00');
INSERT INTO definitions VALUES ('[[[0, 0, 0, 0, 0], ["definition", "name", "source_path", "task_id", "version"]]]', 'abababababababababababababababababababababababababababababababab', 'demo', 'Demo', '', 'tasks/demo.md', '{"id": "demo"}');
INSERT INTO events VALUES ('exec-1767323045678-demo', 1, 'execution_started', '', '', -1, 0, 0, '2026-01-02 03:04:05.678901+00', '{}');
INSERT INTO events VALUES ('exec-1767323045678-demo', 2, 'step_started', 'measure', 'count', -1, 1, 0, '2026-01-02 03:04:05.678901+00', '{"worker": "w"}');
INSERT INTO events VALUES ('exec-1767323045678-demo', 3, 'step_started', 'measure', 'count', 3, 1, 0, '2026-01-02 03:04:05.678901+00', '{}');
INSERT INTO events VALUES ('exec-1767323045678-demo', 4, 'execution_completed', '', '', -1, 0, 0, '2026-01-02 03:04:09.678901+00', '{}');
INSERT INTO executions VALUES ('[[[0, 0, 1767323045678901, 1, 1], ["build_id", "definition_sha256", "inputs", "project", "started_at", "task_id", "task_name", "trace_id"]], [[0, 1, 1, -1767323049678901, 5], ["as_of", "finished_at", "outputs", "provenance", "status"]]]', 'exec-1767323045678-demo', 'demo', 'Demo', 'abababababababababababababababababababababababababababababababab', NULL, NULL, 'p', 'b1', 'completed', '{"n": 1, "deep": {"list": [1, null, "\u00fc"]}}', '{"lines": 1}', NULL, '2026-01-02 03:04:05.678901+00', '2026-01-02 03:04:09.678901+00', 'tttttttttttttttttttttttttttttttt', NULL, NULL, 'live', '2026-01-02 03:04:09.678901+00');
INSERT INTO executions VALUES ('[[[0, 1, 1, -1767323056678901, 7], ["as_of", "error", "finished_at", "provenance", "source_path", "started_at", "status", "task_id", "task_name"]]]', 'exec-1767323050000-other', 'other', 'Other Work', NULL, NULL, 'tasks/other.md', NULL, NULL, 'failed', NULL, NULL, '{"type": "step_failed", "message": "ValueError: row 17 is broken", "category": "transient", "step": "rows", "phase": "measure", "will_retry": false, "retry_in_seconds": null, "affects": [], "hint": null, "stack": "Traceback (most recent call last):\n  File \"/srv/taskmark/activities/boundary.py\", line 91, in supervised\n    done = await body(heart)\n  File \"/srv/demo/parts.py\", line 12, in read\n    raise ValueError(f\"row {number} is broken\")\nValueError: row 17 is broken\n"}', '2026-01-02 03:04:15.678901+00', '2026-01-02 03:04:16.678901+00', NULL, NULL, NULL, 'live', '2026-01-02 03:04:16.678901+00');
INSERT INTO executions VALUES ('[[[0, 0, 1767323057678901, 1, 1], ["as_of", "provenance", "source_path", "started_at", "status", "task_id", "task_name"]]]', 'exec-1767323051000-other', 'other', 'Other Work', NULL, NULL, 'tasks/other.md', NULL, NULL, 'running', NULL, NULL, NULL, '2026-01-02 03:04:17.678901+00', NULL, NULL, NULL, NULL, 'live', '2026-01-02 03:04:17.678901+00');
INSERT INTO executions VALUES ('[[[0, 1, 1, -1767323058678901, 9], ["as_of", "finished_at", "provenance", "status"]]]', 'exec-1767323052000-lost', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'cancelled', NULL, NULL, NULL, NULL, '2026-01-02 03:04:18.678901+00', NULL, NULL, NULL, 'live', '2026-01-02 03:04:18.678901+00');
INSERT INTO phases VALUES ('[[[1, 0, 1767323045678901, 1, 1], ["name", "started_at"]], [[1, 1, 1, -1767323048678901, 3], ["as_of", "attempt", "finished_at", "outputs", "provenance", "status"]]]', 'exec-1767323045678-demo', 'measure', 'Measure', 'completed', 1, '{"lines": 1}', NULL, '2026-01-02 03:04:05.678901+00', '2026-01-02 03:04:08.678901+00', 'live', '2026-01-02 03:04:08.678901+00');
ALTER TABLE ONLY alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY artifacts
    ADD CONSTRAINT pk_artifacts PRIMARY KEY (sha256);
ALTER TABLE ONLY attempts
    ADD CONSTRAINT pk_attempts PRIMARY KEY (execution_id, phase, step, item, attempt);
ALTER TABLE ONLY definitions
    ADD CONSTRAINT pk_definitions PRIMARY KEY (sha256);
ALTER TABLE ONLY events
    ADD CONSTRAINT pk_events PRIMARY KEY (execution_id, seq);
ALTER TABLE ONLY executions
    ADD CONSTRAINT pk_executions PRIMARY KEY (execution_id);
ALTER TABLE ONLY phases
    ADD CONSTRAINT pk_phases PRIMARY KEY (execution_id, phase);
ALTER TABLE ONLY events
    ADD CONSTRAINT uq_events_key UNIQUE (execution_id, kind, phase, step, item, attempt, occurrence);
CREATE INDEX ix_attempts_agent ON attempts USING btree (agent);
CREATE INDEX ix_attempts_trace_id ON attempts USING btree (trace_id);
CREATE INDEX ix_definitions_task_id ON definitions USING btree (task_id);
CREATE INDEX ix_executions_build_id ON executions USING btree (build_id);
CREATE INDEX ix_executions_project ON executions USING btree (project);
CREATE INDEX ix_executions_source_path ON executions USING btree (source_path);
CREATE INDEX ix_executions_started_at_execution_id ON executions USING btree (started_at, execution_id);
CREATE INDEX ix_executions_status ON executions USING btree (status);
CREATE INDEX ix_executions_task_id ON executions USING btree (task_id);
CREATE INDEX ix_executions_trace_id ON executions USING btree (trace_id);
