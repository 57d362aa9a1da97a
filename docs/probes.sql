-- Questions to the history store, to start from. docs/history.md tells what the tables and columns mean.
--
-- Each begins with "-- probe:" and its name. Most run on SQLite and PostgreSQL alike; where the two differ
-- there is one for each, marked with "-- on:". Durations are in milliseconds, moments in UTC. To ask only for
-- some time, add a condition on started_at, such as started_at >= '2026-01-01'.


-- probe: success rate by task
SELECT name AS task,
       sum(count) AS runs,
       sum(count) FILTER (WHERE status IN ('completed', 'completed_with_errors')) AS completed,
       sum(count) FILTER (WHERE status IN ('failed', 'timed_out')) AS failed,
       round(100.0 * sum(count) FILTER (WHERE status IN ('completed', 'completed_with_errors'))
             / sum(count) FILTER (WHERE status IN ('completed', 'completed_with_errors', 'failed', 'timed_out')), 1)
           AS success
FROM metrics
WHERE dimension = 'task'
GROUP BY name
ORDER BY failed DESC NULLS LAST, name;


-- probe: success rate by day
SELECT day,
       sum(count) AS runs,
       round(100.0 * coalesce(sum(count) FILTER (WHERE status IN ('completed', 'completed_with_errors')), 0)
             / nullif(sum(count) FILTER (WHERE status IN ('completed', 'completed_with_errors', 'failed', 'timed_out')), 0), 1)
           AS success
FROM metrics
WHERE dimension = 'execution' AND day <> ''
GROUP BY day
ORDER BY day;


-- probe: builds against each other
-- Each task in each build: what became worse or slower with a build?
SELECT task_id AS task, build_id AS build, min(started_at) AS first_run, count(*) AS runs,
       round(100.0 * count(*) FILTER (WHERE status IN ('completed', 'completed_with_errors')) / count(*), 1) AS success,
       round(avg(duration_ms)) AS average_ms
FROM executions
WHERE build_id IS NOT NULL AND completed_at IS NOT NULL
GROUP BY task_id, build_id
ORDER BY task_id, first_run;


-- probe: durations of tasks
-- The middle one, and the one below which 95 of 100 are.
SELECT task_id AS task, count(*) AS runs, round(avg(duration_ms)) AS average_ms,
       min(duration_ms) FILTER (WHERE place >= 0.50 * of_all) AS p50_ms,
       min(duration_ms) FILTER (WHERE place >= 0.95 * of_all) AS p95_ms,
       max(duration_ms) AS longest_ms
FROM (SELECT task_id, duration_ms,
             row_number() OVER (PARTITION BY task_id ORDER BY duration_ms) AS place,
             count(*) OVER (PARTITION BY task_id) AS of_all
      FROM executions
      WHERE duration_ms IS NOT NULL) AS ended
GROUP BY task_id
ORDER BY p95_ms DESC;


-- probe: where the time goes
-- The steps that took longest, all their tries together.
SELECT e.task_id AS task, a.phase, a.step, count(*) AS tries, sum(a.duration_ms) AS total_ms,
       round(avg(a.duration_ms)) AS average_ms
FROM attempts a JOIN executions e ON e.execution_id = a.execution_id
WHERE a.duration_ms IS NOT NULL
GROUP BY e.task_id, a.phase, a.step
ORDER BY total_ms DESC
LIMIT 20;


-- probe: waiting before the start
-- How long an execution's first step began after the execution itself: is a worker missing?
SELECT e.execution_id, e.task_id AS task, e.started_at, min(a.started_at) AS first_step
FROM executions e JOIN attempts a ON a.execution_id = e.execution_id
GROUP BY e.execution_id, e.task_id, e.started_at
ORDER BY min(a.started_at) DESC
LIMIT 20;


-- probe: errors by stack
-- One line per bug: what its stack hash is the same for, however often and wherever it happened.
SELECT stack_hash, count(*) AS times, count(DISTINCT execution_id) AS executions,
       min(started_at) AS first_seen, max(started_at) AS last_seen,
       max(error_type) AS error_type, max(error_message) AS a_message
FROM attempts
WHERE stack_hash IS NOT NULL
GROUP BY stack_hash
ORDER BY times DESC, last_seen DESC
LIMIT 20;


-- probe: errors without a stack
-- What is no bug of Python code, such as exit codes, by tool or agent.
SELECT coalesce(tool, agent, kind) AS of_what, error_category, error_type, count(*) AS times,
       max(error_message) AS a_message
FROM attempts
WHERE error_type IS NOT NULL AND stack_hash IS NULL
GROUP BY coalesce(tool, agent, kind), error_category, error_type
ORDER BY times DESC
LIMIT 20;


