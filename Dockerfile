# A worker for more than one machine; docker-compose.temporal.yml runs it beside a Temporal cluster.

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /opt/taskmark
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# Before the code: it changes less often.
COPY requirements/ requirements/
RUN pip install --require-hashes --no-deps \
    -r requirements/runtime.txt -r requirements/postgres.txt -r requirements/encryption.txt
COPY pyproject.toml README.md worker.py ./
COPY taskmark/ taskmark/
COPY activities/ activities/
COPY workflows/ workflows/
COPY starter/ starter/
RUN pip install --no-deps --no-build-isolation .

FROM python:3.11.14-slim-bookworm
# The same id everywhere, so that workers on several machines can share a folder.
RUN groupadd --gid 10001 taskmark && useradd --uid 10001 --gid taskmark --create-home taskmark \
    && install -d -o taskmark -g taskmark /work /var/lib/taskmark
COPY --from=build /opt/venv /opt/venv
COPY --chown=taskmark:taskmark tasks/ /work/tasks/
COPY --chown=taskmark:taskmark agents/ /work/agents/
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 \
    TASKMARK_ROOT=/work TASKMARK_STATE_DIR=/var/lib/taskmark
USER taskmark
WORKDIR /work
# The worker ends its steps in order when it is told to stop.
STOPSIGNAL SIGTERM
CMD ["taskmark", "worker"]