-- probe: where a bug happened
-- The tries behind one line of "errors by stack": put its hash in.
SELECT execution_id, phase, step, item, attempt, started_at, error_message
FROM attempts
WHERE stack_hash = (SELECT stack_hash FROM attempts WHERE stack_hash IS NOT NULL
                    GROUP BY stack_hash ORDER BY count(*) DESC LIMIT 1)
ORDER BY started_at DESC
LIMIT 20;


-- probe: what retries bring
-- Of steps that were tried more than once: how often did the last try succeed, and what did the others cost?
SELECT coalesce(tool, agent, kind) AS of_what, count(*) AS steps_retried, sum(tries) AS tries,
       count(*) FILTER (WHERE succeeded = 1) AS succeeded_at_last,
       sum(lost_ms) AS lost_ms
FROM (SELECT max(tool) AS tool, max(agent) AS agent, max(kind) AS kind, count(*) AS tries,
             max(CASE WHEN status = 'completed' THEN 1 ELSE 0 END) AS succeeded,
             sum(CASE WHEN status = 'completed' THEN 0 ELSE duration_ms END) AS lost_ms
      FROM attempts
      WHERE attempt > 0
      GROUP BY execution_id, phase, step, item
      HAVING count(*) > 1) AS steps
GROUP BY coalesce(tool, agent, kind)
ORDER BY steps_retried DESC;


-- probe: retries one by one
-- Each failed try with the one that followed it, by their spans.
SELECT a.execution_id, a.step, a.attempt, a.error_category, a.error_message,
       b.attempt AS next_attempt, b.status AS next_status
FROM attempts b JOIN attempts a ON a.span_id = b.retry_of
ORDER BY b.started_at DESC
LIMIT 50;


-- probe: executions that repeat others
SELECT e.execution_id, e.status, e.retry_of, first.status AS status_before, e.attempts
FROM executions e JOIN executions first ON first.execution_id = e.retry_of
ORDER BY e.started_at DESC
LIMIT 50;


-- probe: what it costs
SELECT name AS task, sum(count) AS runs, sum(tokens_used) AS tokens,
       sum(cost_billionths) / 1000000000.0 AS cost,
       sum(cost_billionths) / 1000000000.0 / sum(count) AS cost_per_run
FROM metrics
WHERE dimension = 'task'
GROUP BY name
ORDER BY cost DESC, name;


-- probe: what was read
-- The sources that tools and agents read most.
-- on: sqlite
SELECT s.value AS source, count(*) AS times, count(DISTINCT a.execution_id) AS executions
FROM attempts a, json_each(a.retrieval, '$.sources') s
WHERE a.retrieval IS NOT NULL
GROUP BY s.value
ORDER BY times DESC, source
LIMIT 20;


-- probe: what was read
-- The sources that tools and agents read most.
-- on: postgresql
SELECT s.value AS source, count(*) AS times, count(DISTINCT a.execution_id) AS executions
FROM attempts a CROSS JOIN LATERAL json_array_elements_text(a.retrieval -> 'sources') AS s(value)
WHERE a.retrieval IS NOT NULL
GROUP BY s.value
ORDER BY times DESC, source
LIMIT 20;


-- probe: who read nothing
-- Tries that looked for something and found none of it.
-- on: sqlite
SELECT execution_id, step, json_extract(retrieval, '$.query') AS query
FROM attempts
WHERE retrieval IS NOT NULL AND json_extract(retrieval, '$.results') = 0
ORDER BY started_at DESC
LIMIT 20;


-- probe: who read nothing
-- Tries that looked for something and found none of it.
-- on: postgresql
SELECT execution_id, step, retrieval ->> 'query' AS query
FROM attempts
WHERE retrieval IS NOT NULL AND (retrieval ->> 'results') = '0'
ORDER BY started_at DESC
LIMIT 20;


-- probe: what an answer is based on
-- Of each try the tries whose outputs it read.
-- on: sqlite
SELECT a.execution_id, a.step, p.step AS based_on, p.status
FROM attempts a, json_each(a.parents) r JOIN attempts p ON p.span_id = r.value
ORDER BY a.started_at DESC, based_on
LIMIT 50;


-- probe: what an answer is based on
-- Of each try the tries whose outputs it read.
-- on: postgresql
SELECT a.execution_id, a.step, p.step AS based_on, p.status
FROM attempts a CROSS JOIN LATERAL json_array_elements_text(a.parents) AS r(value)
JOIN attempts p ON p.span_id = r.value
ORDER BY a.started_at DESC, based_on
LIMIT 50;
